# SPDX-License-Identifier: Apache-2.0
"""Checks of VCL that Fastly's compiler would make, for :mod:`tests.real.fastly_account`.

This is no compiler. It knows strings (in which ``%`` and two digits are a byte), brackets, the
names, functions and actions that exist in each subroutine, and that access lists must be declared.
See https://www.fastly.com/documentation/reference/vcl/.
"""

import re
from collections.abc import Iterator, Mapping

_STRING = re.compile(r'"[^"\n]*"')
_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = re.compile(r"(?<![\w.])(?:req|bereq|beresp|obj|resp|client|re|digest|std|stale)\.[\w.-]+")
_ACL = re.compile(r"\bacl\s+(\w+)\s*\{")
_IN_ACL = re.compile(r"client\.ip\s*!?~\s*(\w+)")
_IN_TABLE = re.compile(r"\btable\.lookup\((\w+)")
_ACTION = re.compile(r"\breturn\s*\(\s*(\w+)\s*\)")
_ERROR = re.compile(r"\berror\s+(\d+)")
#: What is before an expression: an operator, or the first argument of a function.
_BEFORE_EXPRESSION = re.compile(
    r"(?:~|\b(?:regsub(?:all)?|querystring\.regfilter\w*)\([\w.]+,)\s*$"
)
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})|%00")
_CALL = re.compile(r"(?<![\w.])([A-Za-z][\w.]*)\s*\(")
_KEYWORDS = {"if", "elsif", "return", "acl"}
#: Functions of https://www.fastly.com/documentation/reference/vcl/functions/ in use.
_FUNCTIONS = {
    *("digest.base64url_nopad", "digest.base64url_nopad_decode", "digest.hmac_sha256_base64"),
    *("digest.secure_is_equal", "std.integer2time", "std.strstr", "table.lookup", "time.is_after"),
    *("digest.hash_sha256", "h3.alt_svc", "querystring.regfilter", "querystring.regfilter_except"),
    *("querystring.remove", "regsub", "regsuball", "std.atoi", "std.collect", "urldecode"),
    "urlencode",
}
_PAIRS = {")": "(", "}": "{"}

_REQUEST = {"req.url", "req.url.path", "req.method", "client.ip", "client.geo.country_code"}
_REQUEST |= {"req.restarts"}
_EVERYWHERE = _REQUEST | {name for name in _FUNCTIONS if "." in name} | {"stale.exists"}
_EVERYWHERE |= {f"re.group.{number}" for number in range(10)}
#: Further names and prefixes of header fields, by the type of a snippet or condition.
_PLACES: Mapping[str, tuple[set[str], tuple[str, ...]]] = {
    "init": (set(), ()),
    "recv": (_EVERYWHERE | {"req.enable_segmented_caching"}, ("req.http.",)),
    "REQUEST": (_EVERYWHERE, ("req.http.",)),
    "hash": (_EVERYWHERE | {"req.hash"}, ("req.http.",)),
    "miss": (_EVERYWHERE | {"bereq.url"}, ("req.http.", "bereq.http.")),
    "pass": (_EVERYWHERE | {"bereq.url"}, ("req.http.", "bereq.http.")),
    "fetch": (
        _EVERYWHERE
        | {"beresp.ttl", "beresp.status", "beresp.cacheable", "beresp.stale_if_error"}
        | {"beresp.stale_while_revalidate"},
        ("req.http.", "beresp.http."),
    ),
    "error": (_EVERYWHERE | {"obj.status", "obj.response"}, ("req.http.", "obj.http.")),
    "deliver": (_EVERYWHERE | {"resp.status"}, ("req.http.", "resp.http.")),
    "CACHE": (_EVERYWHERE | {"beresp.status", "beresp.ttl"}, ("req.http.", "beresp.http.")),
}
#: The actions with which each subroutine can end.
_ACTIONS: Mapping[str, set[str]] = {
    "recv": {"lookup", "pass", "error", "restart", "upgrade"},
    "hash": {"hash"},
    "miss": {"fetch", "deliver_stale", "pass", "error"},
    "pass": {"pass", "error"},
    "fetch": {"deliver", "deliver_stale", "pass", "error", "restart"},
    "error": {"deliver", "deliver_stale", "restart"},
    "deliver": {"deliver", "restart"},
}


def problems(objects: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterator[str]:
    """Return what a compiler would refuse in a version's snippets and conditions."""
    snippets = objects["snippet"].values()
    declared = {
        name
        for entry in snippets
        if entry["type"] == "init"
        for name in _ACL.findall(entry["content"])
    }
    for entry in snippets:
        for problem in _text_problems(entry["content"], entry["type"], declared):
            yield f"Syntax error: snippet '{entry['name']}': {problem}"
        for name in _IN_TABLE.findall(entry["content"]):
            if name not in objects["dictionary"]:
                yield f"Syntax error: snippet '{entry['name']}': there is no table {name}"
    for entry in objects["condition"].values():
        for problem in _text_problems(entry["statement"], entry["type"], declared):
            yield f"Syntax error: condition '{entry['name']}': {problem}"


def _text_problems(text: str, place: str, declared: set[str]) -> Iterator[str]:
    end = 0
    for found in _STRING.finditer(text):
        if _BROKEN_ESCAPE.search(found[0]):
            yield f"% begins an escape in {found[0]}"
        if _BEFORE_EXPRESSION.search(text[end : found.start()]):
            yield from _expression_problems(found[0])
        end = found.end()
    bare = _COMMENT.sub("", _STRING.sub('""', text))
    if '"' in bare.replace('""', ""):
        yield "a string does not end"
    yield from _bracket_problems(bare)
    if place not in _PLACES:
        yield f"the double does not know {place}"
        return
    yield from _name_problems(bare, place)
    for name in _IN_ACL.findall(bare):
        if name not in declared:
            yield f"there is no ACL {name}"


def _name_problems(bare: str, place: str) -> Iterator[str]:
    names, prefixes = _PLACES[place]
    for name in _NAME.findall(bare):
        if name not in names and not name.startswith(prefixes or ("\0",)):
            yield f"{name} is not there in {place}"
    for status in _ERROR.findall(bare):
        if "error" not in _ACTIONS.get(place, set()) or not 600 <= int(status) < 700:
            yield f"{place} can't have error {status}"
    if place != "error" and re.search(r"\bsynthetic\b", bare):
        yield f"{place} can't have synthetic"
    if re.search(r"\brestart;", bare) and "restart" not in _ACTIONS.get(place, set()):
        yield f"{place} can't restart"
    for function in set(_CALL.findall(bare)) - _KEYWORDS - _FUNCTIONS:
        yield f"there is no function {function}"
    for action in _ACTION.findall(bare):
        if action not in _ACTIONS.get(place, set()):
            yield f"{place} can't return({action})"


def _expression_problems(string: str) -> Iterator[str]:
    try:
        re.compile(string.strip('"'))
    except re.error as exc:
        yield f"the expression {string} is wrong: {exc}"


def _bracket_problems(text: str) -> Iterator[str]:
    open_ones: list[str] = []
    for character in text:
        if character in _PAIRS.values():
            open_ones.append(character)
        elif character in _PAIRS and (not open_ones or open_ones.pop() != _PAIRS[character]):
            yield f"{character} without {_PAIRS[character]}"
            return
    if open_ones:
        yield f"{open_ones[-1]} is not closed"
