# SPDX-License-Identifier: Apache-2.0
"""CloudFront's edge, as far as it chooses the origin and the TTL of a request.

From the CloudFront developer guide: the first behaviour whose pattern matches the normalized path
applies ("Path pattern"); the viewer-request function may select another origin and Host header
("Helper methods for origin modification"); without that, the origin gets the viewer's Host header
if the behaviour forwards it, otherwise its own name.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.real.node import run_function


class Request(NamedTuple):
    """A viewer's request."""

    path: str
    host: str = "www.example.com"
    method: str = "GET"


class Fetch(NamedTuple):
    """A request to an origin, and the longest time in seconds that its answer may be cached."""

    url: str
    host: str
    ttl: int


def fetches(
    config: Mapping[str, Any], code: str, requests: Sequence[Request]
) -> list[Fetch | int]:
    """Return where each request goes, or the status with which the function answers it.

    Args:
        config: ``DistributionConfig``.
        code: of the function of its behaviours.
    """
    origins = {origin["Id"]: origin for origin in config["Origins"]["Items"]}
    answers = run_function(code, [_event(request) for request in requests], list(origins))
    found: list[Fetch | int] = []
    for request, answer in zip(requests, answers, strict=True):
        status = answer["result"].get("statusCode")
        behaviour = behaviour_of(config, request.path)
        found.append(status or _fetch(origins, behaviour, request, answer["origin"]))
    return found


def normal(path: str) -> str:
    """Return the path as CloudFront compares it with patterns (RFC 3986, section 6.2.2)."""
    path = re.sub(
        "%(2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)",
        lambda found: chr(int(found[1], 16)),
        path,
        flags=re.IGNORECASE,
    )
    path = re.sub("/+", "/", path)
    done = ""
    # Section 5.2.4.
    while path:
        if path.startswith("/./") or path == "/.":
            path = "/" + path[3:]
        elif path.startswith("/../") or path == "/..":
            path, done = "/" + path[4:], done.rpartition("/")[0]
        else:
            segment = re.match("/?[^/]*", path)
            assert segment is not None
            path, done = path[segment.end() :], done + segment[0]
    return done


def matches(pattern: str, path: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), path) is not None


def _event(request: Request) -> dict[str, Any]:
    headers = {"host": {"value": request.host}}
    sent = {"method": request.method, "uri": request.path, "querystring": {}, "headers": headers}
    return {"viewer": {"ip": "192.0.2.1"}, "request": sent}


def behaviour_of(config: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for behaviour in config["CacheBehaviors"].get("Items", ()):
        if matches(behaviour["PathPattern"], normal(path)):
            found: Mapping[str, Any] = behaviour
            return found
    default: Mapping[str, Any] = config["DefaultCacheBehavior"]
    return default


def _fetch(
    origins: Mapping[str, Any],
    behaviour: Mapping[str, Any],
    request: Request,
    calls: Sequence[Mapping[str, Any]],
) -> Fetch:
    origin, host = chosen(origins, behaviour, request.host, calls)
    custom = origin["CustomOriginConfig"]
    is_tls = custom["OriginProtocolPolicy"] == "https-only"
    scheme, port = ("https", "HTTPSPort") if is_tls else ("http", "HTTPPort")
    url = f"{scheme}://{origin['DomainName']}:{custom[port]}{request.path}"
    return Fetch(url, host, behaviour["MaxTTL"])


def chosen(
    origins: Mapping[str, Any],
    behaviour: Mapping[str, Any],
    host: str,
    calls: Sequence[Mapping[str, Any]],
) -> tuple[Mapping[str, Any], str]:
    """Return the origin of a request and its Host header, after a function's calls.

    Args:
        origins: by id.
        host: the viewer's.
    """
    assert len(calls) <= 1, "what several calls do is not documented"
    origin, changes = origins[behaviour["TargetOriginId"]], {}
    for call in calls:
        origin, changes = origins[call.get("id", origin["Id"])], call["properties"]
    forwarded = behaviour["ForwardedValues"]["Headers"].get("Items", ())
    default = host if "Host" in forwarded else origin["DomainName"]
    return origin, changes.get("hostHeader", default)
