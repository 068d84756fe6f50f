# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: the middleware pipeline and the Pecan application inside it."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pecan.core
import pecan.hooks
from oslo_config import cfg
from oslo_middleware.cors import CORS

from poppy.common import metrics
from poppy.policies.enforcer import Policy
from poppy.transport.pecan import auth, hosts
from poppy.transport.pecan.access import AccessLog
from poppy.transport.pecan.audit import Audited
from poppy.transport.pecan.controllers import v1
from poppy.transport.pecan.controllers.base import Resource, Settings
from poppy.transport.pecan.headers import Fields
from poppy.transport.pecan.hooks import ContextHook, ErrorHook
from poppy.transport.pecan.middleware import Measured, ProxyHeaders, RequestId, Traced
from poppy.transport.pecan.options import DASHBOARD_GROUP, LIMITS_GROUP
from poppy.transport.pecan.rate_limit import RateLimits
from poppy.transport.pecan.request import JSON, Request
from poppy.transport.pecan.response import Response
from poppy.transport.pecan.routing import Handler, Router

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from poppy.manager.manager import Manager


class Application(pecan.core.ExplicitPecan):  # type: ignore[misc]
    """Pecan with explicit request and response arguments and no content guessing.

    Paths are looked up in a route table. A handler returns the response, which is sent
    unchanged. Stock Pecan would choose renderers by the ``Accept`` header or the path's
    extension, drop arguments without a matching parameter, and turn empty responses into 204.
    """

    def route(self, req: Request, node: Router, path: str) -> tuple[Handler, list[str]]:
        """Return the handler of a request and its arguments.

        Content negotiation is left to the hooks.
        """
        req.pecan["content_type"] = JSON
        return node.find(req, path)

    def invoke_controller(
        self, controller: Handler, args: list[Any], kwargs: dict[str, Any], state: Any
    ) -> None:
        """Call the handler and keep its result as the response."""
        state.response = controller(*args, **kwargs)

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
    strategy, policy = auth.make(conf), Policy(conf)
    rates = RateLimits(conf[LIMITS_GROUP], LIMITS_GROUP)
    hooks = [ContextHook(settings, strategy, policy, rates), ErrorHook()]
    application = _serve(conf, allowed, v1.routes(manager, settings), hooks)
    if conf.cors.allowed_origin:
        # Outside the rest: a browser page can't read any response, not even a 500, without the
        # CORS header fields.
        application = CORS(application, conf)
    application = Fields(application)
    if conf[DASHBOARD_GROUP].enabled:
        # Imported here so that a disabled dashboard loads no code.
        from poppy.transport.pecan.dashboard import app as dashboard

        shared = dashboard.Shared(conf, manager, settings, strategy, policy)
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
    routes: Mapping[str, Resource],
    hooks: Sequence[pecan.hooks.PecanHook],
) -> "WSGIApplication":
    application: WSGIApplication = Application(
        Router(routes),
        hooks=hooks,
        request_cls=Request,
        response_cls=Response,
        guess_content_type_from_ext=False,
        force_canonical=False,
    )
    if "*" not in allowed:
        application = hosts.Hosts(application, allowed)
    if conf.oslo_middleware.enable_proxy_headers_parsing:
        application = ProxyHeaders(application, conf)
    return RequestId(application)
