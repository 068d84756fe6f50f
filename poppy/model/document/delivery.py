# SPDX-License-Identifier: Apache-2.0
"""``delivery``: how an edge talks to clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from poppy.common.errors import InvalidRequest
from poppy.model.capabilities import Capability

DEFAULT_REDIRECT_STATUS = 301

#: Media types that edges compress, as beginnings.
COMPRESSED = (
    *("text/html", "text/plain", "text/css", "text/xml", "text/csv", "text/javascript"),
    *("application/javascript", "application/json", "application/ld+json", "application/xml"),
    *("application/manifest+json", "application/rss+xml", "application/atom+xml"),
    *("application/wasm", "image/svg+xml", "font/ttf", "font/otf"),
)


def compressible() -> str:
    """Return an expression of VCL for the media types that edges compress."""
    return "(?i)^(?:" + "|".join(it.replace("+", "[+]") for it in COMPRESSED) + ")"


@dataclass(frozen=True, slots=True)
class HSTS:
    """The field Strict-Transport-Security of responses over HTTPS (RFC 6797, section 6.1)."""

    max_age: Annotated[
        int,
        {
            "description": "Seconds for which browsers use HTTPS only; 0 ends that.",
            "minimum": 0,
            "maximum": 63072000,
        },
    ]
    include_subdomains: Annotated[
        bool | None, {"description": "Whether subdomains are included.", "default": False}
    ] = None
    preload: Annotated[
        bool | None,
        {"description": "Whether browsers' lists may include the domain.", "default": False},
    ] = None

    @property
    def value(self) -> str:
        """The value of Strict-Transport-Security."""
        parts = [f"max-age={self.max_age}"]
        parts += ["includeSubDomains"] if self.include_subdomains else []
        parts += ["preload"] if self.preload else []
        return ";".join(parts)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an edge talks to clients. Without a value, the provider's default applies."""

    https_redirect: Annotated[
        bool | None,
        {"description": "Whether to redirect HTTP to HTTPS; all domains must have HTTPS."},
        Capability.HTTPS_REDIRECT,
    ] = None
    redirect_status: Annotated[
        Literal[301, 302, 308] | None,
        {
            "description": "Status of that redirect.",
            "default": DEFAULT_REDIRECT_STATUS,
        },
    ] = None
    hsts: Annotated[
        HSTS | None,
        {"description": "HTTP Strict Transport Security (RFC 6797)."},
        Capability.HSTS,
    ] = None
    min_tls: Annotated[
        Literal["1.2", "1.3"] | None,
        {"description": "The oldest version of TLS that clients may use."},
        Capability.MIN_TLS,
    ] = None
    http3: Annotated[
        bool | None, {"description": "Whether clients may use HTTP/3."}, Capability.HTTP3
    ] = None
    compression: Annotated[
        Literal["off", "gzip", "brotli"] | None,
        {"description": "How the edge compresses responses that the origin has not compressed."},
        {"gzip": Capability.GZIP, "brotli": Capability.BROTLI},
    ] = None
    websockets: Annotated[
        bool | None,
        {"description": "Whether clients may use WebSocket."},
        {True: Capability.WEBSOCKETS, False: Capability.WEBSOCKETS},
    ] = None

    @property
    def redirect(self) -> int | None:
        """The status of the redirect to HTTPS; None without one."""
        return (self.redirect_status or DEFAULT_REDIRECT_STATUS) if self.https_redirect else None


def check(delivery: Delivery, http: Sequence[str], https: Sequence[str]) -> None:
    """Check the rules that no schema expresses.

    Args:
        delivery: the field.
        http: the domains without HTTPS.
        https: the domains with HTTPS.

    Raises:
        InvalidRequest: the message names the field.
    """
    if delivery.redirect_status is not None and not delivery.https_redirect:
        raise InvalidRequest("delivery.redirect_status needs delivery.https_redirect")
    if delivery.https_redirect and http:
        raise InvalidRequest(
            f"delivery.https_redirect needs protocol https for all domains; {http[0]} has http"
        )
    for name in ("hsts", "min_tls"):
        if getattr(delivery, name) is not None and not https:
            raise InvalidRequest(f"delivery.{name} needs a domain with protocol https")
