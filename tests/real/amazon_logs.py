# SPDX-License-Identifier: Apache-2.0
"""Rules of CloudWatch Logs for CloudFront's standard logging (v2) that moto lacks.

They are from the developer guide of CloudFront ("Configure standard logging (v2)"), the user guide
("Logging that requires additional permissions [V2]") and the API reference of CloudWatch Logs, and
from aws-cloudformation/cloudformation-coverage-roadmap issue 2274 (the prefix of paths).
"""

import fnmatch
import json
import re
from typing import Any

from moto.cloudfront.models import CloudFrontBackend, cloudfront_backends
from moto.logs.exceptions import (
    ConflictException,
    LogsClientError,
    ResourceNotFoundException,
    ValidationException,
)
from moto.logs.models import LogsBackend, logs_backends
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends

_WRITER = "delivery.logs.amazonaws.com"
_PREFIX = "AWSLogs/{account-id}/CloudFront/"
_VARIABLES = {"DistributionId", "distributionid", "yyyy", "MM", "dd", "HH"}
_VARIABLES |= {"account-id", "accountid"}

_put_source, _put_destination = (
    LogsBackend.put_delivery_source,
    LogsBackend.put_delivery_destination,
)
_create, _delete_source = LogsBackend.create_delivery, LogsBackend.delete_delivery_source
_delete_destination = LogsBackend.delete_delivery_destination


def _make_source(
    self: LogsBackend, name: str, resource_arn: str, log_type: str, tags: dict[str, str]
) -> Any:
    if self.region_name != "us-east-1":
        raise ValidationException("CloudFront's deliveries are in us-east-1")
    distributions = cloudfront_backends[self.account_id]["aws"].distributions.values()
    if resource_arn not in {one.arn for one in distributions}:
        raise ResourceNotFoundException(f"There is no resource {resource_arn}")
    for other in self.delivery_sources.values():
        if other.name != name and resource_arn in other.resource_arns:
            raise ConflictException("The resource has a delivery source already")
    return _put_source(self, name, resource_arn, log_type, tags)


def _place(destination: Any) -> tuple[str, str]:
    """Return bucket and prefix of a destination."""
    arn = destination.delivery_destination_configuration["destinationResourceArn"]
    bucket, _, prefix = arn.removeprefix("arn:aws:s3:::").partition("/")
    return bucket, prefix


def _make_destination(self: LogsBackend, *args: Any, **kwargs: Any) -> Any:
    made = _put_destination(self, *args, **kwargs)
    try:
        s3_backends[self.account_id]["aws"].get_bucket(_place(made)[0])
    except MissingBucket as exc:
        del self.delivery_destinations[made.name]
        raise ResourceNotFoundException("The bucket does not exist") from exc
    return made


def _admits(policy: Any, bucket: str, prefix: str) -> bool:
    """Return whether a bucket's policy lets Amazon write logs below a prefix."""
    resource = f"arn:aws:s3:::{bucket}/{prefix}"
    for statement in json.loads(policy or "{}").get("Statement", []):
        principal = statement["Principal"]
        if (
            statement["Effect"] == "Allow"
            and isinstance(principal, dict)
            and _WRITER in _listed(principal.get("Service"))
            and "s3:PutObject" in _listed(statement["Action"])
            and any(fnmatch.fnmatchcase(resource, it) for it in _listed(statement["Resource"]))
        ):
            return True
    return False


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _make_delivery(
    self: LogsBackend,
    delivery_source_name: str,
    delivery_destination_arn: str,
    record_fields: list[str] | None,
    field_delimiter: str | None,
    s3_delivery_configuration: dict[str, Any] | None,
    tags: dict[str, str] | None,
) -> Any:
    settings = dict(s3_delivery_configuration or {})
    suffix = settings.get("suffixPath", "")
    unknown = set(re.findall(r"\{([^}]*)\}", suffix)) - _VARIABLES
    if unknown or len(suffix) > 256:
        raise ValidationException("Provided suffixPath is invalid")
    for destination in self.delivery_destinations.values():
        if destination.arn == delivery_destination_arn:
            bucket, prefix = _place(destination)
            if not prefix:
                settings["suffixPath"] = _PREFIX + suffix
            policy = s3_backends[self.account_id]["aws"].get_bucket(bucket).policy
            if not _admits(policy, bucket, prefix or "AWSLogs/1"):
                raise _Denied()
    return _create(
        self,
        delivery_source_name,
        delivery_destination_arn,
        record_fields,
        field_delimiter,
        settings,
        tags,
    )


class _Denied(LogsClientError):
    def __init__(self) -> None:
        message = "Access Denied for LogDestination. Check the permissions of the bucket."
        super().__init__("AccessDeniedException", message)


def _drop_source(self: LogsBackend, name: str) -> None:
    if any(one.delivery_source_name == name for one in self.deliveries.values()):
        raise ConflictException("The delivery source has deliveries")
    _delete_source(self, name)


def _drop_destination(self: LogsBackend, name: str) -> None:
    found = self.delivery_destinations.get(name)
    arns = {one.delivery_destination_arn for one in self.deliveries.values()}
    if found is not None and found.arn in arns:
        raise ConflictException("The delivery destination has deliveries")
    _delete_destination(self, name)


def has_source(backend: CloudFrontBackend, arn: str) -> bool:
    """Return whether the logs of a distribution are delivered."""
    sources = logs_backends[backend.account_id]["us-east-1"].delivery_sources.values()
    return any(arn in source.resource_arns for source in sources)


def install() -> None:
    """Add the rules to moto."""
    LogsBackend.put_delivery_source = _make_source  # type: ignore[method-assign]
    LogsBackend.put_delivery_destination = _make_destination  # type: ignore[method-assign]
    LogsBackend.create_delivery = _make_delivery  # type: ignore[method-assign]
    LogsBackend.delete_delivery_source = _drop_source  # type: ignore[method-assign]
    LogsBackend.delete_delivery_destination = _drop_destination  # type: ignore[method-assign]
