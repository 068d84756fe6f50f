# SPDX-License-Identifier: Apache-2.0
"""Contract: the operator's own edge."""

import datetime
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.model import ids
from poppy.model.edge import LIVE, CertificateOrder, Change, Failure, Node, Page, Report
from poppy.model.operations import Purge
from poppy.storage import edge
from poppy.storage.base import Storage
from poppy.storage.edge import EdgeStore
from poppy.testing.builders import NOW, after
from poppy.testing.storage.case import Connect, each, race
from poppy.testing.storage.edge_commands import CommandsContract
from poppy.testing.storage.edge_traffic import TrafficContract

_WRITERS, _EACH, _ALL = 8, 12, 500


def make_report(instance: str = "agent-1", revision: int = 1) -> Report:
    """Build the report of a node that refuses one service."""
    return Report(
        *(instance, revision, True, "1.0"),
        {"agent": NOW, "haproxy": after(1)},
        {"service-1": Failure(1, "too many 💥")},
    )


def make_node(name: str = "node-1", **overrides: object) -> Node:
    """Build a node that has an hour to join."""
    node = Node(name, join_token="a" * 64, join_until=after(3600))
    return replace(node, **overrides)  # type: ignore[arg-type]


def pages(log: EdgeStore, after: int, limit: int) -> Iterator[Page]:
    """Read from a revision to the head, as a node does."""
    snapshot = 0
    while True:
        page = log.changes(after, limit, snapshot)
        yield page
        if page.revision == page.head:
            return
        snapshot = snapshot or (page.head if after == 0 else 0)
        after = page.revision


def read(log: EdgeStore, after: int = 0, limit: int = _ALL) -> list[Change]:
    """Return all changes after a revision."""
    return [change for page in pages(log, after, limit) for change in page.changes]


