# SPDX-License-Identifier: Apache-2.0
"""The events of CloudFront's functions, made from requests and responses and read back.

From the CloudFront developer guide: the structure of events, in which cookies are no header
fields ("CloudFront Functions event structure"); the fields that functions do not see or can't
change, for which CloudFront answers 502 ("Restrictions on all edge functions").
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from poppy.testing.edge import Request, Response
from poppy.testing.edge.origin import Fields

_HIDDEN = (
    *("connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization"),
    *("proxy-connection", "trailer", "upgrade", "x-accel-buffering", "x-accel-charset"),
    *("x-accel-limit-rate", "x-accel-redirect", "x-amzn-auth", "x-amzn-errortype"),
    *("x-amzn-requestid", "x-cache", "x-forwarded-proto", "x-real-ip"),
)
_HIDDEN_PREFIXES = ("x-amz-cf-", "x-edge-", "x-amzn-cf-", "x-amzn-header-")
_READ_ONLY = {
    "viewer-request": ("content-length", "host", "transfer-encoding", "via"),
    "viewer-response": ("warning", "via"),
}


class Changed(NamedTuple):
    """A request as a function has left it."""

    path: str
    query: str | None
    fields: dict[str, str]


def is_hidden(name: str) -> bool:
    """Return whether functions do not see a field, and may not add it."""
    return name in _HIDDEN or name.startswith(_HIDDEN_PREFIXES)


def request_event(request: Request, added: Mapping[str, str]) -> dict[str, Any]:
    """Return the event of a request.

    Args:
        request: of the viewer.
        added: the fields that CloudFront adds.
    """
    path, _, query = request.target.partition("?")
    fields = [*request.fields.items(), ("Host", request.host), *added.items()]
    return {
        "version": "1.0",
        "context": {"eventType": "viewer-request"},
        "viewer": {"ip": request.client},
        "request": {
            "method": request.method,
            "uri": path,
            "querystring": _collected(_pairs(query, "&")),
            "headers": _headers(fields),
            "cookies": _cookies(fields),
        },
    }


def raw_query(request: Request) -> str | None:
    path, question, query = request.target.partition("?")
    return query if question else None


def changed(event: Mapping[str, Any], result: Mapping[str, Any], query: str | None) -> Changed:
    """Return the request that a function for requests has returned.

    Args:
        event: of the function.
        result: what it has returned.
        query: of the request.
    """
    before = event["request"]
    check(before["headers"], result["headers"], "viewer-request")
    assert result["method"] == before["method"]
    new = result["querystring"]
    if isinstance(new, str):
        assert not set(new) & set(" #\n\r\t"), new
        query = new or None
    else:
        assert new == before["querystring"], "objects of changed queries are not interpreted"
    fields = {name: ", ".join(values(it)) for name, it in result["headers"].items()}
    if result["cookies"]:
        fields["cookie"] = "; ".join(
            f"{name}={value}" for name, it in result["cookies"].items() for value in values(it)
        )
    return Changed(result["uri"], query, fields)


def response_event(event: Mapping[str, Any], response: Response) -> dict[str, Any]:
    """Return the event of the response to a request of an event."""
    fields = response.fields
    cookies = {
        value.partition("=")[0]: {"value": value.partition("=")[2]}
        for name, value in fields
        if name.lower() == "set-cookie"
    }
    return {
        **event,
        "context": {"eventType": "viewer-response"},
        "response": {
            "statusCode": response.status,
            "statusDescription": "Reason",
            "headers": _headers(fields),
            "cookies": cookies,
        },
    }


def responded(event: Mapping[str, Any], result: Mapping[str, Any], body: bytes) -> Response:
    """Return the response that a function for responses has returned."""
    check(event["response"]["headers"], result["headers"], "viewer-response")
    fields = [(name, value) for name, it in result["headers"].items() for value in values(it)]
    cookies = [("set-cookie", f"{name}={it['value']}") for name, it in result["cookies"].items()]
    return Response(result["statusCode"], [*fields, *cookies], body)


def check(before: Mapping[str, Any], after: Mapping[str, Any], kind: str) -> None:
    """Refuse what CloudFront refuses with 502."""
    for name in after:
        assert name == name.lower(), f"502: {name} is not in lower case"
        assert not is_hidden(name), f"502: functions can't add {name}"
    for name in _READ_ONLY[kind]:
        assert before.get(name) == after.get(name), f"502: {name} is read-only"


def values(entry: Mapping[str, Any]) -> Sequence[str]:
    """Return the values of a header field, query parameter or cookie."""
    many = entry.get("multiValue")
    return [it["value"] for it in many] if many else [entry["value"]]


def _headers(fields: Fields) -> dict[str, Any]:
    pairs = [(name.lower(), value) for name, value in fields]
    apart = ("cookie", "set-cookie")
    return _collected([(n, v) for n, v in pairs if n not in apart and not is_hidden(n)])


def _cookies(fields: Fields) -> dict[str, Any]:
    lines = [value for name, value in fields if name.lower() == "cookie"]
    return _collected([pair for line in lines for pair in _pairs(line, ";")])


def _pairs(text: str, separator: str) -> list[tuple[str, str]]:
    parts = [part.strip().partition("=") for part in text.split(separator) if part.strip()]
    return [(name, value) for name, _, value in parts]


def _collected(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            many = found[name].setdefault("multiValue", [{"value": found[name]["value"]}])
            many.append({"value": value})
        else:
            found[name] = {"value": value}
    return found
