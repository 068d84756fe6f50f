# SPDX-License-Identifier: Apache-2.0
"""Access logs, by Akamai's DataStream 2: https://techdocs.akamai.com/datastream2/v3/reference/api.

Each service has a *stream* of its own, named like its property, that writes to the operator's
bucket. A stream can be made for an active property only. Then the behaviour ``datastream`` of the
property names it. Akamai activates and deactivates streams in an hour or so, and accepts no other
change of a stream in that time.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from oslo_log import log

from poppy.common.errors import ConfigError, InProgressError
from poppy.common.http import GONE
from poppy.model.services import Service
from poppy.provider import log_store
from poppy.provider.akamai import rules
from poppy.provider.akamai.edgegrid import Document, Session
from poppy.provider.akamai.papi import Property
from poppy.provider.akamai.parts import behavior
from poppy.provider.akamai.properties import Progress, name_of
from poppy.provider.log_store import Location, LogStore

LOG = log.getLogger(__name__)

_PATH = "/datastream-config-api/v3/log/cdn/streams"
#: Fields of a line: request time, client, method, protocol, host, path, query, status, bytes,
#: content type, Referer, User-Agent, cache status, turn-around and transfer time, request id. See
#: https://techdocs.akamai.com/datastream2/v3/docs/data-set-parameters.
_FIELDS = (
    *(1100, 1006, 1012, 1009, 1011, 1013, 2009, 1008),
    *(1005, 1016, 1032, 1017, 2010, 1102, 1103, 1002),
)
_INTERVAL = 60  # Seconds between files.
_OFF = ("INACTIVE", "DEACTIVATED")
_SECRETS = ("accessKey", "secretAccessKey")


class Stream(NamedTuple):
    """A stream; its status is that of the latest version."""

    stream_id: int
    status: str


class LogDelivery:
    """The streams of services.

    Args:
        contract: with its prefix ``ctr_``, like ``group`` (``grp_``).
        emails: recipients of Akamai's mails about streams.
        network: the network on which properties are activated.
        poll_after: seconds between polls of a stream.

    Raises:
        ConfigError: the group has no number.
    """

    def __init__(
        self,
        session: Session,
        store: LogStore,
        contract: str,
        group: str,
        emails: Sequence[str],
        network: str,
        poll_after: float,
    ) -> None:
        self._session = session
        self._store = store
        self._contract = contract.removeprefix("ctr_")
        number = group.removeprefix("grp_")
        if not number.isdecimal():
            raise ConfigError(f"log_bucket needs a group 'grp_<number>', not '{group}'")
        self._group = int(number)
        self._emails = emails
        self._network = network
        self._poll_after = poll_after

    def place(self, service: Service, provider: str) -> Location | None:
        """See :func:`poppy.provider.log_store.place`."""
        return log_store.place(self._store, service, provider)

    def prepare(self, service: Service, found: Property, place: Location | None) -> int | None:
        """Return the id of the active stream for the rules of a property.

        Returns:
            None without log delivery, and as long as there can be no active stream.
        """
        if place is None or self._network not in found.networks:
            return None
        streams = self._find(service)
        if not streams:
            LOG.info("Creating a log stream of property %s", found.property_id)
            body = {**self._wanted(service, found, place), "groupId": self._group}
            params = {"activate": "true"}
            made = self._session.json("POST", _PATH, params=params, json=body)
            return int(made["streamId"])
        first = streams[0]
        if first.status in _OFF:
            self._session.request("POST", f"{_PATH}/{first.stream_id}/activate")
        return None if first.status == "DEACTIVATING" else first.stream_id

    def finish(
        self, service: Service, found: Property, place: Location | None, stream: int | None
    ) -> Progress:
        """Update or retire the stream, after the property is active with these rules.

        Args:
            stream: the result of :meth:`prepare` for the rules.
        """
        if place is None:
            self._retire(service)
            return Progress(True)
        if stream is None:
            return Progress(False, self._poll_after)
        wanted = self._wanted(service, found, place)
        shown = {key: value for key, value in wanted["destination"].items() if key not in _SECRETS}
        present = self._session.json("GET", f"{_PATH}/{stream}")
        if not rules.difference(present, {**wanted, "destination": shown}):
            return Progress(True)
        if present["streamStatus"] in ("ACTIVATING", "DEACTIVATING"):
            return Progress(False, self._poll_after)
        params = {"activate": "true"}
        self._session.json("PUT", f"{_PATH}/{stream}", params=params, json=wanted)
        return Progress(True)

    def remove(self, service: Service) -> None:
        """Deactivate and delete the streams of a service.

        Raises:
            InProgressError: Akamai is activating or deactivating one.
        """
        if self._retire(service):
            raise InProgressError("Akamai is deactivating the log stream", self._poll_after)

    def _retire(self, service: Service) -> bool:
        """Take the next step to delete the streams, and return whether any is left."""
        left = False
        for one in self._find(service):
            if one.status in _OFF:
                self._session.request("DELETE", f"{_PATH}/{one.stream_id}", accept=GONE)
                continue
            left = True
            if one.status == "ACTIVATED":
                self._session.request("POST", f"{_PATH}/{one.stream_id}/deactivate")
        return left

    def _find(self, service: Service) -> list[Stream]:
        """Return the streams of a service, the oldest first."""
        listed = self._session.json("GET", _PATH, params={"groupId": str(self._group)})
        return sorted(
            Stream(int(one["streamId"]), str(one["streamStatus"]))
            for one in listed
            if one["streamName"] == name_of(service)
        )

    def _wanted(self, service: Service, found: Property, place: Location) -> Document:
        """Return the configuration of a stream, without its group, which can't change."""
        return {
            "streamName": name_of(service),
            "contractId": self._contract,
            "properties": [{"propertyId": int(found.property_id.removeprefix("prp_"))}],
            "datasetFields": [{"datasetFieldId": number} for number in _FIELDS],
            "deliveryConfiguration": {
                "format": "JSON",
                "frequency": {"intervalInSeconds": _INTERVAL},
                "uploadFilePrefix": "ak",
                "uploadFileSuffix": "ds",
            },
            "destination": _destination(place),
            "notificationEmails": list(self._emails),
        }


def with_stream(tree: Document, stream: int | None) -> Document:
    """Return a rule tree that logs to a stream, if there is one."""
    if stream is None:
        return tree
    stream_of_logs = behavior(
        "datastream",
        streamType="LOG",
        logEnabled=True,
        logStreamName=[str(stream)],
        samplingPercentage=100,
    )
    return {**tree, "behaviors": [*tree["behaviors"], stream_of_logs]}


def _destination(place: Location) -> Document:
    store = place.store
    # Akamai does not show the keys, so the name tells whether they have changed.
    keys = hashlib.sha256(f"{store.access_key}\n{store.secret_key}".encode()).hexdigest()[:16]
    found: Document = {
        "destinationType": "S3" if store.is_amazon else "S3_COMPATIBLE",
        "displayName": f"poppy {keys}",
        "bucket": place.bucket,
        "path": place.prefix.rstrip("/"),
        "region": store.region,
        "accessKey": store.access_key,
        "secretAccessKey": store.secret_key,
    }
    return found if store.is_amazon else {**found, "endpoint": store.endpoint}
