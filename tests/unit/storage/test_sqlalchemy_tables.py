# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver: the cost of its queries, and the content of its tables."""

import contextlib
import datetime
import sqlite3

import pytest

from poppy.common import errors
from poppy.distributed_task.board.sql import SQLJobBoard
from poppy.distributed_task.dispatcher import Dispatcher
from poppy.model.edge_traffic import Domain
from poppy.model.operations import Kind, State
from poppy.model.services import Status
from poppy.testing.builders import NOW, after, make_flavor
from poppy.testing.storage.case import add, begin, first_operation, remove, settle, submit


class TestQueries:
    @pytest.fixture
    def service(self, storage):
        storage.flavors.create(make_flavor())
        return add(storage)

    def test_service_is_read_with_one_query(self, storage, service, statements):
        storage.services.get(service.project_id, service.service_id)
        assert len(statements) == 1

    def test_page_is_read_with_one_limited_query(self, storage, service, statements):
        storage.services.list(service.project_id, "0", 7)
        ((statement, parameters),) = statements
        assert "LIMIT" in statement
        assert "COUNT" not in statement
        assert 7 in parameters

    @pytest.mark.parametrize(
        ("ask", "index"),
        [
            (lambda s, it: s.services.get("p", it), "services_1 (project_id=? AND service_id=?"),
            (
                lambda s, it: s.services.list("p", it, 5),
                "services_1 (project_id=? AND service_id>?",
            ),
            (lambda s, it: s.operations.list("p", it), "operations_1 (service_id=?"),
            (
                lambda s, it: s.services.list("p", it, 5, Status.FAILED),
                "ix_services_project_status (project_id=? AND status=? AND service_id>?",
            ),
            (
                lambda s, it: s.queries.by_status("failed", it, 5),
                "ix_services_status (status=? AND service_id>?",
            ),
            (lambda s, it: s.queries.by_claim("a.example.com"), "domains_1 (domain=?"),
            (
                lambda s, it: s.queries.domains_at("a.example.com", None, 5),
                "provider_urls_1 (provider_url=? AND domain>?",
            ),
            (lambda s, it: s.operations.due(NOW, 5), "ix_operations_due (next_attempt_at<?"),
            (
                lambda s, it: s.operations.history("p", it, it, 5),
                "operations_1 (service_id=? AND operation_id<?",
            ),
            (
                lambda s, it: list(s.operations.find([State.FAILED], NOW)),
                "ix_operations_listing (state=? AND ",
            ),
            (
                lambda s, it: s.edge.current(it),
                "edge_changes_2 (service_id=? AND reference=?",
            ),
            (lambda s, it: s.edge.node_of(it), "edge_nodes_2 (token=?"),
            (lambda s, it: s.edge.orders(it), "edge_orders_1 (service_id=?"),
            (lambda s, it: s.edge.due(NOW, 5), "ix_edge_orders_due (due_at<?"),
            (lambda s, it: s.edge.events(it, NOW), "ix_edge_events_key (key=? AND at>?"),
            (
                lambda s, it: s.edge.traffic(Domain(it, "a"), NOW, NOW),
                "ix_edge_traffic_domain (service_id=? AND domain=? AND hour>? AND hour<?",
            ),
        ],
        ids=[
            *("get", "list", "operations", "list-status", "status", "claim", "url", "due"),
            *("history", "find", "program", "token", "orders", "due-orders", "events"),
            "traffic",
        ],
    )
    def test_query_uses_an_index_and_does_not_sort(
        self, storage, service, statements, path, ask, index
    ):
        with sqlite3.connect(path) as connection:
            with contextlib.suppress(errors.NotFound):
                ask(storage, service.service_id)
            ((statement, parameters),) = statements
            plan = " ".join(
                row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            )
        connection.close()
        assert index in plan
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan

    def test_page_of_the_edge_log_reads_no_more_rows_than_its_limit(
        self, storage, statements, path
    ):
        for number in range(5):
            storage.edge.publish(f"service-{number}", "{}")
        statements.clear()
        assert len(storage.edge.changes(1, 2).changes) == 2
        assert len(statements) == 2
        with sqlite3.connect(path) as connection:
            for statement, parameters in statements:
                plan = [
                    row[3]
                    for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                ]
                inner = plan[: plan.index("SCAN edge_log")]
                assert any("edge_changes_1 (revision>? AND revision<?)" in step for step in inner)
                assert not any("TEMP B-TREE" in step or "SCAN" in step for step in inner)
        connection.close()


