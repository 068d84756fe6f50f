# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: the middleware pipeline and the Pecan application inside it."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pecan.core
import pecan.hooks
from oslo_config import cfg
from oslo_middleware.cors import CORS

from poppy.common import metrics
from poppy.policies.base import RULES
from poppy.policies.enforcer import Policy
from poppy.transport.pecan import auth, hosts
from poppy.transport.pecan.access import AccessLog
from poppy.transport.pecan.audit import Audited
from poppy.transport.pecan.controllers import v1
from poppy.transport.pecan.controllers.base import API, Settings
from poppy.transport.pecan.headers import Fields
from poppy.transport.pecan.hooks import ContextHook, ErrorHook
from poppy.transport.pecan.middleware import Measured, ProxyHeaders, RequestId, Traced
from poppy.transport.pecan.options import DASHBOARD_GROUP, LIMITS_GROUP
from poppy.transport.pecan.rate_limit import RateLimits
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response
from poppy.transport.pecan.routes import Route, rules
from poppy.transport.pecan.routing import Router

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from poppy.manager.manager import Manager


class Application(pecan.core.ExplicitPecan):  # type: ignore[misc]
    """Pecan with a route table, and without content guessing.

    A handler returns the response, which is sent unchanged. Stock Pecan would choose renderers by
    the ``Accept`` header or the path's extension, turn the query and the body into arguments, and
    turn empty responses into 204.
    """

    def __init__(self, api: API, **options: Any) -> None:
        super().__init__(Router(api.routes), request_cls=Request, response_cls=Response, **options)
        self._api = api

    def find_controller(self, state: Any) -> tuple[Route, list[str], dict[str, Any]]:
        """Find the route of a request, check its query string, and run the hooks.

        Raises:
            RequestRefused: see :meth:`.Router.find`.
            InvalidRequest: the query string is malformed.
        """
        request: Request = state.request
        state.controller, segments = self.root.find(request, request.path_info)
        _ = request.GET
        self.handle_hooks(self.hooks, "before", state)
        return state.controller, segments, {}

    def determine_hooks(self, controller: Route | None = None) -> list[pecan.hooks.PecanHook]:
        """Return the application's hooks; routes have none of their own."""
        return self.hooks  # type: ignore[no-any-return]

    def invoke_controller(
        self, controller: Route, args: list[str], kwargs: dict[str, Any], state: Any
    ) -> None:
        """Call the handler and keep its result as the response."""
        state.response = controller.handler(self._api, state.request, *args)

    def _handle_empty_response_body(self, state: Any) -> None:
        """Keep the status code of an empty response; Pecan would change it to 204."""


def make(
    conf: cfg.ConfigOpts, manager: "Manager", settings: Settings, bind: str
) -> "WSGIApplication":
    """Return the whole pipeline; a request passes through it from the last line to the first.

    Args:
        bind: the address that the server listens on.
    """
    allowed = hosts.allowed(conf, bind)
    routes = v1.routes()
    ruled = [*routes]
    if conf[DASHBOARD_GROUP].enabled:
        # Imported here so that a disabled dashboard loads no code.
        from poppy.transport.pecan.dashboard import app as dashboard

        ruled += dashboard.ROUTES
    strategy, policy = auth.make(conf), Policy(conf, [*RULES, *rules(ruled)])
    rates = RateLimits(conf[LIMITS_GROUP], LIMITS_GROUP)
    api = API(manager, settings, routes, rates)
    hooks = [ContextHook(api, strategy, policy, rates), ErrorHook()]
    application = _serve(conf, allowed, api, hooks)
    if conf.cors.allowed_origin:
        # Outside the rest: a browser page can't read any response, not even a 500, without the
        # CORS header fields.
        application = CORS(application, conf)
    application = Fields(application)
    if conf[DASHBOARD_GROUP].enabled:
        shared = dashboard.Shared(conf, manager, settings, strategy, policy, rates)
        application = dashboard.beside(
            application, shared, functools.partial(_serve, conf, allowed)
        )
    if conf.audit.enabled:
        application = Audited(application)
    if conf.tracing.enabled:
        application = Traced(application, conf.tracing.trust_clients)
    if metrics.enabled():
        application = Measured(application)
    return AccessLog(application) if conf.access_log else application


def _serve(
    conf: cfg.ConfigOpts,
    allowed: Sequence[str],
    api: API,
    hooks: Sequence[pecan.hooks.PecanHook],
) -> "WSGIApplication":
    application: WSGIApplication = Application(api, hooks=hooks)
    if "*" not in allowed:
        application = hosts.Hosts(application, allowed)
    if conf.oslo_middleware.enable_proxy_headers_parsing:
        application = ProxyHeaders(application, conf)
    return RequestId(application)
