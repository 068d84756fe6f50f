# SPDX-License-Identifier: Apache-2.0
"""Failover: points names away from providers that are down, and back.

Every worker checks the providers' edges, and its heartbeat names those that are down persistently.
The majority of workers decides: a worker that can't reach an edge by its own fault changes
nothing. The first live worker then marks the affected services and queues an operation for each
that changes its names. That operation is retried like any other, and no request waits for it. The
marks are stored with the service, so that later operations respect them.
"""

import datetime
import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.distributed_task import membership, steering
from poppy.distributed_task.queueing import queue
from poppy.model import certificates
from poppy.model.flavors import Flavor
from poppy.model.membership import Worker
from poppy.model.operations import Kind, Operation, State
from poppy.model.services import Service, Status
from poppy.provider import edges
from poppy.provider.base import Provider
from poppy.storage.audits import AuditStore
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds between scans of all services while a provider is down, for services that are new or
#: were busy during the last scan.
AGAIN = 60.0
#: How many times to retry failed steering: after AGAIN, twice that, and so on.
TRIES = 6

#: How many of the latest failures to search for failed steering.
LATEST = 500
#: No operation is in progress. Disabled services get marks too, for when they are enabled again.
_AT_REST = (Status.DEPLOYED, Status.DISABLED)


@dataclass(frozen=True, slots=True)
class Pace:
    """The timing of failover.

    Attributes:
        interval: seconds between checks of the edges.
        down_after: consecutive failed checks after which an edge is down.
        up_after: consecutive successful checks after which it is up again.
        rate: the maximum number of services per second to change.
    """

    interval: float = 10.0
    down_after: int = 3
    up_after: int = 30
    rate: float = 10.0


class Watch:
    """The providers that are down, as seen by this worker. A change takes several checks.

    Attributes:
        down: their names, sorted.
    """

    def __init__(self, providers: Mapping[str, Provider], pace: Pace) -> None:
        self.down: tuple[str, ...] = ()
        self._providers = providers
        self._pace = pace
        # For each provider, the consecutive checks that contradict its known state.
        self._otherwise = dict.fromkeys(providers, 0)
        # Providers for which a warning about unknown health has been logged.
        self._untold: set[str] = set()

    def look(self) -> None:
        """Check all edges. Unknown health changes nothing."""
        down = set(self.down)
        for name, provider in self._providers.items():
            is_down = name in down
            if self._serves(provider) is not is_down:
                self._otherwise[name] = 0
                continue
            self._otherwise[name] += 1
            needed = self._pace.up_after if is_down else self._pace.down_after
            if self._otherwise[name] >= needed:
                self._otherwise[name] = 0
                down ^= {name}
                LOG.warning("The edge of %s looks %s", name, "up again" if is_down else "down")
        self.down = tuple(sorted(down))

    def _serves(self, provider: Provider) -> bool | None:
        """Whether the edge serves; None if that is unknown, which must not cause a failover."""
        options = provider.options
        if options.edge_check_url:
            return edges.answers(options.edge_check_url, options.edge_check_timeout)
        try:
            said = provider.serves()
        except Exception:  # noqa: BLE001 - it must not raise, but is third-party code
            LOG.exception("Asking %s whether its edge serves failed", provider.name)
            said = None
        if said is None and provider.name not in self._untold:
            self._untold.add(provider.name)
            LOG.warning(
                "The health of the edge of %s is unknown; until it is known, names are not "
                "pointed away from it, nor back; see its edge_check_url",
                provider.name,
            )
        return said


def agreed(workers: Sequence[Worker]) -> frozenset[str]:
    """Return the providers that more than half of the workers report as down."""
    names = {name for worker in workers for name in worker.down}
    return frozenset(
        name for name in names if 2 * sum(name in it.down for it in workers) > len(workers)
    )


