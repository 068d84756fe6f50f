# SPDX-License-Identifier: Apache-2.0
"""Redirects, CORS, changes of header fields and error pages, as lines for ``changes.lua``::

    redirect <status>|<location> <pattern>
    cors origin|methods|headers|expose|age|credentials <value>
    change <number of the entry>
    path <pattern>
    request set|del <name>=<value>
    response set|add|del <name>=<value>
    error <status>|<seconds>s <path>

Values of fields are percent-encoded, because a line has no other spaces. Patterns of redirects are
in the order in which they apply.
"""

import urllib.parse
from collections.abc import Iterator, Sequence

from poppy.edge.plane import fields
from poppy.edge.program import Program
from poppy.model import paths
from poppy.model.document.cors import CORS
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.redirects import DEFAULT_STATUS

#: The mark of a policy with such lines, in the map of services.
MARK = "|changes"
#: A further mark, if requests get fields that keep them from the cache.
UNCACHED = "|uncached"
_CREDENTIALS = ("authorization", "cookie")

#: Rules that keep the policy, before its entry for the request takes its place.
POLICY_RULES = f"""\
    http-request set-var(txn.policy) var(txn.entry) if has_rules {{ var(txn.entry) -m sub {MARK} }}
"""

#: Rules for requests that no restriction refuses.
REQUEST_RULES = "    http-request lua.finish if { var(txn.policy) -m found }\n"

#: Rules for responses.
RESPONSE_RULES = "    http-response lua.change if { var(txn.changes) -m bool }\n"


def has_any(program: Program) -> bool:
    """Return whether a program needs any of these lines."""
    return bool(program.redirects or _headers(program) or program.cors or program.error_pages)


def marks(program: Program) -> str:
    """Return the marks of a program's policy."""
    if not has_any(program):
        return ""
    requests = (it.request for it in program.headers or () if it.request is not None)
    names = {name.lower() for request in requests for name in request.set or ()}
    return MARK + (UNCACHED if names.intersection(_CREDENTIALS) else "")


def lines(program: Program) -> Iterator[str]:
    """Yield the lines."""
    for redirect in program.redirects or ():
        target = f"{redirect.status or DEFAULT_STATUS}|{redirect.location}"
        yield f"redirect {target} {paths.canonical(redirect.request_url)}"
    if program.cors is not None:
        yield from _cors(program.cors)
    for number, entry in enumerate(_headers(program)):
        yield f"change {number}"
        for rule in entry.rules or ():
            yield f"path {paths.canonical(rule.request_url)}"
        if entry.request is not None:
            yield from _changes("request", entry.request)
        if entry.response is not None:
            yield from _changes("response", entry.response)
    for page in program.error_pages or ():
        ttl = "" if page.ttl is None else f"{page.ttl}s"
        for status in page.status:
            yield f"error {status}|{ttl} {page.path}"


def _headers(program: Program) -> Sequence[HeaderRules]:
    """Return the changes of fields that HAProxy's own rules do not make."""
    return () if fields.values(program.headers) else program.headers or ()


def _cors(cors: CORS) -> Iterator[str]:
    for origin in cors.allow_origins:
        yield f"cors origin {_quoted(origin)}"
    values = {
        "methods": ", ".join(cors.allow_methods or ()),
        "headers": ", ".join(cors.allow_headers or ()),
        "expose": ", ".join(cors.expose_headers or ()),
        "age": "" if cors.max_age is None else str(cors.max_age),
        "credentials": "true" if cors.allow_credentials else "",
    }
    for name, value in values.items():
        if value:
            yield f"cors {name} {_quoted(value)}"


def _changes(direction: str, changes: RequestChanges | ResponseChanges) -> Iterator[str]:
    for name in changes.remove or ():
        yield f"{direction} del {name}"
    for name, value in (changes.set or {}).items():
        yield f"{direction} set {name}={_quoted(value)}"
    if isinstance(changes, ResponseChanges):
        for name, value in (changes.add or {}).items():
            yield f"{direction} add {name}={_quoted(value)}"


def _quoted(value: str) -> str:
    return urllib.parse.quote(value, safe="")
