# SPDX-License-Identifier: Apache-2.0
"""Tokens of Keystone for people who know their user's name and password."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors

LOG = log.getLogger(__name__)

#: Seconds that Keystone has for each of its answers.
_TIMEOUT = 10.0


class SignInRefused(Exception):
    """Who signs in is not who they say, in words for them."""


class Identities:
    """The Keystone that Poppy itself asks, by the options of ``[keystone_authtoken]``."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        options = conf.keystone_authtoken
        own = conf[options.auth_section] if options.auth_section else options
        self._url: str = own.auth_url if "auth_url" in own else options.www_authenticate_uri
        self._verify: bool | str = False if options.insecure else options.cafile or True
        pair = (options.certfile, options.keyfile)
        self._cert = pair if all(pair) else None

    def token(self, form: Mapping[str, str]) -> str:
        """A token for a user, in a project or on the system.

        Args:
            form: ``user``, ``password``, ``user_domain``; and ``project`` with
                ``project_domain``, by name, or neither for the system. Domains without a name
                are ``Default``.

        Raises:
            SignInRefused: Keystone gives none.
            Unavailable: it does not answer.
        """
        # As in poppy.transport.pecan.auth: this import takes long.
        from keystoneauth1 import exceptions, session
        from keystoneauth1.identity import generic

        try:
            who = generic.Password(self._url, **_credentials(form))
            asking = session.Session(verify=self._verify, cert=self._cert, timeout=_TIMEOUT)
            token: str = asking.get_token(who)
        except exceptions.MissingAuthMethods as exc:
            raise SignInRefused(
                "Keystone wants more than a password of this user: get a token by another "
                "client, and sign in with that."
            ) from exc
        except (exceptions.Unauthorized, exceptions.Forbidden, exceptions.BadRequest) as exc:
            # Which of these it is, is not for who can't sign in.
            raise SignInRefused(
                "Keystone knows no such user, password, and project or domain."
            ) from exc
        except exceptions.ClientException as exc:
            LOG.error("Keystone can't be asked for a token: %s", exc)
            raise errors.Unavailable("The identity service does not answer") from exc
        return token

    def revoke(self, token: str) -> None:
        """Have Keystone revoke a token; a failure is logged, for Poppy refuses it already.

        (Identity API v3, "Revoke token": a token may revoke itself.)
        """
        from keystoneauth1 import exceptions, session

        asking = session.Session(verify=self._verify, cert=self._cert, timeout=_TIMEOUT)
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        try:
            asking.delete(
                f"{self._url.rstrip('/').removesuffix('/v3')}/v3/auth/tokens",
                authenticated=False,
                headers=headers,
            )
        except exceptions.ClientException as exc:
            LOG.warning("Keystone could not revoke the token of a session: %s", exc)


def _credentials(form: Mapping[str, str]) -> dict[str, Any]:
    if not form.get("user") or not form.get("password"):
        raise SignInRefused("User and password are needed, or a token.")
    credentials: dict[str, Any] = {
        "username": form["user"],
        "password": form["password"],
        "user_domain_name": form.get("user_domain") or "Default",
    }
    if form.get("project"):
        credentials["project_name"] = form["project"]
        credentials["project_domain_name"] = form.get("project_domain") or "Default"
    else:
        credentials["system_scope"] = "all"
    return credentials
