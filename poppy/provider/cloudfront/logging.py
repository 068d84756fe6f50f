# SPDX-License-Identifier: Apache-2.0
"""Access logs of distributions, by CloudFront's standard logging (v2).

CloudWatch Logs connects a *delivery source*, the distribution, by a *delivery* with a *delivery
destination*, a bucket: "Configure standard logging (v2)" in the CloudFront developer guide. All
three are made for one service; source and destination are named after it.
"""

from typing import Any

from oslo_log import log

from poppy.common.errors import RetryableError
from poppy.provider.log_store import Location, LogStore
from poppy.vendors import aws

LOG = log.getLogger(__name__)

_FORMAT = "json"
#: Amazon puts ``AWSLogs/{account-id}/CloudFront/`` in front of it if the destination has no prefix
#: (aws-cloudformation/cloudformation-coverage-roadmap issue 2274), so destinations have one.
_SUFFIX = "{yyyy}/{MM}/{dd}"
_AGAIN = 5.0  # Seconds.


def store(bucket: str) -> LogStore:
    """Return Amazon S3 as a store, to which CloudFront writes without a key."""
    return LogStore(bucket, "https://s3.amazonaws.com", aws.REGION)


class LogDelivery:
    """The deliveries of logs, at most one for a service.

    Args:
        logs: CloudWatch Logs in us-east-1, where CloudFront's deliveries are.
    """

    def __init__(self, logs: aws.Service) -> None:
        self._logs = logs

    def ensure(self, service_id: str, distribution_arn: str, place: Location | None) -> None:
        """Deliver the logs of a service to a place, or to none.

        Raises:
            Unauthorized: Poppy lacks permissions, or the bucket's policy lacks those of Amazon.
        """
        if place is None:
            self.remove(service_id)
            return
        name = _name(service_id)
        bucket = f"arn:aws:s3:::{place.bucket}/{place.prefix.rstrip('/')}"
        source, destination = self._get("source", name), self._get("destination", name)
        if not _fits(source, destination, distribution_arn, bucket):
            # Amazon changes neither the resource of a source nor the format of a destination.
            self.remove(service_id)
            LOG.info("Delivering the logs of %s to %s", distribution_arn, bucket)
            self._logs.call(
                "put_delivery_source",
                name=name,
                resourceArn=distribution_arn,
                logType="ACCESS_LOGS",
            )
            destination = self._logs.call(
                "put_delivery_destination",
                name=name,
                outputFormat=_FORMAT,
                deliveryDestinationConfiguration={"destinationResourceArn": bucket},
            )["deliveryDestination"]
        self._connect(name, destination["arn"])

    def remove(self, service_id: str) -> None:
        """Remove the delivery of a service, if there is one; its logs stay."""
        name = _name(service_id)
        if self._get("source", name):
            for page in self._logs.pages("describe_deliveries"):
                for delivery in page["deliveries"]:
                    if delivery["deliverySourceName"] == name:
                        self._delete("delete_delivery", id=delivery["id"])
            self._delete("delete_delivery_source", name=name)
        if self._get("destination", name):
            self._delete("delete_delivery_destination", name=name)

    def _connect(self, name: str, destination_arn: str) -> None:
        try:
            self._logs.call(
                "create_delivery",
                deliverySourceName=name,
                deliveryDestinationArn=destination_arn,
                s3DeliveryConfiguration={"suffixPath": _SUFFIX},
            )
        except aws.Refused as exc:
            # It exists. To find it, all deliveries of the account would have to be listed.
            if exc.code != "ConflictException":
                raise

    def _get(self, kind: str, name: str) -> dict[str, Any]:
        """Return a delivery source or destination; empty if it does not exist."""
        try:
            answer = self._logs.call(f"get_delivery_{kind}", name=name)
        except aws.Refused as exc:
            if exc.code == "ResourceNotFoundException":
                return {}
            raise
        found: dict[str, Any] = answer[f"delivery{kind.capitalize()}"]
        return found

    def _delete(self, operation: str, **which: str) -> None:
        try:
            self._logs.call(operation, **which)
        except aws.Refused as exc:
            if exc.code == "ConflictException":
                # Its delivery is being deleted, or another worker has created one.
                raise RetryableError(str(exc), _AGAIN) from exc
            if exc.code != "ResourceNotFoundException":
                raise


def _name(service_id: str) -> str:
    return f"poppy-{service_id}"


def _fits(
    source: dict[str, Any], destination: dict[str, Any], distribution_arn: str, bucket: str
) -> bool:
    target = destination.get("deliveryDestinationConfiguration", {})
    return (
        source.get("resourceArns") == [distribution_arn]
        and destination.get("outputFormat") == _FORMAT
        and target.get("destinationResourceArn") == bucket
    )