class Failover:
    """Acts on what the workers agree on.

    Args:
        worker_id: the id of this worker.
        alive: returns the live workers, with their latest heartbeats.
    """

    def __init__(
        self,
        storage: Storage,
        watch: Watch,
        pace: Pace,
        worker_id: str,
        alive: Callable[[], Sequence[Worker]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._watch = watch
        self._pace = pace
        self._worker_id = worker_id
        self._alive = alive
        self._clock = clock
        self._done: frozenset[str] | None = None
        self._again_at = 0.0
        self._try_at = 0.0
        self._look_at = 0.0

    def run(self, stopped: threading.Event) -> None:
        """Check the edges, and act, until ``stopped``."""
        while not stopped.wait(self._pace.interval):
            try:
                self._watch.look()
                self._look_at = self._clock() + self._pace.interval
                self.act(stopped)
            except errors.Unavailable as exc:
                LOG.warning("Could not point names away from providers that are down: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread failover stops
                LOG.exception("Pointing names away from providers failed; trying again")

    def act(self, stopped: threading.Event) -> None:
        """Update the services' names, if this worker is the one to do so.

        Raises:
            Unavailable: storage does not answer.
        """
        workers = self._alive()
        if not self._is_first(workers):
            # If this worker's turn comes, it does not know what the others have done.
            self._done = None
            return
        down = agreed(workers)
        if down != self._done or self._clock() >= self._again_at:
            self._bring_in_line(down, stopped)
        if self._clock() >= self._try_at and not stopped.is_set():
            self._try_at = self._clock() + AGAIN
            self._try_again(stopped)

    def _bring_in_line(self, down: frozenset[str], stopped: threading.Event) -> None:
        if down != self._done:
            LOG.warning("Names avoid these providers: %s", ", ".join(sorted(down)) or "none")
        if self._done is not None and (back := self._done - down):
            # An edge that was down may have lost its configuration.
            AuditStore(self._storage.documents).request(tuple(sorted(back)), now_utc())
        busy = self._lead(down, stopped)
        if stopped.is_set():
            return
        self._done = down
        self._again_at = self._clock() + AGAIN if down or busy else float("inf")

    def _lead(self, down: Collection[str], stopped: threading.Event) -> bool:
        """Update all services; return whether some must be checked again."""
        busy = False
        flavors = {flavor.flavor_id: flavor for flavor in self._storage.flavors.list()}
        for service in self._storage.services.scan():
            flavor = flavors.get(service.spec.flavor_id)
            changed = flavor and marked(service, flavor, down)
            if not changed:
                continue
            if service.status is Status.FAILED:
                # It may have no names. Its next change sets them by the marks that it has now,
                # so the marks are corrected after that.
                busy = True
                continue
            if service.status not in _AT_REST or not self._submit(changed):
                busy = True
            if stopped.wait(1 / self._pace.rate):
                break
            if self._has_turned(down):
                # The rest must not follow an outdated state.
                return True
        return busy

    def _has_turned(self, down: Collection[str]) -> bool:
        """Keep checking edges; return whether the state or the acting worker has changed."""
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + self._pace.interval
            self._watch.look()
        workers = self._alive()
        return not self._is_first(workers) or agreed(workers) != down

    def _is_first(self, workers: Sequence[Worker]) -> bool:
        return membership.is_first(workers, self._worker_id)

    def _try_again(self, stopped: threading.Event) -> None:
        """Queue failed steering again, because the names do not match the marks.

        The pauses grow, and retries end: a refusal may be permanent.
        """
        now = datetime.datetime.now(datetime.UTC)
        for operation in self._storage.operations.failures(LATEST):
            age = (now - operation.updated_at).total_seconds()
            if operation.kind is not Kind.STEER or age > AGAIN * 2**TRIES:
                continue
            listed = self._storage.operations.list(operation.project_id, operation.service_id)
            failed = _failed_last(listed)
            if not failed or failed[0].key != operation.key:
                continue  # A later operation has changed the names.
            if len(failed) > TRIES or age < AGAIN * 2 ** (len(failed) - 1):
                continue
            try:
                service = self._storage.services.get(operation.project_id, operation.service_id)
            except errors.NotFound:
                continue
            if service.status in _AT_REST:
                LOG.warning("Retrying to steer the names of service %s", service.service_id)
                self._submit(service)
            if stopped.wait(1 / self._pace.rate):
                return

    def _submit(self, service: Service) -> bool:
        try:
            queue(self._storage, service, Kind.STEER)
        except (errors.Changed, errors.NotFound, errors.InvalidRequest):
            return False
        except errors.Unavailable as exc:
            LOG.warning("The names of service %s are steered later: %s", service.service_id, exc)
            return False
        return True


def _failed_last(listed: Sequence[Operation]) -> Sequence[Operation]:
    """Return a service's latest operations that all failed to steer its names, latest first.

    Purges in between are ignored.
    """
    latest = [it for it in reversed(listed) if it.kind is not Kind.PURGE]
    return list(
        itertools.takewhile(lambda it: (it.kind, it.state) == (Kind.STEER, State.FAILED), latest)
    )


def marked(service: Service, flavor: Flavor, down: Collection[str]) -> Service | None:
    """Return the service with marks on providers to avoid; None if no name changes.

    If all its providers are down, its names stay: the fault may be on the workers' side, and there
    is no better target.
    """
    details = service.provider_details
    if certificates.is_namespace(service.project_id) or len(details) < 2:
        return None
    if all(name in down for name in details):
        return None
    changed = service.with_details(
        {name: replace(detail, avoided=name in down) for name, detail in details.items()}
    )
    if steering.chosen(service, flavor) == steering.chosen(changed, flavor):
        return None
    return changed
