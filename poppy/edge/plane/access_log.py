# SPDX-License-Identifier: Apache-2.0
"""The access log: HAProxy writes a line for each response of a service with log delivery.

The lines go to a pipe with a name (fifo(7)), which the agent reads (:mod:`poppy.edge.logs`).
HAProxy never waits for it: if the pipe is full, HAProxy drops the line and counts it in
``DroppedLogs``. The pipe keeps what it contains while either HAProxy or the agent runs.

A line has the project, the service and a JSON object (RFC 8259), with spaces between them::

    42 0190... {"time":1893553445,"method":"GET",...,"cache":"HIT"}

Only the entries of services with log delivery have a mark. All others are not logged, and no rule
but the look at the mark is for them.
"""

from poppy.edge.plane.files import Files

#: Before the entry of a service: the project that gets its logs.
_MARK, _END = "+", "|"
#: The file descriptor of the pipe in HAProxy.
_DESCRIPTOR = 9
#: Bytes of values. Escaped, each byte becomes six at most.
_MAX_URL, _MAX_HOST, _MAX_REFERER, _MAX_AGENT, _MAX_CACHE = 4096, 255, 1024, 512, 16
_MAX_LINE = 40_960
#: Requests to log have the level ``notice``, above that of all others.
_LEVEL = "notice"

#: Control characters and quotes are escaped; invalid UTF-8 and characters after U+FFFF left out.
_JSON = "json(utf8s)"
_LOGGED = "{ var(txn.project) -m found }"


def marked(entry: str, project: str) -> str:
    """Return a service's entry with the mark, if a project gets its logs."""
    return f"{_MARK}{project}{_END}{entry}" if project else entry


def _request(url: str) -> str:
    """Return a rule that keeps the request's part of a line, with an expression of the URL."""
    values = {
        "method": f"%[method,{_JSON}]",
        "host": f"%[req.fhdr(host),bytes(0,{_MAX_HOST}),{_JSON}]",
        "url": f"%[{url},bytes(0,{_MAX_URL}),{_JSON}]",
        "protocol": "HTTP/%[req.ver]",
        "referer": f"%[req.fhdr(referer),bytes(0,{_MAX_REFERER}),{_JSON}]",
        "user_agent": f"%[req.fhdr(user-agent),bytes(0,{_MAX_AGENT}),{_JSON}]",
    }
    texts = ",".join(rf"\"{name}\":\"{value}\"" for name, value in values.items())
    start = r"%[var(txn.project)] %[var(txn.service)] {\"time\":%[date],"
    return f'    http-request set-var-fmt(txn.line) "{start}{texts}"'


#: For each request, as soon as its service's entry is known. The query of a service with signed
#: URLs has a token, so it is logged once that is removed.
REQUEST = f"""\
    http-request set-log-level {_LEVEL} if is_logged
    http-request set-var(txn.project) var(txn.entry),field(1,{_END}),bytes(1) if is_logged
    http-request set-var(txn.entry) var(txn.entry),field(2,{_END},0) if is_logged
{_request("pathq")} if {_LOGGED} !{{ var(txn.entry) -m sub |signed }}
{_request("path")} if {_LOGGED} {{ var(txn.entry) -m sub |signed }}
"""
#: Before any other rule.
SILENCE = f"""\
    acl is_logged var(txn.entry) -m beg {_MARK}
    http-request set-log-level silent
"""
#: After a token was removed from the URL.
REQUEST_WITHOUT_TOKEN = f"{_request('pathq')} if {_LOGGED} !is_signed\n"

#: Before any other rule for responses, which may end the evaluation.
RESPONSE = (
    f"    http-after-response set-var(txn.cache) res.hdr(X-Cache),bytes(0,{_MAX_CACHE}),{_JSON}"
    f" if {_LOGGED}\n"
)

_FORMAT = (
    r"%[var(txn.line)],\"milliseconds\":%Ta,\"status\":%ST,\"bytes\":%B,\"client\":\"%ci\","
    r"\"cache\":\"%[var(txn.cache)]\"}"
)
TARGET = f"""\
    log fd@{_DESCRIPTOR} len {_MAX_LINE} format raw local1 {_LEVEL}
    log-format "{_FORMAT}"
"""


def command(files: Files) -> list[str]:
    """Return the command line of HAProxy with the pipe, which must exist.

    The shell opens the pipe for reading too, so that it does not wait for a reader.
    """
    start = f'exec haproxy -db -f "$1" {_DESCRIPTOR}<>"$2"'
    return ["sh", "-c", start, "haproxy", str(files.configuration), str(files.access_log)]
