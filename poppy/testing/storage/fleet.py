# SPDX-License-Identifier: Apache-2.0
"""Contract: membership of workers, and their shared circuit breakers."""

from dataclasses import replace

from poppy.model import ids
from poppy.model.fleet import Breaker, BreakerState, ProviderQuota, Worker
from poppy.storage.base import Storage
from poppy.testing.builders import NOW, after
from poppy.testing.storage.case import Connect, StorageCase, each, race


def make_worker(host: str = "host-1", pid: int = 1, seen: float = 0) -> Worker:
    """Build a worker that was seen some seconds after NOW."""
    quotas = (ProviderQuota("mock", "calls", None, 7), ProviderQuota("mock", "a", 9, 0, after(60)))
    return Worker(
        *(ids.new(), host, pid, "1.0", "dc1", NOW, after(seen)),
        slots=10,
        down=("mock",),
        quotas=quotas,
    )


class FleetContract(StorageCase):
    """Workers and breakers are a few rows that every worker reads and rarely writes."""

    def test_worker_is_read_back_as_it_was_last_seen(self, storage: Storage) -> None:
        worker = make_worker()
        storage.fleet.beat(worker)
        later = replace(worker, seen_at=after(10), busy=3, hung=1)
        storage.fleet.beat(later)
        assert storage.fleet.workers(NOW) == [later]

    def test_workers_come_by_host_and_process_unless_they_are_silent(
        self, storage: Storage
    ) -> None:
        wanted = [make_worker("a", 2), make_worker("a", 10), make_worker("b", 1)]
        for worker in (wanted[2], wanted[0], make_worker("a", 3, seen=-0.000001), wanted[1]):
            storage.fleet.beat(worker)
        assert storage.fleet.workers(NOW) == wanted

    def test_worker_that_left_is_forgotten(self, storage: Storage) -> None:
        worker, other = make_worker("a"), make_worker("b")
        for it in (worker, other):
            storage.fleet.beat(it)
        storage.fleet.leave(worker.worker_id)
        storage.fleet.leave(worker.worker_id)
        assert storage.fleet.workers(NOW) == [other]

    def test_there_are_no_breakers_at_first(self, storage: Storage) -> None:
        assert list(storage.fleet.breakers()) == []

    def test_breaker_is_read_back_as_stored(self, storage: Storage) -> None:
        opened = Breaker("provider:mock").next(
            state=BreakerState.OPEN, until=after(30), openings=1, reason="it said 503: 💥"
        )
        assert storage.fleet.swap(opened)
        assert storage.fleet.breakers() == [opened]
        closed = opened.next(state=BreakerState.CLOSED, until=None, openings=0, reason=None)
        assert storage.fleet.swap(closed)
        assert storage.fleet.swap(Breaker("dns:mock").next())
        assert storage.fleet.breakers() == [Breaker("dns:mock", version=1), closed]

    def test_breaker_that_another_changed_meanwhile_is_left_alone(self, storage: Storage) -> None:
        first = Breaker("provider:mock").next(state=BreakerState.OPEN, until=after(30))
        assert storage.fleet.swap(first)
        assert not storage.fleet.swap(Breaker("provider:mock").next())
        second = first.next(state=BreakerState.PROBING)
        assert storage.fleet.swap(second)
        assert not storage.fleet.swap(first.next())
        assert storage.fleet.breakers() == [second]

    def test_of_several_that_change_a_breaker_at_once_one_does(
        self, storage: Storage, connect_again: Connect
    ) -> None:
        breaker = Breaker("provider:mock")
        for _ in range(2):
            outcomes = race(
                connect_again,
                each(lambda s, n: s.fleet.swap(breaker.next(openings=n)), range(6)),  # noqa: B023
            )
            assert sorted(outcomes) == [False] * 5 + [True]
            (breaker,) = storage.fleet.breakers()
            assert breaker.openings == outcomes.index(True)
