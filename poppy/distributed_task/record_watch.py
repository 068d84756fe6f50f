# SPDX-License-Identifier: Apache-2.0
"""Watches the records that lead visitors to services that this worker has deployed."""

import datetime
import threading
from dataclasses import dataclass

from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.distributed_task.record_check import RecordCheck
from poppy.model.dns_records import DNSRecord, Purpose, RecordStatus
from poppy.model.services import Service
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds between looks for services whose records are due.
_INTERVAL = 1.0
#: How long a service is watched.
_LONGEST = datetime.timedelta(days=1)
#: The maximum number of watched services; beyond it, the oldest are forgotten.
MOST = 1000


@dataclass
class _Watched:
    since: datetime.datetime
    due_at: datetime.datetime


class RecordWatch:
    """Looks up the traffic records of services until they are right, for a day at most.

    A tenant creates these records once the service is deployed, when no operation looks at it any
    more. The list is in memory: after a restart of the worker, records keep the status of their
    last lookup until the service's next operation.

    Attributes:
        check: looks records up.
    """

    def __init__(self, storage: Storage, check: RecordCheck) -> None:
        self.check = check
        self._storage = storage
        self._lock = threading.Lock()
        self._watched: dict[tuple[str, str], _Watched] = {}

    def add(self, service: Service) -> None:
        """Watch a service from now on."""
        key = service.project_id, service.service_id
        now = now_utc()
        due = now + datetime.timedelta(seconds=self.check.pause(now))
        with self._lock:
            self._watched.pop(key, None)
            self._watched[key] = _Watched(now, due)
            while len(self._watched) > MOST:
                del self._watched[next(iter(self._watched))]

    def run(self, stopped: threading.Event) -> None:
        """Look up records until ``stopped``."""
        while not stopped.wait(_INTERVAL):
            try:
                self.look(stopped)
            except errors.Unavailable as exc:
                LOG.warning("Could not store the status of DNS records: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread no status changes
                LOG.exception("Looking up DNS records failed; trying again")

    def look(self, stopped: threading.Event) -> None:
        """Look up the records of all services that are due.

        Raises:
            Unavailable: storage does not answer.
        """
        now = now_utc()
        with self._lock:
            due = [(key, it) for key, it in self._watched.items() if it.due_at <= now]
        for key, watched in due:
            if stopped.is_set():
                return
            # First, so that a failure of storage does not repeat the lookups at once.
            watched.due_at = now_utc() + datetime.timedelta(
                seconds=self.check.pause(watched.since)
            )
            if self._is_settled(key, stopped) or now_utc() - watched.since > _LONGEST:
                with self._lock:
                    if self._watched.get(key) is watched:
                        del self._watched[key]

    def _is_settled(self, key: tuple[str, str], stopped: threading.Event) -> bool:
        """Look up a service's records; return whether they need no further lookup."""
        try:
            service = self._storage.services.get(*key)
            records = [it for it in service.dns_records if it.purpose is Purpose.TRAFFIC]
            found = self.check.check(records, stopped)
            if any(a.status is not b.status for a, b in zip(records, found, strict=True)):
                self._storage.services.amend(_with_traffic(service, found))
        except errors.NotFound:
            return True
        except (errors.Changed, errors.ServiceBusy):
            return False
        return all(record.status is RecordStatus.OK for record in found)


def _with_traffic(service: Service, records: tuple[DNSRecord, ...]) -> Service:
    details = {
        name: detail.with_records(records, purposes={Purpose.TRAFFIC})
        for name, detail in service.provider_details.items()
    }
    return service.with_details(details)
