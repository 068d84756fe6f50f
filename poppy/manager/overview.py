# SPDX-License-Identifier: Apache-2.0
"""The dashboard's overview: counts of services, unfinished work, and workers.

All queries are bounded, and concurrent viewers share cached results.
"""

import datetime
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.common.driver import Driver
from poppy.common.limits import Limits
from poppy.distributed_task.tasks import gate_of
from poppy.dns.base import DNSDriver
from poppy.manager.caching import StaleWhileRevalidate, cached
from poppy.manager.health import HealthManager
from poppy.model.membership import Breaker, ProviderQuota, Worker
from poppy.model.operations import Operation, State, StepState
from poppy.model.services import Service, Status
from poppy.provider.base import Provider
from poppy.storage.base import Storage

#: The maximum count of services per status.
COUNTED = 1000
#: The maximum number of unfinished and of failed operations to read.
LOOKED_AT = 500
FAILURES = 50
#: A worker counts as alive if it was seen this recently.
ALIVE = datetime.timedelta(minutes=1)
#: How long results are cached, in seconds.
MEMORY = 2.0
#: How long a page waits for health checks, in seconds.
PATIENCE = 1.0
#: How long an earlier health result may be shown instead, in seconds.
STANDING_IN = 10.0

_DAY = datetime.timedelta(days=1)
_UNFINISHED = frozenset(state for state in State if not state.finished)


class Group(NamedTuple):
    """A group of unfinished operations.

    Attributes:
        name: what they have in common.
        counts: the number per state.
        oldest: the time of the oldest request.
    """

    name: str
    counts: Mapping[State, int]
    oldest: datetime.datetime


@dataclass(frozen=True, slots=True)
class Work:
    """Unfinished and failed operations.

    Attributes:
        unfinished: the unfinished operations, oldest first.
        all: whether these are all; if not, they are the oldest ones.
        failures: the failed operations, latest first, at most :data:`FAILURES`.
    """

    unfinished: Sequence[Operation]
    all: bool
    failures: Sequence[Operation]

    @property
    def kinds(self) -> Sequence[Group]:
        """The unfinished operations by kind."""
        return _groups((str(it.kind), it) for it in self.unfinished)

    @property
    def places(self) -> Sequence[Group]:
        """The unfinished operations by what they are blocked on; see :func:`places_of`."""
        return _groups((place, it) for it in self.unfinished for place in places_of(it))


class DriverReport(NamedTuple):
    """The state of a provider or the DNS driver.

    Attributes:
        gate: ``<kind>:<name>``.
        limits: the limits in this process's configuration.
        breaker: the circuit breaker that the workers share.
        quotas: the rate limits that the provider reported to the workers, by name.
        missed_by: the workers that get no answer from the provider.
    """

    gate: str
    limits: Limits
    breaker: Breaker
    quotas: Mapping[str, ProviderQuota]
    missed_by: Sequence[Worker]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers, and the drivers as the workers see them.

    Attributes:
        alive: the workers that are alive, sorted by host and process id.
        silent: the workers seen during the last day that are not alive.
        drivers: the state of each driver.
    """

    alive: Sequence[Worker]
    silent: Sequence[Worker]
    drivers: Sequence[DriverReport]


class OverviewManager:
    """The state of the whole installation.

    Attributes:
        counts: returns the number of services per status; :data:`COUNTED` means that many or
            more.
        work: returns the unfinished and failed operations.
        membership: returns the workers and drivers.
        health: returns whether each driver answers: ``{kind: {name: bool}}``; None until the
            first result, because checks of external APIs may hang.
    """

    def __init__(
        self,
        storage: Storage,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        health: HealthManager,
    ) -> None:
        self._storage = storage
        self._drivers: Sequence[Driver] = (*providers.values(), dns)
        self.counts = cached(self._count, MEMORY)
        self.work = cached(self._read_work, MEMORY)
        self.membership = cached(self._read_membership, MEMORY)
        self.health = StaleWhileRevalidate(health.report, PATIENCE, STANDING_IN)

    def services(
        self, status: Status, marker: str | None, limit: int
    ) -> tuple[Sequence[Service], str | None]:
        """Return a page of all services with a status, and the marker of the next page or None."""
        found = self._storage.queries.by_status(str(status), marker, limit)
        services = []
        for entry in found:
            try:
                services.append(self._storage.services.get(entry.project_id, entry.service_id))
            except errors.NotFound:
                continue  # deleted since the page was read
        return services, found[-1].service_id if len(found) >= limit else None

    def _count(self) -> Mapping[Status, int]:
        return {it: self._storage.queries.count(str(it), COUNTED) for it in Status}

    def _read_work(self) -> Work:
        found = self._storage.operations.find(_UNFINISHED, now_utc())
        unfinished = list(itertools.islice(found, LOOKED_AT))
        failures = self._storage.operations.failures(FAILURES)
        return Work(
            unfinished=sorted(unfinished, key=lambda it: (it.created_at, it.operation_id)),
            all=len(unfinished) < LOOKED_AT,
            failures=failures,
        )

    def _read_membership(self) -> Fleet:
        now = now_utc()
        workers = self._storage.membership.workers(now - _DAY)
        alive = [it for it in workers if it.seen_at >= now - ALIVE]
        breakers = {it.driver: it for it in self._storage.membership.breakers()}
        return Fleet(
            alive=alive,
            silent=[it for it in workers if it.seen_at < now - ALIVE],
            drivers=[_report(it, breakers, alive) for it in self._drivers],
        )


def places_of(operation: Operation) -> Sequence[str]:
    """Return the drivers that an unfinished operation is blocked on, as ``<kind>:<name>``.

    Without any step it is ``not begun``; if all recorded steps are done, ``between steps``.
    """
    if not operation.steps:
        return ["not begun"]
    names = (it.name for it in operation.steps if it.state is not StepState.DONE)
    return sorted({name.removeprefix("remove:") for name in names}) or ["between steps"]


def _groups(named: Iterable[tuple[str, Operation]]) -> Sequence[Group]:
    groups: dict[str, list[Operation]] = {}
    for name, operation in named:
        groups.setdefault(name, []).append(operation)
    unfinished = [state for state in State if not state.finished]
    return [
        Group(
            name,
            {state: sum(it.state is state for it in members) for state in unfinished},
            min(it.created_at for it in members),
        )
        for name, members in sorted(groups.items())
    ]


def _report(
    driver: Driver, breakers: Mapping[str, Breaker], workers: Sequence[Worker]
) -> DriverReport:
    gate = gate_of(driver)
    is_provider = driver.KIND == Provider.KIND
    quotas: dict[str, ProviderQuota] = {}
    # The latest report wins: apply the workers in the order in which they were seen.
    for worker in sorted(workers, key=lambda it: it.seen_at):
        if is_provider:
            quotas |= {it.name: it for it in worker.quotas if it.provider == driver.name}
    return DriverReport(
        gate=gate,
        limits=Limits.of(driver.options),
        breaker=breakers.get(gate) or Breaker(gate),
        quotas=quotas,
        missed_by=[it for it in workers if is_provider and driver.name in it.down],
    )
