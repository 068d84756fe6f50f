# SPDX-License-Identifier: Apache-2.0
"""The log of the operator's own edge in Cassandra, on a real node."""

import dataclasses
import datetime

import pytest

pytest.importorskip("cassandra")

from cassandra import ConsistencyLevel

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.model.edge import CertificateOrder, Change
from poppy.model.operations import Purge
from poppy.storage.cassandra import edge as edge_store
from poppy.storage.cassandra import edge_certificates, edge_log, edge_nodes
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.session import Database
from poppy.testing.builders import NOW
from poppy.testing.storage.edge import make_node, make_report, read
from tests.integration.test_storage_cassandra import (  # noqa: F401
    connect,
    cql,
    hiding_outcomes,
    storage,
    synced,
)
from tests.real.fixtures import cassandra  # noqa: F401

pytestmark = [pytest.mark.real, pytest.mark.nightly]


@pytest.fixture
def log(storage):  # noqa: F811
    return storage.edge


@pytest.fixture
def unsure(log, monkeypatch):
    """See :func:`hiding_outcomes`."""
    return hiding_outcomes(log._database, monkeypatch)


@pytest.fixture
def dies(log, monkeypatch):
    """A function that makes a call fail after a number of its writes to the projections."""

    def dies(number, call, *arguments):
        write, left = Database.write, [number]

        def limited(self, calls, level=None):
            if not left[0]:
                raise errors.Unavailable("dead")
            left[0] -= 1
            write(self, calls, level)

        with monkeypatch.context() as patch:
            patch.setattr(Database, "write", limited)
            with pytest.raises(errors.Unavailable, match="dead"):
                call(*arguments)

    return dies


@pytest.fixture
def requests(monkeypatch):
    """The requests that were sent: 'read', 'write' or 'cas', one for each statement."""
    sent = []

    def counted(name, number):
        method = getattr(Database, name)

        def count(self, *arguments):
            sent.extend([name.removesuffix("_each")] * number(arguments[0]))
            return method(self, *arguments)

        monkeypatch.setattr(Database, name, count)

    monkeypatch.setattr(
        Database,
        "read_each",
        lambda self, calls, level=None: [self.read(*call, level) for call in calls],
    )
    counted("read", lambda _: 1)
    counted("write", len)
    counted("cas", lambda _: 1)
    return sent


def soon():
    return now_utc() + datetime.timedelta(seconds=1)


class TestOutcomes:
    @pytest.mark.parametrize("happens", [True, False])
    def test_publication_in_doubt_takes_effect_once(self, log, unsure, happens):
        unsure(happens)
        assert log.publish("service-1", "{}").revision == 1
        assert read(log) == [Change(1, "service-1", "{}")]

    @pytest.mark.parametrize("happens", [True, False])
    def test_join_in_doubt_takes_effect_once(self, log, unsure, happens):
        log.add_node(make_node())
        unsure(happens)
        assert log.join("node-1", "a" * 64, "b" * 64, NOW)
        assert log.node_of("b" * 64).name == "node-1"

    @pytest.mark.parametrize("writes", [0, 1])
    def test_repetition_completes_what_a_dead_writer_began(self, log, dies, writes):
        dies(writes, log.publish, "service-1", "{}")
        assert (log.head(), read(log)) == (0, [])
        assert log.publish("service-1", "{}").revision == 1
        assert read(log) == [Change(1, "service-1", "{}")]

        purge = Purge("/a", True, reference="op-0")
        dies(writes, log.purge, "service-1", purge)
        assert log.purge("service-1", purge).revision == 2
        assert log.head() == 2

    @pytest.mark.parametrize("writes", [0, 1])
    def test_next_writer_completes_what_a_dead_one_began(self, log, dies, writes):
        dies(writes, log.publish, "service-1", "{}")
        assert log.publish("service-2", "[]").revision == 2
        assert read(log) == [Change(1, "service-1", "{}"), Change(2, "service-2", "[]")]

    def test_withdrawal_is_not_undone_by_an_earlier_publication(self, log, dies):
        """The log has nothing about the service, but for a row that was not completed."""
        dies(0, log.publish, "service-1", "{}")
        assert log.withdraw("service-1").revision == 2
        log.publish("service-2", "{}")
        assert log.current("service-1").program is None

    def test_publication_is_not_undone_by_an_earlier_withdrawal(self, log, dies):
        log.publish("service-1", "{}")
        dies(0, log.withdraw, "service-1")
        assert log.publish("service-1", "{}").revision == 3
        log.publish("service-2", "{}")
        assert log.current("service-1").program == "{}"

    def test_delayed_writer_changes_nothing(self, log):
        log.publish("service-1", "1")
        row = log._log.read(1)
        log.publish("service-1", "2")
        log._log._complete(row)
        assert log.head() == 2
        assert log.current("service-1").program == "2"


