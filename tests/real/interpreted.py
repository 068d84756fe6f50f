# SPDX-License-Identifier: Apache-2.0
"""What the interpreted data planes of the edge contract have in common: a clock and a cache."""

from collections.abc import Hashable, Mapping
from typing import ClassVar, NamedTuple

from poppy.model.specs import ServiceSpec
from poppy.testing.edge import Answer, DataPlane, NotShown, Request, Response, Seen
from poppy.testing.edge.promises import HALF, NONE

_LARGE = 3000  # Bytes. Limits on sizes are not interpreted.
_CONNECTIONS = "Connections are not interpreted."
_SIZES = "Limits on sizes are not interpreted."

#: Promises that no interpreted plane shows.
NOT_SHOWN: Mapping[str, str] = {
    **{
        f"one-address-{method}": "It is not documented which address of an origin is used."
        for method in ("get", "head", "options", "put", "delete", "post")
    },
    **dict.fromkeys(
        ("chunked", "http-1.0", "early-hints", "truncated", "websocket"), _CONNECTIONS
    ),
    **dict.fromkeys(("large", "large-head", "huge", "wide-fields", "wide-cookie"), _SIZES),
    **dict.fromkeys(("head", "head-first"), "HEAD is not interpreted."),
    **dict.fromkeys(
        ("range", "range-first", "ranges", "large-range"), "Ranges are not interpreted."
    ),
    **dict.fromkeys(("not-modified",), "Conditional requests of browsers are not interpreted."),
    **dict.fromkeys(("gzip", "vary-encoding"), "Encodings are not interpreted."),
}


class Kept(NamedTuple):
    """A response in the cache."""

    response: Response
    until: float


class InterpretedPlane(DataPlane):
    """A data plane whose time passes only in :meth:`advance`.

    Attributes:
        now: seconds.
        kept: responses by cache key.
    """

    side_by_side: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.kept: dict[Hashable, Kept] = {}

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, origin: str, request: Request, fields: Mapping[str, str]) -> Response | None:
        """Return the origin's response, without a body for HEAD; None if it fails.

        Args:
            fields: those that the origin receives.

        Raises:
            NotShown: it depends on the connection.
        """
        if origin == HALF:
            raise NotShown("which address of an origin is used")
        if origin == NONE or self.origins.refuses(origin):
            return None
        seen = Seen(origin, request.method, request.target, list(fields.items()))
        reply, response = self.origins.answer(seen)
        if reply.form != "length" or reply.fault == "truncated" or reply.status < 200:
            raise NotShown("connections to origins")
        if len(response.body) > _LARGE or len(str(response.fields)) > _LARGE:
            raise NotShown("limits on sizes")
        if request.method == "HEAD":
            response = response._replace(body=b"")
        return None if reply.fault else response


def refuse_what_is_not_shown(request: Request, *, shows_head: bool = False) -> None:
    """Raise NotShown for requests that vendors' pages leave open."""
    names = {name.lower() for name in request.fields}
    for name in ("Range", "If-None-Match", "Upgrade"):
        if name.lower() in names:
            raise NotShown(f"requests with {name}")
    if request.method == "HEAD" and not shows_head:
        raise NotShown("HEAD")
    if len(str(request.fields)) > _LARGE:
        raise NotShown("limits on sizes")


def refuse_origins_that_are_not_shown(spec: ServiceSpec) -> None:
    """Raise NotShown for options of origins that no interpreter has."""
    for origin in spec.origins:
        if origin.response_timeout is not None:
            raise NotShown("delays of origins")
        if origin.verify_name is not None:
            raise NotShown("certificates of origins")


def answer(response: Response) -> Answer:
    """Return what the browser gets of an origin's response."""
    fields: dict[str, str] = {}
    for name, value in response.fields:
        key = name.lower()
        fields[key] = f"{fields[key]}, {value}" if key in fields else value
    return Answer(response.status, fields, response.body)


def directives(response: Response) -> dict[str, str]:
    """Return the directives of Cache-Control, in lower case."""
    value = answer(response).fields.get("cache-control", "")
    parts = (part.strip().partition("=") for part in value.split(","))
    return {name.lower(): given for name, _, given in parts if name}
