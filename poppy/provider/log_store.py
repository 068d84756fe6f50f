# SPDX-License-Identifier: Apache-2.0
"""The operator's buckets, to which vendors write the access logs of services.

A vendor writes logs for as long as a service exists, but a tenant's Keystone token expires. So it
writes with the operator's credentials, to a bucket of the operator. The names of a service's
objects begin with ``<project id>/<service id>/<provider>/``.
"""

import re
import urllib.parse
from typing import Any, NamedTuple

from oslo_config import cfg

from poppy.common.errors import ConfigError, PermanentError
from poppy.model.services import Service

#: For drivers of vendors that authenticate to the store in their own way.
BUCKET = cfg.StrOpt(
    "log_bucket",
    help="Bucket for the access logs of services with log delivery; {project_id} stands for the "
    "service's project. It must exist. Unset: no log delivery.",
)
OPTS = (
    BUCKET,
    cfg.URIOpt(
        "log_endpoint",
        schemes=["https"],
        help="URL of the S3-compatible store that has log_bucket, such as Swift with s3api. "
        "Unset: Amazon S3 in log_region.",
    ),
    cfg.StrOpt("log_region", default="us-east-1", help="Region of log_bucket."),
    cfg.StrOpt(
        "log_access_key",
        help="Access key with which the provider writes to log_bucket. It needs no other rights.",
    ),
    cfg.StrOpt("log_secret_key", secret=True, help="Secret key for log_access_key."),
)

#: The common rules of Amazon and of Swift's s3api: "Bucket naming rules" in the S3 user guide.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9]|[.-](?![.-])){2,62}(?<![.-])")
_PROJECT = "{project_id}"


class LogStore(NamedTuple):
    """An S3-compatible store with a vendor's credentials.

    Attributes:
        bucket: its name; ``{project_id}`` stands for the project.
        endpoint: the URL of the store, without a path.
        is_amazon: whether it is Amazon S3 itself.
        access_key: empty, like ``secret_key``, if the vendor authenticates in another way.
    """

    bucket: str
    endpoint: str
    region: str
    is_amazon: bool = True
    access_key: str = ""
    secret_key: str = ""


class Location(NamedTuple):
    """Where the logs of a service are.

    Attributes:
        prefix: the prefix of the objects' names, with a slash at its end.
    """

    store: LogStore
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """The URL of bucket and prefix, with the bucket in the path."""
        return f"{self.store.endpoint}/{self.bucket}/{self.prefix}"


def configured(options: Any, group: str) -> LogStore | None:
    """Read the store from a driver's :data:`OPTS`; return None if there is no bucket.

    Raises:
        ConfigError: an option is missing or invalid. The message has no secret.
    """
    if not options.log_bucket:
        return None
    check_bucket(options.log_bucket, group)
    for option in ("log_access_key", "log_secret_key"):
        if not options[option]:
            raise ConfigError(f"[{group}] log_bucket needs {option}")
    endpoint = options.log_endpoint or f"https://s3.{options.log_region}.amazonaws.com"
    parts = urllib.parse.urlsplit(endpoint)
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(f"[{group}] log_endpoint must consist of a scheme and a host")
    return LogStore(
        bucket=options.log_bucket,
        endpoint=f"https://{parts.netloc}",
        region=options.log_region,
        access_key=options.log_access_key,
        secret_key=options.log_secret_key,
        is_amazon=not options.log_endpoint,
    )


def check_bucket(template: str, group: str) -> None:
    """Refuse a value of ``log_bucket`` that is valid for no project.

    Raises:
        ConfigError: the message names the value.
    """
    if not _NAME.fullmatch(template.replace(_PROJECT, "000")):
        raise ConfigError(f"[{group}] log_bucket '{template}' is not a valid bucket name")


def place(store: LogStore | None, service: Service, provider: str) -> Location | None:
    """Return where a provider delivers the logs of a service; None if it does not.

    Raises:
        PermanentError: the name of the bucket is invalid for this project.
    """
    if store is None or not service.spec.log_delivery:
        return None
    return location(store, service.project_id, service.service_id, provider)


def location(store: LogStore, project_id: str, service_id: str, provider: str) -> Location:
    """Return the place for the logs of a service, which may be deleted.

    Raises:
        PermanentError: the name of the bucket is invalid for this project.
    """
    bucket = store.bucket.replace(_PROJECT, project_id)
    if not _NAME.fullmatch(bucket):
        raise PermanentError(
            f"Project {project_id} can't have logs: '{bucket}' is not a valid bucket name"
        )
    return Location(store, bucket, f"{project_id}/{service_id}/{provider}/")
