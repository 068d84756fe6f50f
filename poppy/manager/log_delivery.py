# SPDX-License-Identifier: Apache-2.0
"""Log delivery: a container for access logs in the tenant's own object store (Swift).

Poppy creates the container with the token of the request and never stores the token. The object
store's URL comes from the catalogue that Keystone returns for the token.
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
        help="URL of Keystone's v3 API. If set, a service with log delivery links a container in "
        "the tenant's object store, to which you forward the logs. Otherwise it links the buckets "
        "to which the providers deliver them.",
    ),
    cfg.StrOpt(
        "container_name",
        default=".CDN_ACCESS_LOGS",
        help="Name of the container for logs in the tenant's object store.",
    ),
    cfg.ListOpt(
        "preferred_dcs",
        default=[],
        help="Regions of the object store, in order of preference. If unset, the catalogue "
        "decides.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=10.0,
        min=0.1,
        help="Timeout of Keystone and the object store, in seconds. The request waits for them.",
    ),
)


class LogDelivery:
    """Create containers for logs.

    Args:
        conf: a configuration in which :data:`OPTS` are registered.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._options = conf[GROUP]
        if self._options.identity_url:
            _keystoneauth()

    def container(self, project_id: str, token: str | None) -> str | None:
        """Ensure that a project has its container.

        Args:
            project_id: the project.
            token: the token of the request; scoped to this project.

        Returns:
            The container's URL; None if ``identity_url`` is unset.

        Raises:
            InvalidRequest: the token is missing or insufficient, or the project has no object
                store.
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
                f"The container for logs can't be created with this token: {type(exc).__name__}"
            ) from exc
        return url

    def _endpoint(self, session: Any, missing: type[Exception]) -> str | None:
        for region in self._options.preferred_dcs or [None]:
            with contextlib.suppress(missing):
                # Use the catalogue's URL: an object store has no versions to discover.
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
    """Import keystoneauth1 lazily: it would dominate the start-up time."""
    import keystoneauth1
    import keystoneauth1.exceptions
    import keystoneauth1.identity.v3
    import keystoneauth1.session

    return keystoneauth1
