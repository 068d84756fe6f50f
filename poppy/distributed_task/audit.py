# SPDX-License-Identifier: Apache-2.0
"""Audits: compare deployed services with providers and DNS, and repair or report differences.

Others may change or delete objects at a vendor, or records in DNS, behind Poppy's back. The first
live worker compares all services once per ``audit_interval``, and those at a provider when there
is a reason: an operator asks for it, or the provider's edge was down. Comparing changes nothing
(:meth:`.Provider.inspect`, :meth:`.DNSDriver.inspect`). A repair is an update of the service like
any other, after tenants' requests.
"""

import datetime
import functools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from oslo_log import log

from poppy.common import errors, metrics
from poppy.common.clock import now_utc
from poppy.distributed_task import dns_tasks, membership, steering
from poppy.distributed_task.call_pool import Interrupted
from poppy.distributed_task.queueing import queue_update
from poppy.distributed_task.tasks import gate_of
from poppy.distributed_task.throttling import Throttles
from poppy.distributed_task.throttling.deferred import Deferred, Subject
from poppy.dns.base import DNSDriver
from poppy.dns.steering import Policy, Target
from poppy.model import certificates, drift
from poppy.model.audits import AuditPass
from poppy.model.drift import Drift
from poppy.model.flavors import Flavor
from poppy.model.membership import Worker
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service, Status
from poppy.provider.base import Provider, Sighting
from poppy.storage.audits import AuditStore
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds between looks whether a pass is due.
LOOK = 5.0
#: How often a comparison is tried that a limit of the driver has deferred, and the longest wait
#: in seconds before the next try.
_TRIES, _LONGEST = 3, 30.0
#: Characters of a message that are stored.
_MESSAGE = 500
#: The statuses of services that are compared. Others are compared after their next operation.
AT_REST = (Status.DEPLOYED, Status.DISABLED)

