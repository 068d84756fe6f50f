# SPDX-License-Identifier: Apache-2.0
"""Contract: membership of workers, and their shared circuit breakers."""

from dataclasses import replace

from poppy.model import ids
from poppy.model.membership import Breaker, BreakerState, ProviderQuota, Worker
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


class MembershipContract(StorageCase):
    """Workers and breakers are a few rows that every worker reads and rarely writes."""

    def test_worker_is_read_back_as_it_was_last_seen(self, storage: Storage) -> None:
        worker = make_worker()
        storage.membership.beat(worker)
        later = replace(worker, seen_at=after(10), busy=3, hung=1)
        storage.membership.beat(later)
        assert storage.membership.workers(NOW) == [later]

    def test_live_workers_are_listed_by_host_and_process(self, storage: Storage) -> None:
        wanted = [make_worker("a", 2), make_worker("a", 10), make_worker("b", 1)]
        for worker in (wanted[2], wanted[0], make_worker("a", 3, seen=-0.000001), wanted[1]):
            storage.membership.beat(worker)
        assert storage.membership.workers(NOW) == wanted

    def test_worker_that_left_is_not_listed(self, storage: Storage) -> None:
        worker, other = make_worker("a"), make_worker("b")
        for it in (worker, other):
            storage.membership.beat(it)
        storage.membership.leave(worker.worker_id)
        storage.membership.leave(worker.worker_id)
        assert storage.membership.workers(NOW) == [other]

    def test_there_are_no_breakers_at_first(self, storage: Storage) -> None:
        assert list(storage.membership.breakers()) == []

    def test_breaker_is_read_back_as_stored(self, storage: Storage) -> None:
        opened = Breaker("provider:mock").next(
            state=BreakerState.OPEN, until=after(30), openings=1, reason="it said 503: 💥"
        )
        assert storage.membership.swap(opened)
        assert storage.membership.breakers() == [opened]
        closed = opened.next(state=BreakerState.CLOSED, until=None, openings=0, reason=None)
        assert storage.membership.swap(closed)
        assert storage.membership.swap(Breaker("dns:mock").next())
        assert storage.membership.breakers() == [Breaker("dns:mock", version=1), closed]

    def test_outdated_change_of_a_breaker_is_refused(self, storage: Storage) -> None:
        first = Breaker("provider:mock").next(state=BreakerState.OPEN, until=after(30))
        assert storage.membership.swap(first)
        assert not storage.membership.swap(Breaker("provider:mock").next())
        second = first.next(state=BreakerState.PROBING)
        assert storage.membership.swap(second)
        assert not storage.membership.swap(first.next())
        assert storage.membership.breakers() == [second]

    def test_only_one_of_several_concurrent_changes_of_a_breaker_succeeds(
        self, storage: Storage, connect_again: Connect
    ) -> None:
        breaker = Breaker("provider:mock")
        for _ in range(2):
            outcomes = race(
                connect_again,
                each(lambda s, n: s.membership.swap(breaker.next(openings=n)), range(6)),  # noqa: B023
            )
            assert sorted(outcomes) == [False] * 5 + [True]
            (breaker,) = storage.membership.breakers()
            assert breaker.openings == outcomes.index(True)