class TestPruning:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch, cql):  # noqa: F811
        monkeypatch.setattr(edge_log, "BUCKET", 4)
        yield
        # Tombstones are left, with timestamps that the next test's revisions would not exceed.
        cql("TRUNCATE edge_programs")

    def test_changes_continue_across_partitions(self, log):
        for number in range(11):
            log.publish(f"service-{number}", str(number))
        assert [change.revision for change in read(log, 2, 5)] == list(range(3, 12))

    def test_obsolete_partitions_are_deleted(self, log, cql):  # noqa: F811
        log.publish("service-1", "{}")
        for _ in range(9):
            log.purge("service-2", Purge(None, True))
        assert log.prune(soon(), 100) == 9
        assert log.prune(soon(), 100) == 0
        assert [row[0] for row in cql("SELECT revision FROM edge_log")] == [8, 9, 10]
        assert read(log) == [Change(1, "service-1", "{}")]
        assert log.publish("service-2", "{}").revision == 11
        assert log.changes(10, 100).changes == [Change(11, "service-2", "{}")]

    def test_replaced_withdrawal_is_not_counted(self, log):
        log.publish("service-1", "1")
        log.withdraw("service-1")
        log.publish("service-1", "1")
        assert log.prune(soon(), 100) == 0
        assert read(log) == [Change(3, "service-1", "1")]
        assert log.changes(1, 100).changes == [Change(3, "service-1", "1")]

    def test_programs_before_the_tail_are_found_by_a_reader_above_the_floor(self, log):
        for number in range(10):
            log.publish(f"service-{number}", "{}")
        assert [log.prune(soon(), 100) for _ in range(2)] == [0, 0]
        assert [change.revision for change in read(log, 3, 2)] == list(range(4, 11))

    def test_prune_that_dies_is_continued(self, log, dies, cql):  # noqa: F811
        log.publish("service-1", "{}")
        for _ in range(9):
            log.withdraw("service-1")
            log.publish("service-1", "{}")
        log.withdraw("service-1")
        dies(1, log.prune, soon(), 100)
        assert log.prune(soon(), 100) == 1
        log.prune(soon(), 100)
        assert [row[0] for row in cql("SELECT revision FROM edge_log")] == [20]
        assert log.current("service-1") is None

    def test_withdrawal_is_pruned_though_an_earlier_prune_died_at_its_end(self, log, unsure):
        log.publish("service-1", "{}")
        log.withdraw("service-1")
        unsure(False)
        with pytest.raises(Undecided):
            log.prune(soon(), 100)
        assert log.prune(soon(), 100) == 1
        with pytest.raises(errors.Gone):
            log.changes(1, 100)

    def test_prune_reads_a_bounded_part(self, log, monkeypatch):
        monkeypatch.setattr(edge_store, "_BUCKETS", 2)
        for number in range(12):
            log.publish(f"service-{number}", "{}")
        log.purge("service-1", Purge(None, True))
        assert [log.prune(soon(), 100) for _ in range(2)] == [0, 1]


class TestReplication:
    """What a reader sees in a region where rows arrive in another order."""

    def test_page_ends_before_a_missing_revision(self, log, cql):  # noqa: F811
        for number in range(4):
            log.publish(f"service-{number}", "{}")
        cql("DELETE FROM edge_log WHERE bucket = 0 AND revision = 3")
        page = log.changes(1, 100)
        assert [change.revision for change in page.changes] == [2]
        assert (page.revision, page.head) == (2, 2)
        assert log.changes(2, 100) == (2, 2, ())

    def test_program_that_has_not_arrived_is_read_from_the_log(self, log, cql):  # noqa: F811
        log.publish("service-1", "1")
        key = edge_store._key("service-1")
        row = cql("SELECT revision, at, size, program FROM edge_programs")[0]
        log.publish("service-1", "2")
        cql("TRUNCATE edge_programs")
        assert log.changes(1, 100).changes == [Change(2, "service-1", "2")]
        cql(
            "INSERT INTO edge_programs (shard, service_id, revision, at, size, program) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            *key.values(),
            *row,
        )
        assert log.changes(1, 100).changes == [Change(2, "service-1", "2")]

    def test_node_may_know_a_head_that_has_not_arrived(self, log, monkeypatch):
        log.publish("service-1", "{}")
        monkeypatch.setattr(Database, "read_each", self._without(edge_log.HEAD))
        assert log.changes(1, 100) == (1, 1, ())
        with pytest.raises(errors.Gone):
            log.changes(2, 100)

    def test_node_may_have_a_token_that_has_not_arrived(self, log, monkeypatch):
        log.add_node(make_node())
        log.join("node-1", "a" * 64, "b" * 64, NOW)
        read_rows = Database.read

        def late(self, cql, parameters, level=None):  # noqa: F811
            is_late = cql == edge_nodes.OF_TOKEN and level == self.levels.plain
            return [] if is_late else read_rows(self, cql, parameters, level)

        monkeypatch.setattr(Database, "read", late)
        levels = log._database.levels
        monkeypatch.setattr(log._database, "levels", levels._replace(wide=ConsistencyLevel.ALL))
        assert log.node_of("b" * 64).name == "node-1"

    @staticmethod
    def _without(late):
        """Return a read_each() that finds no rows of a statement in this region."""
        read_each = Database.read_each

        def partly(self, calls, level=None):
            calls = list(calls)
            answers = read_each(self, calls, level)
            return [
                [] if level is None and call[0] == late else rows
                for call, rows in zip(calls, answers, strict=True)
            ]

        return partly


