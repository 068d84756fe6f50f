# SPDX-License-Identifier: Apache-2.0
"""Pecan hooks: authorisation before each handler, and error responses."""

from http import HTTPStatus
from typing import Any

import pecan.hooks
from oslo_context import context
from oslo_log import log
from oslo_middleware import request_id

from poppy.common import errors
from poppy.policies.base import ALL_PROJECTS
from poppy.policies.enforcer import Identity, Policy
from poppy.transport.pecan import errors as http_errors
from poppy.transport.pecan.auth import Strategy
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.rate_limit import RateLimits
from poppy.transport.pecan.request import (
    BASE_URL,
    IDENTITY,
    IS_ADMIN,
    PROJECT_ID,
    PROJECT_ID_IN_URL,
    Request,
    acceptable,
    host_url,
)
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import PUBLIC, Route
from poppy.transport.pecan.routing import PROJECT_SEGMENT, VERSION

LOG = log.getLogger(__name__)

NOBODY = Identity()
_SAFE = ("GET", "HEAD")


class ContextHook(pecan.hooks.PecanHook):  # type: ignore[misc]
    """Authenticates and authorises a request, negotiates content, and sets the base of links.

    The policy is enforced only here: a handler runs only after its rule has allowed the request.

    Raises:
        ConfigError: a route needs a rule that is not registered.
    """

    priority = 1

    def __init__(
        self,
        api: API,
        strategy: Strategy,
        policy: Policy,
        rates: RateLimits | None = None,
    ) -> None:
        policy.require(route.rule.name for route in api.routes if route.rule)
        self._project_id_in_url = api.settings.project_id_in_url
        self._strategy = strategy
        self._policy = policy
        self._rates = rates

    def before(self, state: Any) -> None:
        """Check the request against the route's rule.

        Runs once the route is known, so an unknown path is a 404 for every client.
        """
        request: Request = state.request
        route: Route = state.controller
        if acceptable(request, route.media_types) is None:
            offered = " or ".join(route.media_types)
            raise http_errors.RequestRefused(
                HTTPStatus.NOT_ACCEPTABLE, f"The answer can only be {offered}"
            )
        base = f"{host_url(request)}/{VERSION}"
        who = NOBODY
        if route.rule is not PUBLIC:
            rule = route.rule.name
            who = request.environ[IDENTITY] = self._strategy.identify(request)
            self._remember(request, who)
            self._check(rule, who, request.environ.get(PROJECT_ID_IN_URL))
            # Log changes at INFO, reads at DEBUG. The path is left out: it may contain secrets.
            LOG.log(log.DEBUG if request.method in _SAFE else log.INFO, "%s: allowed", rule)
            is_admin = request.environ[IS_ADMIN] = self._policy.allows(ALL_PROJECTS, who)
            if self._rates and who.project_id is not None and not is_admin:
                self._rates.count(who.project_id, request.method)
            # The router must accept every link, so a project ID that it can't parse is left out.
            if (
                self._project_id_in_url
                and who.project_id is not None
                and PROJECT_SEGMENT.fullmatch(who.project_id)
            ):
                base = f"{base}/{who.project_id}"
        else:
            self._remember(request, who)
        request.environ[PROJECT_ID] = who.project_id
        request.environ[BASE_URL] = base

    def _check(self, rule: str, who: Identity, in_url: str | None) -> None:
        """Check the project in the URL and the policy.

        The token is the authority for the project; the URL may only repeat it.

        Raises:
            RequestRefused: 403.
        """
        if in_url not in (None, who.project_id):
            raise _forbidden("The project in the URL is not the project of the request")
        if who.project_id is None and self._policy.needs_project(rule):
            raise _forbidden("The request needs a token for a project")
        if not self._policy.allows(rule, who):
            LOG.info("%s: refused", rule)
            raise _forbidden(f"The policy does not allow the request ({rule})")

    @staticmethod
    def _remember(request: Request, who: Identity) -> None:
        """Set the log context to the client's identity, without the token."""
        context.RequestContext(
            request_id=request.request_id,
            global_request_id=request.environ.get(request_id.GLOBAL_REQ_ID),
            user_id=who.user_id,
            project_id=who.project_id,
            domain_id=who.domain_id,
            user_domain_id=who.user_domain_id,
            project_domain_id=who.project_domain_id,
            system_scope=who.system_scope,
        )


def _forbidden(message: str) -> http_errors.RequestRefused:
    return http_errors.RequestRefused(HTTPStatus.FORBIDDEN, message)


class ErrorHook(pecan.hooks.PecanHook):  # type: ignore[misc]
    """Turns every expected error into its response, so handlers just raise."""

    def on_error(self, state: Any, error: Exception) -> Response | None:
        """Return the response, or None for a bug, which ``RequestId`` turns into a 500."""
        identifier = state.request.request_id
        if isinstance(error, http_errors.RequestRefused):
            return reply(http_errors.document(str(error), identifier), error.status, error.headers)
        if not isinstance(error, errors.PoppyError):
            return None
        status = http_errors.status_of(error)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.error("Request %s failed", identifier, exc_info=error)
        return reply(
            http_errors.document_of(error, identifier), status, http_errors.headers_of(error)
        )
