# SPDX-License-Identifier: Apache-2.0
"""URLs with which nodes put access logs into the operator's bucket.

A URL is signed with the operator's key (AWS Signature Version 4, "Authenticating Requests: Using
Query Parameters" in the API reference of Amazon S3, which Swift's s3api follows). It is for one
object of one size, and for some minutes. So a node can't read, delete or list logs, nor replace
those of other nodes.
"""

import datetime
import json
import urllib.parse

from poppy.common.errors import ConfigError, PermanentError
from poppy.model.edge_logs import LogObject
from poppy.model.services import Service
from poppy.provider import log_store
from poppy.provider.log_store import Location, LogStore

_VALID = 900  # Seconds.


class LogUploads:
    """The uploads to a store.

    Args:
        store: the operator's; None without log delivery.
        provider: the name of the driver.

    Raises:
        ConfigError: a library is missing.
    """

    def __init__(self, store: LogStore | None, provider: str) -> None:
        self._store = store
        self._provider = provider
        if store is not None:
            _check_botocore()

    def place(self, service: Service) -> Location | None:
        """See :func:`poppy.provider.log_store.place`."""
        return log_store.place(self._store, service, self._provider)

    def url(self, upload: LogObject, node: str, program: str | None) -> str | None:
        """Return the URL for a PUT; None without a store.

        Args:
            upload: what the node wants to put.
            node: its name, which is a part of the object's name.
            program: the current program of the service, as JSON; None if it is withdrawn.

        Raises:
            PermanentError: the logs of the service go to another project, or the project can't
                have logs.
        """
        if self._store is None:
            return None
        owner = json.loads(program).get("log_project") if program else None
        if owner and owner != upload.project_id:
            raise PermanentError(
                f"The logs of {upload.service_id} are not for project {upload.project_id}"
            )
        place = log_store.location(
            self._store, upload.project_id, upload.service_id, self._provider
        )
        start = datetime.datetime.fromtimestamp(upload.start, datetime.UTC)
        name = f"{start:%Y-%m-%dT%H-%M-%S}-{node}-{upload.id}.log.gz"
        return _signed(place, name, upload.size)


def _signed(place: Location, name: str, size: int) -> str:
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    store = place.store
    # As the signature has it: in S3, names are encoded once.
    path = urllib.parse.quote(f"/{place.bucket}/{place.prefix}{name}", safe="/~")
    request = AWSRequest("PUT", f"{store.endpoint}{path}", {"Content-Length": str(size)})
    credentials = Credentials(store.access_key, store.secret_key)
    S3SigV4QueryAuth(credentials, "s3", store.region, _VALID).add_auth(request)
    url: str = request.url
    return url


def _check_botocore() -> None:
    try:
        import botocore.auth  # noqa: F401
    except ImportError as exc:
        raise ConfigError(
            "log_bucket: botocore is not installed: pip install poppy-cdn[edge]"
        ) from exc
