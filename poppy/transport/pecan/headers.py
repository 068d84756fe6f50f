# SPDX-License-Identifier: Apache-2.0
"""Header fields of every answer of the API: for caches, and for browsers."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: What an answer depends on besides the URL. (RFC 9110, section 12.5.5.)
VARY = ("X-Auth-Token", "X-Project-ID", "X-Roles", "Accept")

#: RFC 9111, section 5.2.2: kept by the client alone, and used only after asking again.
CACHE_CONTROL = "private, no-cache"

#: JSON is no page: whatever a browser makes of it loads nothing, runs nothing and is framed
#: nowhere. (Fetch, "nosniff"; CSP Level 3; Referrer Policy.)
ALWAYS: Sequence[tuple[str, str]] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)

#: For a year, once the client is known to have used https (RFC 6797).
_HSTS = ("Strict-Transport-Security", "max-age=31536000")


class Fields:
    """Adds them.

    An answer that has a ``Cache-Control`` of its own keeps it. ``Vary`` is merged.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""

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
            # Where a proxy in front tells the scheme, it is known by now.
            if environ["wsgi.url_scheme"] == "https":
                kept.append(_HSTS)
            return start_response(status, kept, exc_info)

        return self._application(environ, start)
