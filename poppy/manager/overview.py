# SPDX-License-Identifier: Apache-2.0
"""What an operator wants to see at a glance: how many services, what is under way, who works.

Everything here is bounded, whatever is stored, and is asked for once in a while however many look.
"""

import datetime
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from poppy.common import errors
from poppy.common.driver import Driver
from poppy.common.limits import Limits
from poppy.distributed_task.tasks import gate_of
from poppy.dns.base import DNSDriver
from poppy.manager.health import HealthManager
from poppy.manager.remembered import Remembered, Unhurried
from poppy.model.fleet import Breaker, ProviderQuota, Worker
from poppy.model.operations import Operation, State, StepState
from poppy.model.services import Service, Status
from poppy.provider.base import Provider
from poppy.storage.base import Storage

#: Services of a status are counted up to this.
COUNTED = 1000
#: So many unfinished operations are looked at, and so many failed ones.
LOOKED_AT = 500
FAILURES = 50
#: A worker that was seen so long ago is alive.
ALIVE = datetime.timedelta(minutes=1)
#: Seconds that what was read is good for.
MEMORY = 2.0
#: Seconds that are waited for the parts to say whether they are well.
PATIENCE = 1.0
#: Seconds for which what they said before is shown instead.
STANDING_IN = 10.0

_DAY = datetime.timedelta(days=1)
_UNFINISHED = frozenset(state for state in State if not state.finished)


class Group(NamedTuple):
    """Unfinished operations that have something in common.

    Attributes:
        name: what that is.
        counts: how many of each state.
        oldest: when the first of them was asked for.
    """

    name: str
    counts: Mapping[State, int]
    oldest: datetime.datetime


@dataclass(frozen=True, slots=True)
class Work:
    """What is under way, and what failed.

    Attributes:
        unfinished: the oldest first.
        all: whether these are all; if not, they are those that were asked for first.
        failures: the latest first, at most :data:`FAILURES`.
    """

    unfinished: Sequence[Operation]
    all: bool
    failures: Sequence[Operation]

    @property
    def kinds(self) -> Sequence[Group]:
        """The unfinished ones by what is asked."""
        return _groups((str(it.kind), it) for it in self.unfinished)

    @property
    def places(self) -> Sequence[Group]:
        """The unfinished ones by where they stand; see :func:`places_of`."""
        return _groups((place, it) for it in self.unfinished for place in places_of(it))


class DriverReport(NamedTuple):
    """How a provider, or DNS, is doing.

    Attributes:
        gate: ``<kind>:<name>``.
        limits: as this process is configured.
        breaker: as the workers share it.
        quotas: what the provider told the workers of its limits, by the limit's name.
        missed_by: workers that have had no answer from it for a while.
    """

    gate: str
    limits: Limits
    breaker: Breaker
    quotas: Mapping[str, ProviderQuota]
    missed_by: Sequence[Worker]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers, and the drivers as these see them.

    Attributes:
        alive: by host and process id.
        silent: not seen for a while, during the last day.
    """

    alive: Sequence[Worker]
    silent: Sequence[Worker]
    drivers: Sequence[DriverReport]


class OverviewManager:
    """The whole of Poppy, from above.

    Attributes:
        counts: gives how many services there are of each status; :data:`COUNTED` stands for as
            many or more.
        work: gives the operations that are under way or failed.
        fleet: gives workers and drivers.
        health: gives whether each part answers: ``{kind: {name: bool}}``; None while none has
            been heard of yet, for some are others' APIs, which may hang.
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
        self.counts = Remembered(self._count, MEMORY)
        self.work = Remembered(self._read_work, MEMORY)
        self.fleet = Remembered(self._read_fleet, MEMORY)
        self.health = Unhurried(health.report, PATIENCE, STANDING_IN)

    def services(
        self, status: Status, marker: str | None, limit: int
    ) -> tuple[Sequence[Service], str | None]:
        """A page of all services of a status, and the marker of the next one, if there is one."""
        found = self._storage.lookups.by_status(str(status), marker, limit)
        services = []
        for entry in found:
            try:
                services.append(self._storage.services.get(entry.project_id, entry.service_id))
            except errors.NotFound:
                continue  # it has just gone
        return services, found[-1].service_id if len(found) >= limit else None

    def _count(self) -> Mapping[Status, int]:
        return {it: self._storage.lookups.count(str(it), COUNTED) for it in Status}

    def _read_work(self) -> Work:
        found = self._storage.operations.find(_UNFINISHED, _now())
        unfinished = list(itertools.islice(found, LOOKED_AT))
        failures = self._storage.operations.failures(FAILURES)
        return Work(
            unfinished=sorted(unfinished, key=lambda it: (it.created_at, it.operation_id)),
            all=len(unfinished) < LOOKED_AT,
            failures=failures,
        )

    def _read_fleet(self) -> Fleet:
        now = _now()
        workers = self._storage.fleet.workers(now - _DAY)
        alive = [it for it in workers if it.seen_at >= now - ALIVE]
        breakers = {it.driver: it for it in self._storage.fleet.breakers()}
        return Fleet(
            alive=alive,
            silent=[it for it in workers if it.seen_at < now - ALIVE],
            drivers=[_report(it, breakers, alive) for it in self._drivers],
        )


def places_of(operation: Operation) -> Sequence[str]:
    """Where an unfinished operation stands: the drivers it is not done with, ``<kind>:<name>``.

    One that has not met any yet has not begun; one that is done with all it has met is between.
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
    # The last answer counts, and who was seen last is the likeliest to have had it.
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


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
