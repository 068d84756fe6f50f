# SPDX-License-Identifier: Apache-2.0
"""Where a tenant's access logs go: a container in the tenant's own object store (Swift).

It is made on the tenant's behalf, by the token of the request, which is used for that and never
kept. The object store is found in the catalogue that Keystone answers the token with.
"""

import contextlib
import urllib.parse
from typing import Any

from oslo_config import cfg

from poppy.common import errors

GROUP = "log_delivery"

OPTS = (
    cfg.URIOpt(
        "identity_url",
        schemes=["http", "https"],
        help="URL of Keystone's v3 API. Unset: services may ask for log delivery, but no "
        "container is made.",
    ),
    cfg.StrOpt(
        "container_name",
        default=".CDN_ACCESS_LOGS",
        help="The container in the tenant's object store that gets the logs.",
    ),
    cfg.ListOpt(
        "preferred_dcs",
        default=[],
        help="Regions whose object store is used, the first that the tenant has. Unset: whichever "
        "the catalogue names.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10.0,
        min=0.1,
        help="Seconds in which Keystone and the object store have to answer, for the request "
        "waits for them.",
    ),
)


class LogDelivery:
    """Makes containers for logs.

    Args:
        conf: which knows :data:`OPTS`.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._options = conf[GROUP]
        if self._options.identity_url:
            _keystoneauth()

    def container(self, project_id: str, token: str | None) -> str | None:
        """Make sure that a project has its container.

        Args:
            token: of whoever asks; for this project.

        Returns:
            The container's URL; None if there is nowhere to make one.

        Raises:
            InvalidRequest: there is no token, it is not good for that, or the project has no
                object store.
            Unavailable: Keystone or the object store does not answer.
        """
        options = self._options
        if not options.identity_url:
            return None
        if not token:
            raise errors.InvalidRequest("Log delivery needs an X-Auth-Token")
        keystoneauth = _keystoneauth()
        auth = keystoneauth.identity.v3.Token(
            options.identity_url.rstrip("/"), token, project_id=project_id
        )
        session = keystoneauth.session.Session(auth, timeout=options.timeout)
        problems = keystoneauth.exceptions
        try:
            endpoint = self._endpoint(session, problems.EndpointNotFound)
            if endpoint is None:
                raise errors.InvalidRequest(f"Project {project_id} has no object store for logs")
            url = f"{endpoint.rstrip('/')}/{urllib.parse.quote(options.container_name)}"
            session.put(url, headers={"Content-Length": "0"})
        except (
            problems.ConnectionError,
            problems.HttpServerError,
            problems.TooManyRequests,
        ) as exc:
            raise errors.Unavailable("The object store for logs does not answer") from exc
        except problems.ClientException as exc:
            raise errors.InvalidRequest(
                f"The container for logs can't be made with this token: {type(exc).__name__}"
            ) from exc
        return url

    def _endpoint(self, session: Any, missing: type[Exception]) -> str | None:
        for region in self._options.preferred_dcs or [None]:
            with contextlib.suppress(missing):
                # As the catalogue has it: an object store has no versions to discover.
                found: str | None = session.get_endpoint(
                    service_type="object-store",
                    interface="public",
                    region_name=region,
                    skip_discovery=True,
                )
                if found:
                    return found
        return None


def _keystoneauth() -> Any:
    """The library, which takes longer to import than most of a start."""
    import keystoneauth1
    import keystoneauth1.exceptions
    import keystoneauth1.identity.v3
    import keystoneauth1.session

    return keystoneauth1
