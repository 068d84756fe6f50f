# SPDX-License-Identifier: Apache-2.0
"""Get Keystone tokens for a user name and password."""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors

LOG = log.getLogger(__name__)

#: Seconds to wait for each Keystone response.
_TIMEOUT = 10.0


class SignInRefused(Exception):
    """Signing in failed. The message is shown to the user."""


class Identities:
    """The Keystone server that ``[keystone_authtoken]`` configures."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        options = conf.keystone_authtoken
        own = conf[options.auth_section] if options.auth_section else options
        self._url: str = own.auth_url if "auth_url" in own else options.www_authenticate_uri
        self._verify: bool | str = False if options.insecure else options.cafile or True
        pair = (options.certfile, options.keyfile)
        self._cert = pair if all(pair) else None

    def token(self, form: Mapping[str, str]) -> str:
        """Get a token for a user, scoped to a project or to the system.

        Args:
            form: ``user``, ``password`` and ``user_domain``, and the names ``project`` and
                ``project_domain``. Without a project the scope is the system. An empty domain is
                ``Default``.

        Raises:
            SignInRefused: Keystone refuses the credentials.
            Unavailable: Keystone does not answer.
        """
        # Imported here because it is slow, as in poppy.transport.pecan.auth.
        from keystoneauth1 import exceptions, session
        from keystoneauth1.identity import generic

        try:
            who = generic.Password(self._url, **_credentials(form))
            asking = session.Session(verify=self._verify, cert=self._cert, timeout=_TIMEOUT)
            token: str = asking.get_token(who)
        except exceptions.MissingAuthMethods as exc:
            raise SignInRefused(
                "This user needs more than a password. Get a token with another client and sign "
                "in with it."
            ) from exc
        except (exceptions.Unauthorized, exceptions.Forbidden, exceptions.BadRequest) as exc:
            # Do not reveal which of them is wrong.
            raise SignInRefused("Wrong user, password, project or domain.") from exc
        except exceptions.ClientException as exc:
            LOG.error("Getting a token from Keystone failed: %s", exc)
            raise errors.Unavailable("The identity service does not answer") from exc
        return token

    def revoke(self, token: str) -> None:
        """Revoke a token in Keystone.

        A failure is only logged: Poppy refuses the token already. (Identity API v3, "Revoke
        token": a token may revoke itself.)
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
            LOG.warning("Revoking a session's token in Keystone failed: %s", exc)


def _credentials(form: Mapping[str, str]) -> dict[str, Any]:
    if not form.get("user") or not form.get("password"):
        raise SignInRefused("Enter a user and password, or a token.")
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
