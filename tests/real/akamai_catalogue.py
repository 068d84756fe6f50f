# SPDX-License-Identifier: Apache-2.0
"""Options of behaviours and criteria, as the schema of rule format v2023-10-30 has them.

The tables have the parts that drivers write. Sources: the reference page of each behaviour
(https://techdocs.akamai.com/property-mgr/reference/ga-redirectplus and so on; the column
"Requires" says which options go together), and the values and patterns of the same format in
Akamai's Terraform provider (``pkg/providers/property/ruleformats``).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Mapping[str, Any]], str]
_NAME = r'[^()<>@,;:"/\[\]?{}\s]+'
_DURATION = "[0-9]+[DdHhMmSs]"
_VARIABLE = "[a-zA-Z_][a-zA-Z0-9_]{0,31}"
#: Statuses of ``constructResponse`` and of redirects.
_CONSTRUCTED = (200, 404, 401, 403, 405, 417, 500, 501, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307)
#: Methods of the criterion ``requestMethod``, without those of WebDAV and of Akamai.
_METHODS = ("GET", "POST", "HEAD", "PUT", "PATCH", "HTTP_DELETE", "OPTIONS")
_LONGEST_BODY = 2000


def _of(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def _one(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


def _like(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _list(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


_BOOL, _TEXT = _of(bool), _of(str)


def _percentage(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 99


def _body(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_BODY


def shape(**options: Callable[[Any], bool]) -> Check:
    """Return a check: exactly these options, each with a value that its own check takes."""

    def check(found: Mapping[str, Any]) -> str:
        if set(found) != set(options):
            return f"options {sorted(set(found) ^ set(options))}"
        return next(
            (f"{name} {found[name]!r}" for name in options if not options[name](found[name])), ""
        )

    return check


def by(option: str, kinds: Mapping[Any, Check]) -> Check:
    """Return a check of behaviours with other options for each value of an option."""

    def check(found: Mapping[str, Any]) -> str:
        kind = kinds.get(found.get(option))
        if kind is None:
            return f"{option} {found.get(option)!r}"
        return kind({name: value for name, value in found.items() if name != option})

    return check


def _edit(add: tuple[str, ...], modify: tuple[str, ...], delete: tuple[str, ...]) -> Check:
    """Return the check of a behaviour ``modify...Header`` with its standard names."""

    def check(found: Mapping[str, Any]) -> str:
        action = found.get("action")
        names = {"ADD": add, "MODIFY": modify, "DELETE": delete}.get(str(action))
        if names is None:
            return f"action {action!r}"
        standard = f"standard{str(action).title()}HeaderName"
        options = {"action": _TEXT, standard: _one(*names, "OTHER")}
        if found.get(standard) == "OTHER":
            options["customHeaderName"] = _like(_NAME)
        if action == "ADD":
            options["headerValue"] = _TEXT
        elif action == "MODIFY":
            options |= {"newHeaderValue": _TEXT, "avoidDuplicateHeaders": _BOOL}
        return shape(**options)(found)

    return check


_CONTENT = ("CACHE_CONTROL", "CONTENT_DISPOSITION", "CONTENT_TYPE", "P3P", "PRAGMA")
_CORS = tuple(
    f"ACCESS_CONTROL_{name}"
    for name in (
        *("ALLOW_ORIGIN", "ALLOW_METHODS", "ALLOW_HEADERS"),
        *("EXPOSE_HEADERS", "ALLOW_CREDENTIALS", "MAX_AGE"),
    )
)
_ACCEPT = ("ACCEPT_ENCODING", "ACCEPT_LANGUAGE")

_TRANSFORMS = {
    "NONE": {},
    "LOWER": {},
    "SUBSTITUTE": {
        "regex": _TEXT,
        "replacement": _TEXT,
        "caseSensitive": _BOOL,
        "globalSubstitution": _BOOL,
    },
    "URL_DECODE": {},
    "URL_ENCODE": {"exceptChars": _TEXT, "forceChars": _TEXT},
}


def _variable(**options: Callable[[Any], bool]) -> Check:
    return by(
        "transform",
        {
            name: shape(variableName=_like(_VARIABLE), **options, **more)
            for name, more in _TRANSFORMS.items()
        },
    )


_MAPS = ("CH2", "CHAPAC", "CHEU2", "CHEUS2", "CHCUS2", "CHWUS2", "CHAUS", "CH")


def _tiers(found: Mapping[str, Any]) -> str:
    """Check ``tieredDistribution``; its map is optional."""
    chosen = {"tieredDistributionMap": _one(*_MAPS)} if "tieredDistributionMap" in found else {}
    return shape(enabled=_BOOL, **chosen)(found)


BEHAVIORS: Mapping[str, Check] = {
    "redirect": shape(
        mobileDefaultChoice=_one("DEFAULT"),
        destinationProtocol=_one("SAME_AS_REQUEST", "HTTP", "HTTPS"),
        destinationHostname=_one("SAME_AS_REQUEST"),
        destinationPath=_one("SAME_AS_REQUEST"),
        queryString=_one("APPEND", "IGNORE"),
        responseCode=_one(*_REDIRECTS),
    ),
    "redirectplus": shape(
        enabled=_BOOL,
        destination=_like("(?:/|https?://|[{]{2}).*"),
        responseCode=_one(*_REDIRECTS),
    ),
    "constructResponse": shape(
        enabled=_BOOL,
        body=_body,
        responseCode=_one(*_CONSTRUCTED),
        forceEviction=_BOOL,
        ignorePurge=_BOOL,
    ),
    "modifyIncomingRequestHeader": _edit(_ACCEPT, _ACCEPT, ("IF_MODIFIED_SINCE", "VIA")),
    "modifyOutgoingResponseHeader": _edit(
        (*_CONTENT, *_CORS, "EDGE_CONTROL"), (*_CONTENT, *_CORS), (*_CONTENT, *_CORS, "EXPIRES")
    ),
    "modifyIncomingResponseHeader": _edit(
        ("CACHE_CONTROL", "CONTENT_TYPE", "EDGE_CONTROL", "EXPIRES", "LAST_MODIFIED"),
        ("CACHE_CONTROL", "CONTENT_TYPE", "EDGE_CONTROL"),
        ("CACHE_CONTROL", "CONTENT_TYPE", "VARY"),
    ),
    "cacheTag": shape(tag=_like(r"(?:[a-zA-Z0-9&'^$!`#%.+~_|/-]|[{]{2}[a-zA-Z_.0-9]+[}]{2})+")),
    "setVariable": by(
        "valueSource",
        {
            "EXPRESSION": _variable(variableValue=_TEXT),
            "EXTRACT": by(
                "extractLocation",
                {
                    "CLIENT_REQUEST_HEADER": _variable(headerName=_like(_NAME)),
                    "RESPONSE_HEADER": _variable(responseHeaderName=_like(_NAME)),
                },
            ),
        },
    ),
    "prefreshCache": shape(enabled=_BOOL, prefreshval=_percentage),
    "downstreamCache": by(
        "behavior", {"TUNNEL_ORIGIN": shape(), "BUST": shape(), "NONE": shape()}
    ),
    "cacheKeyQueryParams": by("behavior", {"IGNORE_ALL": shape()}),
    "cacheId": by("rule", {"INCLUDE_VARIABLE": shape(variableName=_like(_VARIABLE))}),
    "rewriteUrl": by(
        "behavior", {"REWRITE": shape(targetUrl=_like(r"(/|[{]{2})\S*"), keepQueryString=_BOOL)}
    ),
    "gzipResponse": shape(behavior=_one("ORIGIN_RESPONSE", "ALWAYS", "NEVER")),
    "baseDirectory": shape(value=_like(r"/([^:#\[\]@/?]+/)*")),
    "timeout": shape(value=_like(_DURATION)),
    "readTimeout": shape(value=_like(_DURATION)),
    "tieredDistribution": _tiers,
    "webApplicationFirewall": shape(
        firewallConfiguration=lambda value: (
            value.keys() == {"configId"} and type(value["configId"]) is int
        )
    ),
    "webSockets": shape(enabled=_BOOL),
    "http2": shape(),
    "http3": shape(enable=_BOOL),
}

CRITERIA: Mapping[str, Check] = {
    "requestProtocol": shape(value=_one("HTTP", "HTTPS")),
    "requestMethod": shape(matchOperator=_one("IS", "IS_NOT"), value=_one(*_METHODS)),
    "matchVariable": by(
        "matchOperator",
        {
            "IS_EMPTY": shape(variableName=_like(_VARIABLE)),
            "IS_NOT_EMPTY": shape(variableName=_like(_VARIABLE)),
        },
    ),
    "regularExpression": shape(matchString=_TEXT, regex=_TEXT, caseSensitive=_BOOL),
    "matchResponseCode": shape(
        matchOperator=_one("IS_ONE_OF", "IS_NOT_ONE_OF"), values=_list(_like("[1-5][0-9]{2}"))
    ),
    "contentType": shape(
        matchOperator=_one("IS_ONE_OF", "IS_NOT_ONE_OF"),
        values=_list(_TEXT),
        matchWildcard=_BOOL,
        matchCaseSensitive=_BOOL,
    ),
}
