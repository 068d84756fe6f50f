# SPDX-License-Identifier: Apache-2.0
"""Leads names away from providers that are down, and back.

Every worker looks at the providers' edges and says in its signs of life which of them are
lastingly down. What most workers say counts: one that can't reach an edge by its own fault changes
nothing. The first of the workers that are alive then marks the services concerned, and queues an
operation for each that changes its names: an operation like any other, which is tried again, and
which no request has to wait for. The marks are kept with the service, so that whatever is done for
it afterwards keeps to them.
"""

import datetime
import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from oslo_log import log

from poppy.common import errors
from poppy.distributed_task import steering
from poppy.distributed_task.queueing import queue
from poppy.model import certificates
from poppy.model.flavors import Flavor
from poppy.model.fleet import Worker
from poppy.model.operations import Kind, Operation, State
from poppy.model.services import Service, Status
from poppy.provider import edge
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds after which services are looked through again while a provider is down: there may be
#: new ones, and such that were being changed the last time.
AGAIN = 60.0
#: How often names are led elsewhere anew where that failed for good: after AGAIN, twice that ...
TRIES = 6

#: So many of the latest failures are looked through for names that could not be led elsewhere.
LATEST = 500
#: Nothing is under way. A disabled service has its marks put right for when it is enabled again.
_AT_REST = (Status.DEPLOYED, Status.DISABLED)


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly things happen.

    Attributes:
        interval: seconds between looks at the edges.
        down_after: so many looks in a row at which an edge did not serve make it down.
        up_after: so many at which it did make it up again.
        rate: services a second whose names are changed, at most.
    """

    interval: float = 10.0
    down_after: int = 3
    up_after: int = 30
    rate: float = 10.0


class Watch:
    """Which providers are down, as seen from here; it takes several looks to change that.

    Attributes:
        down: their names, in order.
    """

    def __init__(self, providers: Mapping[str, Provider], pace: Pace) -> None:
        self.down: tuple[str, ...] = ()
        self._providers = providers
        self._pace = pace
        # How often in a row each was otherwise than it is known to be.
        self._otherwise = dict.fromkeys(providers, 0)
        # Those of which it was logged that they can't be asked.
        self._untold: set[str] = set()

    def look(self) -> None:
        """Ask all edges; of those that can't be asked nothing changes."""
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
        """Whether it serves; None where nobody can tell, which is to move nobody."""
        options = provider.options
        if options.edge_check_url:
            return edge.answers(options.edge_check_url, options.edge_check_timeout)
        try:
            said = provider.serves()
        except Exception:  # noqa: BLE001 - it must not raise, but is another's code
            LOG.exception("Asking %s whether its edge serves failed", provider.name)
            said = None
        if said is None and provider.name not in self._untold:
            self._untold.add(provider.name)
            LOG.warning(
                "Whether the edge of %s serves can't be told; until it can, names are not led "
                "away from it, nor back; see its edge_check_url",
                provider.name,
            )
        return said


def agreed(workers: Sequence[Worker]) -> frozenset[str]:
    """The providers that more than half of the workers say are down."""
    names = {name for worker in workers for name in worker.down}
    return frozenset(
        name for name in names if 2 * sum(name in it.down for it in workers) > len(workers)
    )


class Failover:
    """Acts on what the workers agree on.

    Args:
        worker_id: of this worker.
        alive: gives the workers that are alive, as of their last signs of life.
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
        """Look until ``stopped``."""
        while not stopped.wait(self._pace.interval):
            try:
                self._watch.look()
                self._look_at = self._clock() + self._pace.interval
                self.act(stopped)
            except errors.Unavailable as exc:
                LOG.warning("Names could not be led away from providers that are down: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread nobody looks any more
                LOG.exception("Leading names away from providers failed; trying again")

    def act(self, stopped: threading.Event) -> None:
        """If it is for this worker to do, bring the services' names in line.

        Raises:
            Unavailable: storage does not answer.
        """
        workers = self._alive()
        if not self._is_first(workers):
            # Should it become this worker's turn, it does not know what the others have done.
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
        busy = self._lead(down, stopped)
        if stopped.is_set():
            return
        self._done = down
        self._again_at = self._clock() + AGAIN if down or busy else float("inf")

    def _lead(self, down: Collection[str], stopped: threading.Event) -> bool:
        """Go through all services; whether some have to be looked at again."""
        busy = False
        flavors = {flavor.flavor_id: flavor for flavor in self._storage.flavors.list()}
        for service in self._storage.services.scan():
            flavor = flavors.get(service.spec.flavor_id)
            changed = flavor and marked(service, flavor, down)
            if not changed:
                continue
            if service.status is Status.FAILED:
                # It may have no names, or none any more: its next change sees to it, but goes by
                # the marks that it has, so that these are put right after that.
                busy = True
                continue
            if service.status not in _AT_REST or not self._submit(changed):
                busy = True
            if stopped.wait(1 / self._pace.rate):
                break
            if self._has_turned(down):
                # Not the rest as well, by what was so when this began.
                return True
        return busy

    def _has_turned(self, down: Collection[str]) -> bool:
        """Go on looking meanwhile; whether it is not so any more, or another's to act."""
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + self._pace.interval
            self._watch.look()
        workers = self._alive()
        return not self._is_first(workers) or agreed(workers) != down

    def _is_first(self, workers: Sequence[Worker]) -> bool:
        """Whether it is for this worker to act."""
        return min((it.worker_id for it in workers), default=None) == self._worker_id

    def _try_again(self, stopped: threading.Event) -> None:
        """Queue again what failed for good: the marks say that names lead elsewhere than they do.

        After growing pauses, and not for ever: what is refused may always be.
        """
        now = datetime.datetime.now(datetime.UTC)
        for operation in self._storage.operations.failures(LATEST):
            age = (now - operation.updated_at).total_seconds()
            if operation.kind is not Kind.STEER or age > AGAIN * 2**TRIES:
                continue
            listed = self._storage.operations.list(operation.project_id, operation.service_id)
            failed = _failed_last(listed)
            if not failed or failed[0].key != operation.key:
                continue  # The names have been seen to since.
            if len(failed) > TRIES or age < AGAIN * 2 ** (len(failed) - 1):
                continue
            try:
                service = self._storage.services.get(operation.project_id, operation.service_id)
            except errors.NotFound:
                continue
            if service.status in _AT_REST:
                LOG.warning("The names of service %s are led elsewhere anew", service.service_id)
                self._submit(service)
            if stopped.wait(1 / self._pace.rate):
                return

    def _submit(self, service: Service) -> bool:
        try:
            queue(self._storage, service, Kind.STEER)
        except (errors.Changed, errors.NotFound, errors.InvalidRequest):
            return False
        except errors.Unavailable as exc:
            LOG.warning(
                "The names of service %s are led elsewhere later: %s", service.service_id, exc
            )
            return False
        return True


def _failed_last(listed: Sequence[Operation]) -> Sequence[Operation]:
    """The last operations of a service that changed its names, if they failed to steer them.

    The latest first.
    """
    latest = [it for it in reversed(listed) if it.kind is not Kind.PURGE]
    return list(
        itertools.takewhile(lambda it: (it.kind, it.state) == (Kind.STEER, State.FAILED), latest)
    )


def marked(service: Service, flavor: Flavor, down: Collection[str]) -> Service | None:
    """The service with marks at the providers to avoid; None if that changes no name.

    Where all of its providers are down, its names stay where they are: it may be us, and there
    is nowhere better to go.
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
