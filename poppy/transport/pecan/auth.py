# SPDX-License-Identifier: Apache-2.0
"""Who sends a request: what a Keystone token says, or with ``noauth`` what the client says."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import webob
from oslo_config import cfg
from oslo_log import log

from poppy.common import errors, logs
from poppy.model import names
from poppy.policies.enforcer import Identity
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.request import Request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOG = log.getLogger(__name__)

#: The role, with ``noauth``, of a client that does not say which roles it has; besides those of
#: ``noauth_default_roles``.
UNSAID = "noauth"


class Strategy(Protocol):
    """One way to tell."""

    def identify(self, request: Request) -> Identity:
        """Who sends the request.

        Raises:
            RequestRefused: nobody who could be told; 401 or 503.
            InvalidRequest: what the client says about itself makes no sense.
        """
        ...


def make(conf: cfg.ConfigOpts) -> Strategy:
    """The strategy that is configured.

    Raises:
        ConfigError: it can't work as it is configured.
    """
    return Keystone(conf) if conf.auth_strategy == "keystone" else NoAuth(conf)


class NoAuth:
    """Believes what the client, or the operator's own middleware in front, says.

    ``X-Project-ID`` is needed. Without ``X-Roles``, ``noauth_default_roles`` are the roles.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._default_roles = (*conf.noauth_default_roles, UNSAID)
        LOG.warning(
            "auth_strategy is noauth: everybody who reaches this server acts for any project, "
            "with any role. Only auth middleware in front, which sets X-Project-ID and X-Roles, "
            "may reach it."
        )

    def identify(self, request: Request) -> Identity:
        """By the headers."""
        project_id = _identifier(request, "X-Project-ID")
        if project_id is None:
            raise errors.InvalidRequest("The Project ID must be provided.")
        given = request.environ.get("HTTP_X_ROLES")
        roles = self._default_roles if given is None else _roles(given)
        return Identity(project_id, _identifier(request, "X-User-ID"), roles)


class Keystone:
    """Asks Keystone about ``X-Auth-Token``, by keystonemiddleware's auth_token.

    The middleware is not in the pipeline but called once the route is known, so that what needs
    no token (ping, health) never waits for Keystone. Identity headers that a client sends are
    removed by it. Its answers are what counts, so that its rules stay its own.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        # Only here, since the import takes as long as a quarter of all of Poppy's.
        from keystoneauth1 import exceptions
        from keystonemiddleware import auth_token

        self._failures = (exceptions.ClientException,)
        # To let requests without a valid token through is not for the operator to decide: it
        # would also make a token count as invalid while Keystone is away.
        settings = {"oslo_config_config": conf, "delay_auth_decision": "false"}
        try:
            self._middleware = auth_token.AuthProtocol(_let_through, settings)
        except (*self._failures, auth_token.ConfigurationError, cfg.Error) as exc:
            raise errors.ConfigError(f"[keystone_authtoken] {exc}") from exc
        options = conf.keystone_authtoken
        logs.learn(options[name] for name in options if re.search("password|secret", name))
        if not options.auth_type:
            raise errors.ConfigError(
                "[keystone_authtoken] auth_type is not set: auth_strategy = keystone needs it, "
                "and the credentials of Poppy's own user"
            )

    def identify(self, request: Request) -> Identity:
        """By the token."""
        try:
            answer = webob.Request(request.environ).get_response(self._middleware)
        except self._failures as exc:
            LOG.error("Keystone can't be asked: %s", exc)
            raise _unavailable() from exc
        if answer.status_int == HTTPStatus.UNAUTHORIZED:
            raise RequestRefused(
                HTTPStatus.UNAUTHORIZED,
                "The request needs a valid token in X-Auth-Token",
                {"WWW-Authenticate": answer.headers["WWW-Authenticate"]},
            )
        if answer.status_int != HTTPStatus.NO_CONTENT:
            raise _unavailable()
        environ = request.environ
        return Identity(
            project_id=environ.get("HTTP_X_PROJECT_ID"),
            user_id=environ.get("HTTP_X_USER_ID"),
            roles=_roles(environ.get("HTTP_X_ROLES") or ""),
            system_scope=environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE"),
            domain_id=environ.get("HTTP_X_DOMAIN_ID"),
            user_domain_id=environ.get("HTTP_X_USER_DOMAIN_ID"),
            project_domain_id=environ.get("HTTP_X_PROJECT_DOMAIN_ID"),
        )


def _let_through(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """What stands behind the middleware: reached with a valid token only."""
    start_response("204 No Content", [])
    return []


def _unavailable() -> errors.Unavailable:
    return errors.Unavailable("The identity service does not answer")


def _identifier(request: Request, header: str) -> str | None:
    value: str | None = request.environ.get(f"HTTP_{header.upper().replace('-', '_')}")
    if value and not names.PROJECT_ID.fullmatch(value):
        what = "Project ID" if header == "X-Project-ID" else "user id"
        raise errors.InvalidRequest(f"The {what} in the {header} header is not valid")
    return value or None


def _roles(header: str) -> tuple[str, ...]:
    return tuple(role for role in map(str.strip, header.split(",")) if role)