class EdgeContract(CommandsContract, TrafficContract):
    """The log of changes, and the nodes that follow it."""

    @pytest.fixture
    def log(self, storage: Storage) -> EdgeStore:
        """The store of the edge."""
        return storage.edge

    @pytest.fixture
    def joined(self, log: EdgeStore) -> EdgeStore:
        """The store with a node that has joined."""
        log.add_node(make_node())
        assert log.join("node-1", "a" * 64, "b" * 64, NOW)
        return log

    def test_empty_log_has_no_changes(self, log: EdgeStore) -> None:
        assert log.head() == 0
        assert log.changes(0, 10) == Page(0, 0, ())
        assert log.current("service-1") is None
        assert log.withdraw("service-1") is None
        assert log.head() == 0

    def test_each_change_gets_the_next_revision(self, log: EdgeStore) -> None:
        before = now_utc()
        stamps = [
            log.publish("service-1", '{"a": 1}'),
            log.publish("service-2", "{}"),
            log.purge("service-1", Purge("/a", True, reference="op-0")),
            log.purge("service-1", Purge(None, False, reference="op-1")),
            log.withdraw("service-2"),
        ]
        assert [stamp.revision for stamp in stamps if stamp] == [1, 2, 3, 4, 5]
        assert all(stamp and before <= stamp.at <= now_utc() for stamp in stamps)
        assert log.head() == 5
        assert read(log) == [
            Change(1, "service-1", '{"a": 1}'),
            Change(3, "service-1", purge=Purge("/a", True)),
            Change(4, "service-1", purge=Purge(None, False)),
            Change(5, "service-2"),
        ]

    def test_repeated_change_gets_no_revision(self, log: EdgeStore) -> None:
        purge = Purge("/a", True, reference="op-0")
        first = log.publish("service-1", "{}")
        assert log.publish("service-1", "{}") == first
        purged = log.purge("service-1", purge)
        assert log.purge("service-1", purge) == purged
        other = log.purge("service-2", purge)
        assert other.revision == purged.revision + 1
        withdrawn = log.withdraw("service-1")
        assert log.withdraw("service-1") == withdrawn
        assert log.head() == other.revision + 1

    def test_current_is_the_last_change_of_the_program(self, log: EdgeStore) -> None:
        log.publish("service-1", "1")
        second = log.publish("service-1", "2")
        log.purge("service-1", Purge(None, True))
        found = log.current("service-1")
        assert found is not None
        assert (found.stamp, found.program) == (second, "2")
        withdrawn = log.withdraw("service-1")
        assert log.current("service-1") == (withdrawn, None)
        again = log.publish("service-1", "2")
        assert log.current("service-1") == (again, "2")

    def test_pages_continue_each_other(self, log: EdgeStore) -> None:
        for number in range(7):
            log.publish(f"service-{number}", "{}")
        found = list(pages(log, 2, 2))
        assert [page.revision for page in found] == [4, 6, 7]
        assert [len(page.changes) for page in found] == [2, 2, 1]
        assert {page.head for page in found} == {7}
        assert log.changes(7, 2) == Page(7, 7, ())

    def test_page_ends_before_it_is_too_large(
        self, log: EdgeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(edge, "PAGE_SIZE", 100)
        for number in range(4):
            log.publish(f"service-{number}", str(number) * 60)
        log.publish("service-4", "x" * 1000)
        assert [len(page.changes) for page in pages(log, 0, _ALL)] == [1] * 5

    def test_prune_deletes_old_purges_and_withdrawals_only(self, log: EdgeStore) -> None:
        log.publish("service-1", "{}")
        log.publish("service-2", "{}")
        log.purge("service-1", Purge("/a", True))
        log.withdraw("service-2")
        soon = now_utc() + datetime.timedelta(seconds=1)
        assert log.prune(soon - datetime.timedelta(minutes=1), 10) == 0
        assert len(read(log)) == 3

        assert log.prune(soon, 10) == 2
        assert read(log) == [Change(1, "service-1", "{}")]
        assert log.head() == 4
        assert log.current("service-2") is None

    def test_prune_deletes_up_to_its_limit(self, log: EdgeStore) -> None:
        for _ in range(3):
            log.purge("service-1", Purge("/a", True))
        soon = now_utc() + datetime.timedelta(seconds=1)
        assert [log.prune(soon, 2) for _ in range(3)] == [2, 1, 0]

    def test_reader_behind_the_pruned_revisions_needs_a_snapshot(self, log: EdgeStore) -> None:
        log.publish("service-1", "1")
        log.purge("service-1", Purge("/a", True))
        log.publish("service-1", "2")
        assert log.prune(now_utc() + datetime.timedelta(seconds=1), 10) == 1
        with pytest.raises(errors.Gone, match="after revision 1 "):
            log.changes(1, 10)
        assert log.changes(2, 10).changes == [Change(3, "service-1", "2")]
        assert log.changes(0, 10).changes == [Change(3, "service-1", "2")]

    def test_reader_ahead_of_a_restored_log_needs_a_snapshot(self, log: EdgeStore) -> None:
        log.publish("service-1", "{}")
        with pytest.raises(errors.Gone):
            log.changes(2, 10)

    def test_snapshot_may_have_more_pages_than_the_pruned_part(self, log: EdgeStore) -> None:
        """Its first revisions are below the floor, but what was pruned precedes the snapshot."""
        for number in range(4):
            log.publish(f"service-{number}", "{}")
        log.withdraw("service-3")
        assert log.prune(now_utc() + datetime.timedelta(seconds=1), 10) == 1
        assert [change.revision for change in read(log, 0, 1)] == [1, 2, 3]

    def test_snapshot_ends_if_a_change_during_it_was_pruned(self, log: EdgeStore) -> None:
        for number in range(3):
            log.publish(f"service-{number}", "{}")
        first = log.changes(0, 1)
        log.withdraw("service-0")
        assert log.prune(now_utc() + datetime.timedelta(seconds=1), 10) == 1
        with pytest.raises(errors.Gone):
            log.changes(first.revision, 1, first.head)

    def test_concurrent_writers_get_consecutive_revisions_and_a_reader_misses_none(
        self, storage: Storage, connect_again: Connect
    ) -> None:
        done = threading.Event()

        def write(store: Storage, number: int) -> list[int]:
            found = []
            for turn in range(_EACH):
                stamps = (
                    store.edge.publish(f"service-{number}", str(turn)),
                    store.edge.publish("shared", ids.new()),
                    store.edge.purge(f"service-{number}", Purge("/", True)),
                )
                found += [stamp.revision for stamp in stamps]
            return found

        def follow(store: Storage) -> tuple[list[int], dict[str, str | None]]:
            revision, purges, programs = 0, [], {}
            while True:
                is_last = done.is_set()
                for page in pages(store.edge, revision, 7):
                    for change in page.changes:
                        if change.purge:
                            purges.append(change.revision)
                        else:
                            programs[change.service_id] = change.program
                    revision = page.revision
                if is_last:
                    return purges, programs

        reader = connect_again()
        result: list[tuple[list[int], dict[str, str | None]]] = []
        thread = threading.Thread(target=lambda: result.append(follow(reader)))
        thread.start()
        try:
            outcomes = race(connect_again, each(write, range(_WRITERS)))
        finally:
            done.set()
            thread.join(timeout=30)
            reader.close()

        written = sorted(revision for outcome in outcomes for revision in outcome)
        assert written == list(range(1, 3 * _WRITERS * _EACH + 1))
        ((purges, programs),) = result
        assert len(purges) == len(set(purges)) == _WRITERS * _EACH
        last = {f"service-{number}": str(_EACH - 1) for number in range(_WRITERS)}
        current = storage.edge.current("shared")
        assert current is not None
        assert programs == {**last, "shared": current.program}
        assert len(read(storage.edge)) == _WRITERS + 1 + _WRITERS * _EACH, "one row a service"

    def test_concurrent_calls_with_the_same_change_make_it_once(
        self, storage: Storage, connect_again: Connect
    ) -> None:
        purge = Purge(None, True, reference="op-0")
        published = race(connect_again, [lambda s: s.edge.publish("service-1", "{}")] * 4)
        purged = race(connect_again, [lambda s: s.edge.purge("service-1", purge)] * 4)
        assert len(set(published)) == len(set(purged)) == 1
        assert storage.edge.head() == 2

    def test_node_is_read_back_as_added(self, log: EdgeStore) -> None:
        addresses = ("192.0.2.1", "2001:db8::1")
        second, first = make_node("node-2", pool="south", addresses=addresses), make_node()
        log.add_node(second)
        log.add_node(first)
        assert log.nodes() == [first, second]
        assert log.node("node-1") == first
        assert log.node("node-3") is None
        assert log.node_of("b" * 64) is None

    def test_node_that_has_not_joined_can_be_added_again(self, log: EdgeStore) -> None:
        log.add_node(make_node())
        again = make_node(join_token="c" * 64)
        log.add_node(again)
        assert log.nodes() == [again]

    def test_joined_node_cannot_be_added_again(self, joined: EdgeStore) -> None:
        with pytest.raises(errors.InUse, match="node-1"):
            joined.add_node(make_node())
        assert joined.node_of("b" * 64) is not None

    def test_join_token_is_valid_once_and_for_its_node(self, log: EdgeStore) -> None:
        log.add_node(make_node())
        log.add_node(make_node("node-2", join_token="c" * 64))
        assert not log.join("node-1", "c" * 64, "b" * 64, NOW)
        assert log.join("node-1", "a" * 64, "b" * 64, NOW)
        assert not log.join("node-1", "a" * 64, "d" * 64, NOW)
        assert log.node_of("b" * 64) == Node("node-1", token="b" * 64)

    def test_expired_join_token_is_refused(self, log: EdgeStore) -> None:
        log.add_node(make_node())
        assert not log.join("node-1", "a" * 64, "b" * 64, after(3600))

    def test_one_of_several_concurrent_joins_succeeds(
        self, log: EdgeStore, connect_again: Connect
    ) -> None:
        log.add_node(make_node())
        outcomes = race(
            connect_again,
            each(lambda s, n: s.edge.join("node-1", "a" * 64, str(n) * 64, NOW), range(6)),
        )
        assert sorted(outcomes) == [False] * 5 + [True]
        assert log.node_of(str(outcomes.index(True)) * 64) is not None

    def test_report_is_read_back(self, joined: EdgeStore) -> None:
        assert joined.report("node-1", "b" * 64, make_report(), NOW) is False
        later = make_report(revision=2**40)
        assert joined.report("node-1", "b" * 64, later, after(1)) is False
        (node,) = joined.nodes()
        assert (node.report, node.seen_at) == (later, after(1))

    def test_report_of_another_live_instance_is_refused(self, joined: EdgeStore) -> None:
        joined.report("node-1", "b" * 64, make_report(), NOW)
        other = make_report("agent-2")
        with pytest.raises(errors.Changed, match="node-1"):
            joined.report("node-1", "b" * 64, other, after(1))
        assert joined.nodes()[0].report == make_report()
        joined.report("node-1", "b" * 64, other, NOW + LIVE)
        assert joined.nodes()[0].report == other

    def test_report_with_another_token_is_refused(self, joined: EdgeStore) -> None:
        with pytest.raises(errors.NotFound):
            joined.report("node-1", "c" * 64, make_report(), NOW)
        assert joined.nodes()[0].report is None

    def test_drained_node_learns_it_from_its_report(self, joined: EdgeStore) -> None:
        joined.set_drained("node-1", True)
        assert joined.report("node-1", "b" * 64, make_report(), NOW) is True
        assert joined.nodes()[0].drained
        joined.set_drained("node-1", False)
        assert joined.report("node-1", "b" * 64, make_report(), after(1)) is False

    def test_place_of_a_node_is_replaced(self, joined: EdgeStore) -> None:
        joined.set_drained("node-1", True)
        for pool, addresses in ("south", ("192.0.2.1", "2001:db8::1")), ("north", ()):
            joined.place_node("node-1", pool, addresses)
            (node,) = joined.nodes()
            assert (node.pool, node.addresses) == (pool, addresses)
            assert node == joined.node_of("b" * 64)
        assert node.drained
        with pytest.raises(errors.NotFound, match="node-2"):
            joined.place_node("node-2", "south", ())

    def test_removed_node_is_unknown(self, joined: EdgeStore) -> None:
        joined.remove_node("node-1")
        assert joined.node_of("b" * 64) is None
        assert list(joined.nodes()) == []
        with pytest.raises(errors.NotFound):
            joined.report("node-1", "b" * 64, make_report(), NOW)
        with pytest.raises(errors.NotFound, match="node-1"):
            joined.remove_node("node-1")
        with pytest.raises(errors.NotFound, match="node-1"):
            joined.set_drained("node-1", True)

    def test_first_account_at_an_authority_wins(
        self, log: EdgeStore, connect_again: Connect
    ) -> None:
        url = f"https://ca.example/{'x' * 400}"
        assert log.account(url) is None

        add = each(lambda s, n: s.edge.add_account(url, {"key": n}), range(_WRITERS))
        kept = race(connect_again, add)

        assert len({account["key"] for account in kept}) == 1
        assert log.account(url) == kept[0]
        log.put_account(url, {"key": "another"})
        assert log.account(url) == log.add_account(url, {"key": 1}) == {"key": "another"}
        assert log.account("https://ca.example/") is None

    def test_orders_are_kept_by_service(self, log: EdgeStore) -> None:
        first = CertificateOrder("project-1", "service-1", "a", {"state": 1}, after(1))
        last = replace(first, content={"certificate": "💥" * 40_000}, due_at=None)
        second, other = replace(last, order_id="b"), replace(last, service_id="service-2")
        for order in (first, second, other, last, last):
            log.put_order(order)

        assert log.orders("service-1") == [last, second]
        log.delete_orders("service-1", ["a", "missing"])
        log.delete_orders("service-1", [])
        assert log.orders("service-1") == [second]
        assert log.orders("service-2") == [other]
        assert log.orders("service-3") == []

    def test_services_with_due_orders_are_found_by_their_time(self, log: EdgeStore) -> None:
        for number, due_at in enumerate((after(3), after(2), after(1), None, after(4))):
            service_id = f"service-{number % 3}"
            log.put_order(CertificateOrder("p", service_id, str(number), {}, due_at))

        assert log.due(after(0.9), 10) == []
        assert log.due(after(1), 10) == [("p", "service-2")]
        assert log.due(after(9), 10) == [("p", f"service-{number}") for number in (2, 1, 0)]
        assert log.due(after(9), 2) == [("p", "service-2"), ("p", "service-1")]
        log.put_order(CertificateOrder("p", "service-2", "2", {}, after(9)))
        assert log.due(after(3), 10) == [("p", "service-1"), ("p", "service-0")]

    def test_events_are_found_by_their_time(self, log: EdgeStore, connect_again: Connect) -> None:
        key = "certificate:" + "x" * 400
        add = each(lambda s, n: s.edge.add_event(key, after(n)), (2, 0, 1, 1))
        assert race(connect_again, add) == [None] * 4
        log.add_event("another", after(3))

        assert log.events(key, after(-1)) == [NOW, after(1), after(1), after(2)]
        assert log.events(key, after(1)) == [after(2)]
