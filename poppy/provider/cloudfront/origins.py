# SPDX-License-Identifier: Apache-2.0
"""The origins of a distribution, and the function's table that chooses between them. No I/O.

Behaviours of CloudFront could choose the origin as well. But there is one list of them for origins
and TTLs, which would need a behaviour for each pair of an origin's path and a caching path.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from poppy.common.errors import PermanentError
from poppy.model import names
from poppy.model.specs import Origin
from poppy.provider.cloudfront.merging import Config, items
from poppy.provider.cloudfront.paths import Route, routes
from poppy.provider.cloudfront.programs import Step


class Choice(NamedTuple):
    """What the function does with the origin of a request.

    Attributes:
        origin_id: the distribution's origin to select; empty if there is only one.
        host: the Host header for the origin; None for the one that the distribution sends: the
            viewer's if behaviours forward it, otherwise the origin's name.
    """

    origin_id: str
    host: str | None


class Routing(NamedTuple):
    """How requests reach the origins of a service.

    Attributes:
        default: the number of the origin that serves all paths without a route.
        forwards_host: whether behaviours forward the viewer's Host header.
        choices: by the number of a route; empty if the function has nothing to do.
    """

    default: int
    forwards_host: bool
    choices: tuple[Choice, ...]
    routes: tuple[Route, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The step of the function that chooses the origin, if there is a choice."""
        tables = {"CHOICES": self.choices, "ROUTES": self.routes}
        files = ("patterns.js", "normal.js", "routing.js")
        return (Step("route", files, tables, ("cloudfront",)),) if self.choices else ()


def routing(origins: Sequence[Origin]) -> Routing:
    """Compile the origins of a document.

    Raises:
        PermanentError: CloudFront can't use an origin or match a path; the message names it.
    """
    for origin in origins:
        _check(origin)
    if not origins:
        # A certificate order has none.
        return Routing(0, False, (), ())
    found = routes(origins)
    default = found[-1].origin
    used = {route.origin for route in found}
    forwards_host = any(origins[number].hostheadertype == "domain" for number in used)
    if len(used) == 1:
        if origins[default].hostheadertype != "custom":
            return Routing(default, forwards_host, (), ())
        choice = Choice("", origins[default].hostheadervalue)
        return Routing(default, forwards_host, (choice,), (Route(found[-1].pattern, 0),))
    choices = tuple(Choice(origin_id(one), _host(one, forwards_host)) for one in origins)
    return Routing(default, forwards_host, choices, tuple(found))


def origin_id(origin: Origin) -> str:
    """Return the id of an origin, which is unique in its distribution."""
    scheme = "https" if origin.ssl else "http"
    name = f"{scheme}://{origin.origin}:{origin.port}"
    return f"origin-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def configured(origins: Sequence[Origin]) -> Config:
    """Return ``Origins`` of a distribution. Origins that differ only in Host are one."""
    by_id = {origin_id(origin): origin for origin in origins}
    return items([_origin(name, origin) for name, origin in by_id.items()])


def _check(origin: Origin) -> None:
    if names.address(origin.origin) is not None:
        raise PermanentError(f"Origin '{origin.origin}': CloudFront needs a name, not an address")
    if names.address(origin.hostheadervalue or "") is not None:
        raise PermanentError(
            f"Origin '{origin.origin}': CloudFront can't send the address "
            f"{origin.hostheadervalue} as the Host header"
        )


def _host(origin: Origin, forwards_host: bool) -> str | None:
    if origin.hostheadertype == "custom":
        return origin.hostheadervalue
    return origin.origin if forwards_host and origin.hostheadertype == "origin" else None


def _origin(name: str, origin: Origin) -> dict[str, Any]:
    return {
        "Id": name,
        "DomainName": origin.origin,
        "CustomOriginConfig": {
            # CloudFront requires both ports.
            "HTTPPort": 80 if origin.ssl else origin.port,
            "HTTPSPort": origin.port if origin.ssl else 443,
            "OriginProtocolPolicy": "https-only" if origin.ssl else "http-only",
            "OriginSslProtocols": items(["TLSv1.2"]),
        },
    }
