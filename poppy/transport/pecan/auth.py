# SPDX-License-Identifier: Apache-2.0
"""Authentication: by Keystone token, or with ``noauth`` by the client's own header fields."""

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

#: With ``noauth``, the extra role of a client that sends no ``X-Roles``, in addition to
#: ``noauth_default_roles``.
UNSAID = "noauth"


class Strategy(Protocol):
    """An authentication strategy."""

    def identify(self, request: Request) -> Identity:
        """Return the identity of the client.

        Raises:
            RequestRefused: 401, the client is not authenticated.
            Unavailable: the identity service does not answer.
            InvalidRequest: the client's identity header fields are malformed.
        """
        ...


def make(conf: cfg.ConfigOpts) -> Strategy:
    """Return the configured strategy.

    Raises:
        ConfigError: its configuration is invalid or incomplete.
    """
    return Keystone(conf) if conf.auth_strategy == "keystone" else NoAuth(conf)


class NoAuth:
    """Trusts the header fields of the client, or of the operator's auth middleware in front.

    ``X-Project-ID`` is required. Without ``X-Roles``, the client has the roles
    ``noauth_default_roles``.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._default_roles = (*conf.noauth_default_roles, UNSAID)
        LOG.warning(
            "auth_strategy is noauth: any client that can reach this server can act for any "
            "project, with any role. Allow connections only from auth middleware that sets "
            "X-Project-ID and X-Roles."
        )

    def identify(self, request: Request) -> Identity:
        """Read ``X-Project-ID``, ``X-User-ID`` and ``X-Roles``."""
        project_id = _identifier(request, "X-Project-ID")
        if project_id is None:
            raise errors.InvalidRequest("The Project ID must be provided.")
        given = request.environ.get("HTTP_X_ROLES")
        roles = self._default_roles if given is None else _roles(given)
        return Identity(project_id, _identifier(request, "X-User-ID"), roles)


class Keystone:
    """Validates ``X-Auth-Token`` with keystonemiddleware's auth_token.

    The middleware is not in the pipeline. It is called once the route is known, so requests
    that need no token (ping, health) never wait for Keystone. The middleware removes identity
    header fields that the client sends. Its response decides, so its own rules apply unchanged.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        # Imported here because it takes a quarter of Poppy's whole import time.
        from keystoneauth1 import exceptions
        from keystonemiddleware import auth_token

        self._failures = (exceptions.ClientException,)
        # Not configurable: delay_auth_decision would let requests without a valid token through,
        # and would treat every token as invalid while Keystone is down.
        settings = {"oslo_config_config": conf, "delay_auth_decision": "false"}
        try:
            self._middleware = auth_token.AuthProtocol(_let_through, settings)
        except (*self._failures, auth_token.ConfigurationError, cfg.Error) as exc:
            raise errors.ConfigError(f"[keystone_authtoken] {exc}") from exc
        options = conf.keystone_authtoken
        logs.register_secrets(
            options[name] for name in options if re.search("password|secret", name)
        )
        if not options.auth_type:
            raise errors.ConfigError(
                "[keystone_authtoken] auth_type is not set: auth_strategy = keystone needs it, "
                "and the credentials of Poppy's own user"
            )

    def identify(self, request: Request) -> Identity:
        """Validate the token and read the identity that the middleware sets."""
        try:
            answer = webob.Request(request.environ).get_response(self._middleware)
        except self._failures as exc:
            LOG.error("Can't reach Keystone: %s", exc)
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
    """The application behind the middleware; only requests with a valid token reach it."""
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
