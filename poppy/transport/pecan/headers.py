# SPDX-License-Identifier: Apache-2.0
"""Header fields of every API response, for caches and browsers."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Request header fields that select the response (RFC 9110, section 12.5.5).
VARY = ("X-Auth-Token", "X-Project-ID", "X-Roles", "Accept")

#: RFC 9111, section 5.2.2: only the client may store the response, and it must revalidate it
#: before each use.
CACHE_CONTROL = "private, no-cache"

#: JSON is not a page: if a browser renders it anyway, it loads nothing, runs nothing and can't be
#: framed. (Fetch, "nosniff"; CSP Level 3; Referrer Policy.)
ALWAYS: Sequence[tuple[str, str]] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)

#: One year. Sent only in responses to https requests (RFC 6797).
_HSTS = ("Strict-Transport-Security", "max-age=31536000")


class Fields:
    """Middleware that adds the header fields.

    A response with its own ``Cache-Control`` keeps it. ``Vary`` is merged.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Run the application and add the header fields to its response."""

        def start(status: str, given: list[tuple[str, str]], exc_info: Any = None) -> Any:
            vary, kept, cached = list(VARY), [*ALWAYS], False
            for name, value in given:
                lowered = name.lower()
                if lowered == "vary":
                    vary += (field.strip() for field in value.split(","))
                    continue
                cached = cached or lowered == "cache-control"
                kept.append((name, value))
            if not cached:
                kept.append(("Cache-Control", CACHE_CONTROL))
            kept.append(("Vary", ", ".join({field.lower(): field for field in vary}.values())))
            # ProxyHeaders has set the scheme by now, if a proxy in front sends it.
            if environ["wsgi.url_scheme"] == "https":
                kept.append(_HSTS)
            return start_response(status, kept, exc_info)

        return self._application(environ, start)
