# SPDX-License-Identifier: Apache-2.0
"""The dashboard as a WSGI application next to the API."""

import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oslo_config import cfg

from poppy.transport.pecan.auth import Strategy
from poppy.transport.pecan.controllers.base import API, Settings
from poppy.transport.pecan.dashboard import edge_pages, login, pages, sessions
from poppy.transport.pecan.dashboard.rendering import PREFIX, ErrorPages, Renderer
from poppy.transport.pecan.guesses import Guesses
from poppy.transport.pecan.hooks import ContextHook
from poppy.transport.pecan.options import DASHBOARD_GROUP
from poppy.transport.pecan.rate_limit import RateLimits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from poppy.manager.manager import Manager
    from poppy.policies.enforcer import Policy

#: Security headers of every response: load, run and submit to our own origin only, forbid framing
#: and caching. (CSP Level 3; RFC 7034; Fetch; Referrer Policy; HTML, section 7.1.3.) The referrer
#: is sent to our own pages only; their forms need an origin.
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


ROUTES = (*pages.ROUTES, *edge_pages.ROUTES, *login.ROUTES)


class Shared(NamedTuple):
    """Objects that the dashboard shares with the API."""

    conf: cfg.ConfigOpts
    manager: "Manager"
    settings: Settings
    strategy: Strategy
    policy: "Policy"
    rates: RateLimits


def beside(
    api: "WSGIApplication",
    shared: Shared,
    serve: "Callable[[API, Sequence[Any]], WSGIApplication]",
) -> "WSGIApplication":
    """Add the dashboard to the API's application.

    Args:
        serve: makes an application from an API and hooks.

    Raises:
        ConfigError: the dashboard's configuration is invalid.
    """
    options = shared.conf[DASHBOARD_GROUP]
    renderer = Renderer(options.refresh)
    known = sessions.make(shared.conf, shared.strategy, shared.manager.sessions)
    context = login.LoginContext(known, shared.policy, options.session_lifetime, Guesses())
    site = login.Site(shared.manager, shared.settings, ROUTES, shared.rates, renderer, context)
    hooks = [ContextHook(site, known, shared.policy), ErrorPages(renderer)]
    return Beside(api, Guarded(serve(site, hooks)))


class Beside:
    """Dispatches paths under ``/dashboard`` to the dashboard and all others to the API."""

    def __init__(self, api: "WSGIApplication", dashboard: "WSGIApplication") -> None:
        self._api = api
        self._dashboard = dashboard

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Dispatch one request."""
        path = environ.get("PATH_INFO", "")
        ours = path == PREFIX or path.startswith(f"{PREFIX}/")
        return (self._dashboard if ours else self._api)(environ, start_response)


class Guarded:
    """Adds the security headers to every response, errors included."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request, with the security headers."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            given = {name.lower() for name, _ in headers}
            kept = [] if "cache-control" in given else [("Cache-Control", "no-store")]
            ours = [(name, _local(name, value)) for name, value in headers]
            return start_response(status, [*ours, *HEADERS, *kept], exc_info)

        return self._application(environ, start)


def _local(name: str, value: str) -> str:
    """Reduce a ``Location`` to a path (RFC 9110, section 10.2.2).

    WebOb makes it absolute with the scheme of its own connection. Behind a proxy that terminates
    TLS this is http, which is another origin for the browser.
    """
    if name.lower() != "location":
        return value
    return urllib.parse.urlsplit(value)._replace(scheme="", netloc="").geturl()