#: Calls a driver that may hang, within limits of time.
Call = Callable[[Callable[[], None]], None]
Inspection = Callable[[], Sighting]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A service, compared.

    Attributes:
        found: how providers and DNS differ, by source; see :class:`.Drift`.
        failed: why a source could not be compared.
    """

    found: Mapping[str, Sighting]
    failed: Mapping[str, str]

    @property
    def differences(self) -> list[tuple[str, str]]:
        """The differences as pairs of source and message."""
        return [
            (source, text[:_MESSAGE])
            for source, sighting in self.found.items()
            for text in sighting.differences
        ]


class Auditor:
    """Compares one service, and repairs or reports what differs.

    Args:
        throttles: the limits of drivers; None for an operator's command, which asks at once.
        call: calls a driver.
    """

    def __init__(
        self,
        storage: Storage,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        throttles: Throttles | None = None,
        call: Call = lambda work: work(),
    ) -> None:
        self._storage = storage
        self._providers = providers
        self._dns = dns
        self._throttles = throttles
        self._call = call

    def compare(
        self,
        service: Service,
        only: Collection[str] = (),
        stopped: threading.Event | None = None,
    ) -> Comparison:
        """Compare a service with its providers and DNS; change nothing.

        Args:
            only: the providers to compare; empty for all of them, and DNS.
            stopped: ends waiting for a driver's limit.

        Raises:
            Unavailable: storage does not answer.
        """
        stopped = stopped or threading.Event()
        found: dict[str, Sighting] = {}
        failed: dict[str, str] = {}
        for source, driver, inspect in self._inspections(service, only):
            try:
                found[source] = self._inspect(service, driver, inspect, stopped)
            except (errors.DriverError, Deferred, Interrupted) as exc:
                failed[source] = str(exc)
                LOG.info("%s is not compared at %s: %s", service.service_id, source, exc)
            except errors.Unavailable:
                raise
            except Exception:  # noqa: BLE001 - a bug in a driver must not end the pass
                failed[source] = "internal error; see the log"
                LOG.exception("Comparing %s at %s broke", service.service_id, source)
        return Comparison(found, failed)

    def _inspections(
        self, service: Service, only: Collection[str]
    ) -> Iterator[tuple[str, Provider | DNSDriver, Inspection]]:
        """Yield each source to compare, with its driver."""
        for name, known in service.provider_details.items():
            provider = self._providers.get(name)
            if provider is None or provider.options.audit == "off" or (only and name not in only):
                continue
            yield name, provider, functools.partial(provider.inspect, service, known)
        if not only and self._dns.options.audit != "off" and (policies := self._policies(service)):
            yield drift.DNS, self._dns, functools.partial(self._dns.inspect, policies)

    def settle(self, service: Service, comparison: Comparison) -> bool:
        """Store the differences, and queue a repair if the drivers' options say so.

        Nothing happens if the service has changed since it was read: its operation does the work.

        Returns:
            Whether a repair is queued.

        Raises:
            Unavailable: storage does not answer.
        """
        for source, sighting in comparison.found.items():
            metrics.AUDITED.add(source, "differs" if sighting.differences else "equal")
        for source in comparison.failed:
            metrics.AUDITED.add(source, "failed")
        changed = with_drift(service, comparison, now_utc())
        repaired = [
            source
            for source, sighting in comparison.found.items()
            if sighting.differences and sighting.repairable and self._is_repaired(source)
        ]
        try:
            if repaired:
                queue_update(self._storage, changed)
            elif changed.drift != service.drift:
                self._storage.services.amend(changed)
        except (errors.Changed, errors.NotFound, errors.ServiceBusy, errors.InvalidRequest) as exc:
            LOG.info("Differences of service %s are left: %s", service.service_id, exc)
            return False
        for source, text in comparison.differences:
            LOG.warning(
                "Service %s of project %s differs at %s%s: %s",
                service.service_id,
                service.project_id,
                source,
                " and is deployed again" if source in repaired else "",
                text,
            )
            metrics.DRIFT.add(source, "repair" if source in repaired else "report")
        return bool(repaired)

    def _is_repaired(self, source: str) -> bool:
        driver = self._dns if source == drift.DNS else self._providers[source]
        return bool(driver.options.audit == "repair")

    def _inspect(
        self,
        service: Service,
        driver: Provider | DNSDriver,
        inspect: Inspection,
        stopped: threading.Event,
    ) -> Sighting:
        """Call a driver within its limits; wait a few times if these defer the call.

        Raises:
            DriverError: the driver could not tell.
            Deferred: its limits do not allow a call for a while.
            Interrupted: the worker stops.
        """
        if self._throttles is None:
            return inspect()
        subject = Subject(service.project_id, service.service_id)
        results: list[Sighting] = []
        tries = 0
        while not results:
            tries += 1
            try:
                with self._throttles.passing(gate_of(driver), subject):
                    self._call(lambda: results.append(inspect()))
            except Deferred as exc:
                if tries == _TRIES or stopped.wait(min(exc.seconds, _LONGEST)):
                    raise
        return results[0]

    def _policies(self, service: Service) -> dict[str, Policy]:
        names = dns_tasks.wanted_names(service, self._dns)
        if service.disabled:
            off = self._dns.options.url_404
            return {name: [Target(off)] for name in names.values()} if off else {}
        try:
            flavor: Flavor = self._storage.flavors.get(service.spec.flavor_id)
        except errors.NotFound:
            return {}
        if not any(name in service.provider_details for name in flavor.provider_names):
            return {}
        return steering.policies(service, flavor, names, self._dns.steering)


def with_drift(service: Service, comparison: Comparison, now: datetime.datetime) -> Service:
    """Return the service with the differences of the sources that were compared."""
    before = {(entry.source, entry.message): entry for entry in service.drift}
    kept = [entry for entry in service.drift if entry.source not in comparison.found]
    found = [before.get(it, Drift(*it, now)) for it in comparison.differences]

    def own(name: str, detail: ProviderDetail) -> ProviderDetail:
        entries = (it for it in (*kept, *found) if it.source in (name, drift.DNS))
        return replace(detail, drift=tuple(entries))

    return service.with_details(
        {name: own(name, detail) for name, detail in service.provider_details.items()}
    )


class Audits:
    """Runs passes over all services, if this worker is the one to do so.

    Args:
        worker_id: the id of this worker.
        alive: returns the live workers, with their latest heartbeats.
        interval: seconds between the beginnings of passes; 0 for passes on request only.
        rate: the maximum number of services per second to compare.
    """

    def __init__(
        self,
        storage: Storage,
        auditor: Auditor,
        worker_id: str,
        alive: Callable[[], Sequence[Worker]],
        interval: float,
        rate: float,
    ) -> None:
        self._storage = storage
        self._store = AuditStore(storage.documents)
        self._auditor = auditor
        self._worker_id = worker_id
        self._alive = alive
        self._interval = datetime.timedelta(seconds=interval)
        self._rate = rate

    def run(self, stopped: threading.Event) -> None:
        """Begin the passes that are due until ``stopped``."""
        while not stopped.wait(LOOK):
            try:
                self.look(stopped)
            except errors.Unavailable as exc:
                LOG.warning("The audit stops and is tried again: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread nothing is compared
                LOG.exception("The audit failed; trying again")

    def look(self, stopped: threading.Event) -> None:
        """Run the pass that is due, if any.

        The first scheduled pass of an installation begins after an interval.

        Raises:
            Unavailable: storage does not answer.
        """
        if not self._is_first():
            return
        now = now_utc()
        due = self._store.schedule(now).due(now, self._interval)
        if due is not None:
            self._store.put(due)
            self._pass(due, stopped)

    def _pass(self, begun: AuditPass, stopped: threading.Event) -> None:
        LOG.info("An audit of %s begins", ", ".join(begun.providers) or "all services")
        counts: Counter[str] = Counter()
        only = frozenset(begun.providers)
        for service in self._storage.services.scan():
            if not is_audited(service) or (only and not only & service.provider_details.keys()):
                continue
            comparison = self._auditor.compare(service, only, stopped)
            repairing = self._auditor.settle(service, comparison)
            counts["services"] += 1
            counts["differing"] += bool(comparison.differences)
            counts["repairing"] += repairing
            counts["failed"] += bool(comparison.failed)
            if stopped.wait(1 / self._rate) or not self._is_first():
                return
        ended = begun.ended(now_utc(), counts)
        self._store.put(ended)
        LOG.info(
            "An audit of %s ended: %d services, of which %d differed, %d are deployed again and "
            "%d could not be compared",
            ", ".join(begun.providers) or "all services",
            ended.services,
            ended.differing,
            ended.repairing,
            ended.failed,
        )

    def _is_first(self) -> bool:
        return membership.is_first(self._alive(), self._worker_id)


def is_audited(service: Service) -> bool:
    """Return whether a service is at rest, so that it can be compared."""
    return service.status in AT_REST and not certificates.is_namespace(service.project_id)
