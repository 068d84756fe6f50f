# SPDX-License-Identifier: Apache-2.0
"""Requests that the edge answers itself: redirects and CORS preflights; and the fields of CORS.

Variables hold what a redirect keeps of the request: the behaviour ``redirectplus`` takes them
(https://techdocs.akamai.com/property-mgr/reference/ga-redirectplus), and ``setVariable`` has the
transformations SUBSTITUTE, URL_DECODE and URL_ENCODE
(https://techdocs.akamai.com/property-mgr/docs/set-var-operations).
"""

import re

from poppy.common.errors import PermanentError
from poppy.model.document.cors import ANY, CORS
from poppy.model.document.redirects import CAPTURE, DEFAULT_STATUS, Redirect
from poppy.model.specs import ServiceSpec
from poppy.provider import patterns
from poppy.provider.akamai import headers
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import (
    ADMITTED,
    CLIENT,
    assign,
    behavior,
    check_text,
    extract,
    header,
    protocol,
    regular,
    rule,
    substitute,
    variable,
)

#: Statuses of the behaviours ``redirect`` and ``redirectplus``.
STATUSES = (301, 302, 303, 307)
#: Path and query of the request. Without a query, it ends with the question mark.
_TARGET = "{{builtin.AK_PATH}}?{{builtin.AK_QUERY}}"
#: Characters that stay as they are in a path and in a query (RFC 3986, sections 3.3 and 3.4), and
#: those that must be encoded.
_PLAIN = "-._~!$'()*+,;:@"
_ENCODED = '"#%<>?[\\]^`{|}'
_LOCATION = re.compile(r"(https?://[^/?#]*)?([^?#]*)(\?[^#]*)?(#.*)?")
_FIELDS = (
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
)


def check(spec: ServiceSpec) -> None:
    """Refuse redirects that Akamai does not have.

    Raises:
        PermanentError: the message names the entry.
    """
    status = spec.delivery and spec.delivery.redirect
    if status not in (None, *STATUSES):
        raise PermanentError(f"delivery.redirect_status {status}: Akamai has no such redirect")
    for number, entry in enumerate(spec.redirects or ()):
        if entry.status not in (None, *STATUSES):
            raise PermanentError(
                f"redirects[{number}].status {entry.status}: Akamai has no such redirect"
            )
        check_text(entry.location, f"redirects[{number}].location")


def to_https(spec: ServiceSpec) -> list[Document]:
    """Return the rule that redirects requests over HTTP, if there is one."""
    status = spec.delivery and spec.delivery.redirect
    if not status:
        return []
    redirect = behavior(
        "redirect",
        mobileDefaultChoice="DEFAULT",
        destinationProtocol="HTTPS",
        destinationHostname="SAME_AS_REQUEST",
        destinationPath="SAME_AS_REQUEST",
        queryString="APPEND",
        responseCode=status,
    )
    return [rule("HTTPS", [protocol("HTTP"), ADMITTED], [redirect])]


def redirects(spec: ServiceSpec) -> list[Document]:
    """Return the rule of all redirects by path, the most specific last; none without redirects."""
    if not spec.redirects:
        return []
    ranked = sorted(spec.redirects, key=lambda it: patterns.specificity(it.request_url))
    over_http = [protocol("HTTPS")] if spec.delivery and spec.delivery.redirect else []
    rules = [_redirect(entry) for entry in reversed(ranked)]
    return [rule("Redirects", [CLIENT, ADMITTED, *over_http], children=rules)]


