# SPDX-License-Identifier: Apache-2.0
"""The pages as an application of their own, beside the API."""

import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from oslo_config import cfg

from poppy.transport.pecan.auth import Strategy
from poppy.transport.pecan.controllers.base import Resource, Settings
from poppy.transport.pecan.dashboard import pages, sessions, signing
from poppy.transport.pecan.dashboard.site import PREFIX, ErrorPages, Site
from poppy.transport.pecan.hooks import ContextHook
from poppy.transport.pecan.options import DASHBOARD_GROUP

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from poppy.manager.manager import Manager
    from poppy.policies.enforcer import Policy

#: Nothing but what we serve is loaded, run or sent to, no page frames ours, and none is kept.
#: (CSP Level 3; RFC 7034; Fetch; Referrer Policy; HTML, section 7.1.3.) The referrer stays within
#: our pages, whose forms need an origin.
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


def routes(
    manager: "Manager", settings: Settings, site: Site, front: signing.Front
) -> Mapping[str, Resource]:
    """The pages by URL template."""
    shown: dict[str, type[pages.Page]] = {
        "": pages.Overview,
        "/operations": pages.Operations,
        "/services": pages.Services,
        "/services/{project_id}/{service_id}": pages.Service,
        "/find": pages.Find,
        "/static/{name}": pages.File,
    }
    return {
        **{f"{PREFIX}{path}": page(manager, settings, site) for path, page in shown.items()},
        f"{PREFIX}/sign-in": signing.SignIn(manager, settings, site, front),
        f"{PREFIX}/sign-out": signing.SignOut(manager, settings, site, front),
    }


class Shared(NamedTuple):
    """What the pages have from the API."""

    conf: cfg.ConfigOpts
    manager: "Manager"
    settings: Settings
    strategy: Strategy
    policy: "Policy"


def beside(
    api: "WSGIApplication",
    shared: Shared,
    serve: "Callable[[Mapping[str, Resource], Sequence[Any]], WSGIApplication]",
) -> "WSGIApplication":
    """The API, with the pages beside it.

    Args:
        serve: makes an application of routes and hooks.

    Raises:
        ConfigError: it can't work as it is configured.
    """
    options = shared.conf[DASHBOARD_GROUP]
    site = Site(options.refresh)
    known = sessions.make(shared.conf, shared.strategy, shared.manager.sessions)
    front = signing.Front(known, shared.policy, options.session_lifetime)
    table = routes(shared.manager, shared.settings, site, front)
    hooks = [ContextHook(shared.settings, known, shared.policy), ErrorPages(site)]
    return Beside(api, Guarded(serve(table, hooks)))


class Beside:
    """Sends what is under our prefix to the pages, and everything else to the API."""

    def __init__(self, api: "WSGIApplication", dashboard: "WSGIApplication") -> None:
        self._api = api
        self._dashboard = dashboard

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        path = environ.get("PATH_INFO", "")
        ours = path == PREFIX or path.startswith(f"{PREFIX}/")
        return (self._dashboard if ours else self._api)(environ, start_response)


class Guarded:
    """Gives every answer, whatever it is, the header fields that browsers go by."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            given = {name.lower() for name, _ in headers}
            kept = [] if "cache-control" in given else [("Cache-Control", "no-store")]
            ours = [(name, _local(name, value)) for name, value in headers]
            return start_response(status, [*ours, *HEADERS, *kept], exc_info)

        return self._application(environ, start)


def _local(name: str, value: str) -> str:
    """A ``Location`` as a path (RFC 9110, section 10.2.2).

    WebOb puts in front of it how it was called, which behind a proxy that ends TLS is by http:
    elsewhere, for a browser.
    """
    if name.lower() != "location":
        return value
    return urllib.parse.urlsplit(value)._replace(scheme="", netloc="").geturl()