class TestCost:
    def test_requests_of_each_call(self, log, requests):
        def sent(call, *arguments):
            requests.clear()
            call(*arguments)
            return [requests.count(kind) for kind in ("read", "write", "cas")]

        assert sent(log.publish, "service-1", "{}") == [2, 2, 1]
        assert sent(log.publish, "service-1", "{}") == [3, 0, 0]
        assert sent(log.purge, "service-1", Purge("/", True)) == [2, 2, 1]
        assert sent(log.head) == [1, 0, 0]
        assert sent(log.changes, 2, 100) == [2, 0, 0]
        assert sent(log.changes, 1, 100) == [3, 0, 0]
        assert sent(log.changes, 0, 100) == [4, 0, 0]
        log.add_node(make_node())
        log.join("node-1", "a" * 64, "b" * 64, NOW)
        assert sent(log.report, "node-1", "b" * 64, make_report(), NOW) == [2, 1, 0]
        assert sent(log.node_of, "b" * 64) == [3, 0, 0]
        assert sent(log.nodes) == [2, 0, 0]


def test_report_of_a_removed_node_has_no_effect(log, monkeypatch):
    log.add_node(make_node())
    log.join("node-1", "a" * 64, "b" * 64, NOW)
    database = log._database
    write = database.write

    def late(calls, level=None):
        monkeypatch.setattr(database, "write", write)
        log.remove_node("node-1")
        write(calls, level)

    monkeypatch.setattr(database, "write", late)
    log.report("node-1", "b" * 64, make_report(), NOW)
    assert list(log.nodes()) == []
    log.add_node(make_node())
    assert log.nodes() == [make_node()]
    log.join("node-1", "a" * 64, "c" * 64, NOW)
    assert log.node("node-1").report is None


@pytest.mark.parametrize("happens", [True, False])
def test_order_is_stored_though_the_outcome_is_unknown(log, unsure, happens):
    order = CertificateOrder("project-1", "service-1", "a", {"state": 1}, NOW)
    unsure(happens)
    log.put_order(order)
    assert log.orders("service-1") == [order]
    unsure(happens)
    log.delete_orders("service-1", ["a"])
    assert log.orders("service-1") == []


@pytest.mark.parametrize("happens", [True, False])
def test_first_account_wins_though_the_outcome_is_unknown(log, unsure, happens):
    unsure(happens)
    assert log.add_account("https://ca.example/", {"key": 1}) == {"key": 1}
    assert log.add_account("https://ca.example/", {"key": 2}) == {"key": 1}


@pytest.mark.parametrize("number", range(2))
def test_service_is_due_at_the_time_of_its_order_though_a_writer_dies(log, dies, number):
    later = NOW + datetime.timedelta(days=3)
    order = CertificateOrder("project-1", "service-1", "a", {}, NOW)
    log.put_order(order)
    moved = dataclasses.replace(order, due_at=later)
    dies(number, log.put_order, moved)
    (stored,) = log.orders("service-1")
    assert stored == (order if number == 0 else moved)
    assert (log.due(NOW, 10) == [("project-1", "service-1")]) == (stored == order)
    assert log.due(later, 10) == [("project-1", "service-1")]
    log.put_order(moved)
    assert log.due(NOW, 10) == []
    log.due(later, 10)
    assert (
        len(log._database.read(edge_certificates.DUE, {"shelf": 0, "now": 2**62, "page": 9})) == 1
    )