def _redirect(entry: Redirect) -> Document:
    regex = patterns.url_regex(entry.request_url, captures=True)
    host, path, query, fragment = (part or "" for part in _split(entry.location))
    steps = [
        step
        for number in sorted(set(CAPTURE.findall(entry.location)))
        for step in _captured(regex, number)
    ]
    path = _filled(path, "PATH")
    if not host:
        # Two slashes would begin the name of another host (RFC 3986, section 4.2).
        steps.append(substitute("PATH", path, "^/+", "/"))
        path = variable("PATH")
    if not query and "?" not in entry.request_url:
        steps.append(substitute("QUERY", "?{{builtin.AK_QUERY}}", "^[?]$", ""))
        query = variable("QUERY")
    destination = host + path + _filled(query, "QUERY") + _filled(fragment, "QUERY")
    redirect = behavior(
        "redirectplus",
        enabled=True,
        destination=destination,
        responseCode=entry.status or DEFAULT_STATUS,
    )
    return rule(entry.name, [regular(_TARGET, regex)], [*steps, redirect])


def _split(location: str) -> tuple[str | None, ...]:
    found = _LOCATION.fullmatch(location)
    assert found is not None
    return found.groups()


def _captured(regex: str, number: str) -> list[Document]:
    """Return behaviours that set the variables of a wildcard: for a path, and for a query."""
    found = f"MATCH{number}"
    return [
        substitute(found, _TARGET, f"{regex}.*$", f"${number}"),
        assign(found, variable(found), "URL_DECODE"),
        *(
            assign(
                f"{kind}{number}",
                variable(found),
                "URL_ENCODE",
                exceptChars=_PLAIN + plain,
                forceChars=_ENCODED + encoded,
            )
            for kind, plain, encoded in (("PATH", "/&=", ""), ("QUERY", "/", "&="))
        ),
    ]


def _filled(text: str, kind: str) -> str:
    return CAPTURE.sub(lambda found: variable(f"{kind}{found[1]}"), text)


def cors(spec: ServiceSpec) -> list[Document]:
    """Return the rule of CORS, if there is one.

    It sets the fields of all responses, and answers preflights
    (https://techdocs.akamai.com/property-mgr/docs/construct-response). The behaviour
    ``corsSupport`` does neither remove the origin's fields, nor take every method.
    """
    if spec.cors is None:
        return []
    preflight = [
        {"name": "requestMethod", "options": {"matchOperator": "IS", "value": "OPTIONS"}},
        header("Origin"),
        header("Access-Control-Request-Method"),
    ]
    empty = behavior(
        "constructResponse",
        enabled=True,
        body="",
        responseCode=200,
        forceEviction=False,
        ignorePurge=True,
    )
    everyone = spec.cors.allow_origins == (ANY,)
    allowed = [] if everyone else [header("Origin", spec.cors.allow_origins)]
    own = [headers.delete_response(name) for name in _FIELDS]
    own += (
        [] if everyone else [extract("ORIGIN", "Origin"), headers.add_response("Vary", "Origin")]
    )
    children = [
        rule(
            "Allowed sites",
            allowed,
            _allowed(spec.cors, everyone),
            [rule("Preflights", preflight, _preflight(spec.cors))],
        ),
        rule("Preflights", [*preflight, ADMITTED], [empty]),
    ]
    return [rule("CORS", [CLIENT], own, children)]


def _allowed(chosen: CORS, everyone: bool) -> list[Document]:
    fields = {"Access-Control-Allow-Origin": ANY if everyone else variable("ORIGIN")}
    if chosen.allow_credentials:
        fields["Access-Control-Allow-Credentials"] = "true"
    if chosen.expose_headers:
        fields["Access-Control-Expose-Headers"] = ", ".join(chosen.expose_headers)
    return [headers.set_response(*field) for field in fields.items()]


def _preflight(chosen: CORS) -> list[Document]:
    fields = {}
    if chosen.allow_methods:
        fields["Access-Control-Allow-Methods"] = ", ".join(chosen.allow_methods)
    if chosen.allow_headers:
        fields["Access-Control-Allow-Headers"] = ", ".join(chosen.allow_headers)
    if chosen.max_age is not None:
        fields["Access-Control-Max-Age"] = str(chosen.max_age)
    return [headers.set_response(*field) for field in fields.items()]
