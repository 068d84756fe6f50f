# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver: what it loads for decisions, and how many statements a change takes."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from poppy.common import errors
from poppy.model import lifecycle
from poppy.model.lifecycle import Aggregate
from poppy.model.operations import Kind, State
from poppy.storage.sqlalchemy import rows
from poppy.testing.builders import NOW, after, make_flavor, make_operation, make_service
from poppy.testing.storage.case import add, begin, finish, first_operation, settle, submit

SERVICE = make_service()


def op(number, kind, state=State.QUEUED, **overrides):
    fields = {"runner": "job-1", "next_attempt_at": NOW, "attempt": 1, **overrides}
    return make_operation(SERVICE, kind, operation_id=f"{number}", state=state, **fields)


@st.composite
def queues(draw):
    """Draw operations of a service, in any combination, possible or not."""
    states = draw(st.lists(st.sampled_from(list(State)), min_size=1, max_size=8))
    return [
        op(
            number,
            draw(st.sampled_from(list(Kind))),
            state,
            attempt=draw(st.integers(0, 1)) if state is State.QUEUED else 1,
            next_attempt_at=draw(st.sampled_from([None, NOW, after(9)])),
        )
        for number, state in enumerate(states)
    ]


class Undo(Exception):
    """Ends a transaction without a trace."""


@pytest.fixture
def stocked(storage):
    storage.flavors.create(make_flavor())
    return storage


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(queue=queues())
# Rare ones: a deployment behind a purge, and one that was begun before.
@example(
    [
        op(0, Kind.UPDATE, State.RUNNING),
        *(op(1 + number, Kind.PURGE, attempt=0) for number in range(2)),
        op(3, Kind.UPDATE, attempt=0),
    ]
)
@example(
    [
        op(0, Kind.PURGE, attempt=0),
        op(1, Kind.UPDATE),
        op(2, Kind.UPDATE, attempt=0),
    ]
)
def test_part_that_is_loaded_is_enough_for_every_decision(storage, queue):
    everything = Aggregate(
        SERVICE,
        {it.operation_id: it.state for it in queue if it.is_held or not it.state.finished},
        {it.operation_id: it for it in queue},
    )

    def work(conn):
        for it in queue:
            rows.add_operation(conn, it)
        assert rows.load(conn, queue[0].key, SERVICE, whole=True).states == everything.states
        for it in queue:
            loaded = rows.load(conn, it.key, SERVICE)
            for decide in decisions(it):
                assert outcome(decide, loaded) == outcome(decide, everything)
        raise Undo

    with pytest.raises(Undo):
        storage._database.write(work)


def decisions(operation):
    """Return all decisions about an operation that need only a part of the queue."""
    key, new = operation.key, make_operation(SERVICE, Kind.UPDATE)
    saved = [replace(operation, state=state) for state in State]
    return [
        lambda found: lifecycle.begin(found, key, "job-2", NOW, after(30)),
        lambda found: lifecycle.acknowledge(found, key, 1, NOW),
        *(lambda found, it=it: lifecycle.save(found, it, None) for it in saved),
        lambda found: lifecycle.Transition(lifecycle.superseded_by(found, new)),
        lambda found: lifecycle.check_idle(found.states, SERVICE),
    ]


def outcome(decide, found):
    try:
        transition = decide(found)
    except errors.PoppyError as exc:
        return type(exc)
    if transition is None:
        return None
    changed = {it.operation_id: it for it in transition.operations}
    return transition.following, transition.releases, changed


class TestStatements:
    def test_begin_takes_three(self, stocked, statements):
        operation = first_operation(stocked, add(stocked))
        statements.clear()
        begin(stocked, operation)
        assert len(statements) == 3

    def test_progress_and_renewal_take_one(self, stocked, statements):
        run = begin(stocked, first_operation(stocked, add(stocked)))
        statements.clear()
        stocked.operations.save(run.operation, None)
        stocked.operations.renew(run.operation.key, run.operation.attempt, after(60))
        assert len(statements) == 2

    def test_end_takes_three(self, stocked, statements):
        service = settle(stocked, add(stocked))
        run = begin(stocked, submit(stocked, service, Kind.PURGE))
        statements.clear()
        finish(stocked, run.operation)
        assert len(statements) == 3

    def test_long_queue_is_not_loaded(self, stocked, statements):
        service = settle(stocked, add(stocked))
        for _ in range(5):
            service = stocked.services.get(service.project_id, service.service_id)
            submit(stocked, service, Kind.PURGE)
        first = stocked.operations.list(service.project_id, service.service_id)[1]

        def loaded(conn):
            return len(rows.load(conn, first.key, service).operations)

        assert stocked._database.write(loaded) == 1

    def test_history_is_not_read(self, stocked, statements, peek):
        operation = first_operation(stocked, add(stocked))
        statements.clear()
        begin(stocked, operation)
        statement, parameters = statements[1]
        plan = [row[3] for row in peek(f"EXPLAIN QUERY PLAN {statement}", *parameters)]
        searches = [step for step in plan if step.startswith("SEARCH")]
        assert len(searches) == 3
        assert all("ix_operations_state (service_id=? AND state=?)" in it for it in searches)