class TestTables:
    @pytest.fixture
    def stocked(self, storage):
        storage.flavors.create(make_flavor())
        return storage

    def test_project_may_have_its_own_limit(self, stocked, peek):
        add(stocked, limit=1, project_id="big")
        peek("UPDATE projects SET service_limit = 2 WHERE project_id = 'big'")
        add(stocked, limit=1, project_id="big")
        with pytest.raises(errors.LimitReached) as caught:
            add(stocked, limit=1, project_id="big")
        assert caught.value.limit == 2

    def test_limit_of_a_project_may_be_zero(self, stocked, peek):
        peek("INSERT INTO projects VALUES ('closed', 0, 0)")
        with pytest.raises(errors.LimitReached) as caught:
            add(stocked, limit=5, project_id="closed")
        assert caught.value.limit == 0

    def test_removed_service_is_kept_in_the_archive(self, stocked, peek):
        service = add(stocked)
        remove(stocked, service)
        query = "SELECT document ->> '$.spec.name', deleted_at FROM services_archive"
        microseconds = int(NOW.timestamp()) * 10**6 + NOW.microsecond
        assert peek(query) == [(service.spec.name, microseconds)]
        assert peek("SELECT service_id, released_at FROM domains") == [("", microseconds)]

    def test_old_operations_are_pruned(self, stocked, peek):
        for _ in range(3):
            settle(stocked, add(stocked))
        unfinished = first_operation(stocked, add(stocked))
        assert stocked.operations.prune(NOW, 10) == 0
        assert stocked.operations.prune(after(1), 2) == 2
        assert stocked.operations.prune(after(1), 2) == 1
        assert peek("SELECT operation_id FROM operations") == [(unfinished.operation_id,)]

    def test_status_is_stored_for_operators(self, stocked, peek):
        service = add(stocked)
        assert peek("SELECT status FROM services") == [("create_in_progress",)]
        run = begin(stocked, first_operation(stocked, service))
        stocked.operations.save(run.operation, {})
        assert peek("SELECT status FROM services") == [("deployed",)]

    def test_status_of_a_disabled_service_stays_disabled(self, stocked, peek):
        service = add(stocked, disabled=True)
        run = begin(stocked, submit(stocked, service, Kind.DELETE))
        stocked.operations.save(run.operation, {})
        assert peek("SELECT status FROM services") == [("disabled",)]


def test_an_idle_look_of_the_dispatcher_is_one_query_beside_10000_parked_operations(
    path, storage, statements, peek
):
    storage.flavors.create(make_flavor())
    add(storage)
    columns = ", ".join(row[1] for row in peek("PRAGMA table_info(operations)"))
    peek(
        "WITH RECURSIVE numbers(n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 9999)"
        f" INSERT INTO operations ({columns})"
        f" SELECT {columns.replace('operation_id', 'n')} FROM operations, numbers"
    )
    peek(
        "UPDATE operations SET next_attempt_at = ?",
        after(100 * 365 * 86400).timestamp() * 1_000_000,
    )
    assert peek("SELECT count(*) FROM operations WHERE state = 'queued'") == [(10000,)]
    board = SQLJobBoard("board", {"connection": f"sqlite:///{path}"})
    board.connect()
    try:
        look = Dispatcher(storage, board, board.post, 1.0, datetime.timedelta(hours=1), 64).look
        look()
        statements.clear()
        for _ in range(10):
            assert not look()
        assert len(statements) == 10
    finally:
        board.close()
