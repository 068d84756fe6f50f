# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of operations: every transition, every refusal, and that nothing is lost."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.common import errors
from poppy.model import lifecycle
from poppy.model.lifecycle import Aggregate
from poppy.model.operations import Kind, State
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.testing.builders import NOW, after, make_operation, make_service

SERVICE = make_service()
UNFINISHED = [state for state in State if not state.finished]
OTHERS = [kind for kind in Kind if not kind.deploys]


def op(number, kind=Kind.UPDATE, state=State.QUEUED, **overrides):
    attempt = 0 if state is State.QUEUED else 1
    runner = "job-1" if state is State.RUNNING else None
    fields = {"attempt": attempt, "runner": runner, **overrides}
    return make_operation(SERVICE, kind, operation_id=f"{number}", state=state, **fields)


def running(number=1, **overrides):
    return op(number, state=State.RUNNING, **overrides)


def held(number=1, **overrides):
    return op(number, state=State.SUPERSEDED, runner="job-1", **overrides)


def aggregate(*operations, service=SERVICE):
    return Aggregate(
        service,
        {it.operation_id: it.state for it in operations if is_open(it)},
        {it.operation_id: it for it in operations},
    )


def is_open(operation):
    return operation.is_held or not operation.state.finished


def begin(found, operation, runner="job-2", now=NOW):
    return lifecycle.begin(found, operation.key, runner, now, after(30))


class TestRequeue:
    @pytest.mark.parametrize("state", [State.QUEUED, State.WAITING])
    def test_takes_a_due_operation(self, state):
        stored = op(1, state=state)
        taken = lifecycle.requeue(stored, stored, after(9))
        assert taken == replace(stored, state=State.QUEUED, next_attempt_at=after(9))

    def test_counts_a_lost_run(self):
        stored = running(crashes=2)
        taken = lifecycle.requeue(stored, stored, after(9))
        assert (taken.state, taken.crashes) == (State.QUEUED, 3)

    @pytest.mark.parametrize(
        "change",
        [{"state": State.RUNNING}, {"attempt": 5}, {"next_attempt_at": after(61)}],
        ids=["state", "attempt", "time"],
    )
    def test_leaves_an_operation_that_has_changed(self, change):
        stored = op(1, state=State.WAITING)
        assert lifecycle.requeue(replace(stored, **change), stored, after(9)) is None

    def test_ignores_a_missing_operation(self):
        assert lifecycle.requeue(None, op(1), after(9)) is None


class TestBegin:
    def test_starts_a_run_with_the_next_attempt(self):
        transition = begin(aggregate(op(1)), op(1))
        run = transition.run
        assert run.service is SERVICE
        assert transition.operations == (run.operation,)
        assert run.operation == replace(
            op(1),
            state=State.RUNNING,
            attempt=1,
            runner="job-2",
            next_attempt_at=after(30),
            updated_at=NOW,
        )

    def test_counts_a_lost_run(self):
        run = begin(aggregate(running()), running(), runner="job-1").run
        assert (run.operation.attempt, run.operation.crashes) == (2, 1)

    @pytest.mark.parametrize("state", [State.RUNNING, State.WAITING])
    def test_accepts_what_is_due(self, state):
        stored = op(1, state=state, next_attempt_at=NOW)
        assert begin(aggregate(stored), stored).run.operation.attempt == 2
        with pytest.raises(errors.NotRunnable, match="not due"):
            begin(aggregate(stored), stored, now=after(-0.000001))

    @pytest.mark.parametrize("state", [state for state in State if state.finished])
    def test_refuses_a_finished_operation(self, state):
        stored = op(1, state=state, next_attempt_at=None)
        with pytest.raises(errors.NotRunnable, match="finished"):
            begin(aggregate(stored), stored)

    def test_refuses_a_missing_operation_or_service(self):
        for found in (aggregate(), aggregate(op(1), service=None)):
            with pytest.raises(errors.NotRunnable, match="gone"):
                begin(found, op(1))

    @pytest.mark.parametrize(
        "other",
        [
            op(1),
            op(1, Kind.PURGE, State.WAITING),
            op(1, attempt=1),
            running(1),
            running(3),
            held(1, next_attempt_at=after(1)),
            held(3, next_attempt_at=after(1)),
        ],
        ids=["queued", "waiting", "requeued", "running", "running-later", "held", "held-later"],
    )
    def test_waits_for_other_operations(self, other):
        with pytest.raises(errors.NotRunnable, match=f"wait for {other.operation_id}"):
            begin(aggregate(op(2), other), op(2))

    @pytest.mark.parametrize("other", [op(1), running(1), running(3)])
    def test_needs_only_the_state_of_queued_and_running_operations(self, other):
        assert lifecycle.needed_to_begin(aggregate(other).states) == []
        found = aggregate(op(2), other)
        found.operations.pop(other.operation_id)
        with pytest.raises(errors.NotRunnable, match="wait"):
            begin(found, op(2))

    @pytest.mark.parametrize(
        "other",
        [op(3), op(1, state=State.WAITING), op(3, state=State.WAITING)],
        ids=["later", "parked", "parked-later"],
    )
    def test_passes_other_operations(self, other):
        stored = op(2, Kind.PURGE)
        transition = begin(aggregate(stored, other), stored)
        assert len(transition.operations) == 1

    @pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
    def test_update_supersedes_a_waiting_deployment(self, kind):
        transition = begin(aggregate(op(2), op(1, kind, State.WAITING)), op(2))
        _begun, ended = transition.operations
        assert (ended.operation_id, ended.state) == ("1", State.SUPERSEDED)
        assert (ended.next_attempt_at, ended.updated_at) == (None, NOW)

    def test_ends_leases_that_have_lapsed(self):
        stored, lease = op(2, Kind.DELETE), held(1, next_attempt_at=NOW)
        transition = begin(aggregate(stored, lease), stored)
        assert transition.operations[1:] == (replace(lease, next_attempt_at=None),)


class TestSave:
    def test_progress_changes_nothing_else(self):
        stored = running()
        transition = lifecycle.save(aggregate(stored, op(2)), replace(stored, error="x"), None)
        assert transition == lifecycle.Transition((replace(stored, error="x"),))

    def test_details_make_a_new_revision(self):
        details = {"mock": ProviderDetail(ProviderStatus.DEPLOYED)}
        saved = replace(running(), updated_at=after(5))
        transition = lifecycle.save(aggregate(running()), saved, details)
        assert transition.service == replace(
            SERVICE,
            provider_details=details,
            updated_at=after(5),
            revision=SERVICE.revision + 1,
        )

    @pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
    def test_end_makes_the_first_queued_operation_due(self, state):
        saved = replace(running(), state=state, updated_at=after(5))
        transition = lifecycle.save(aggregate(running(), op(3), op(2)), saved, None)
        assert transition.following == replace(op(2), next_attempt_at=after(5))
        ended, following = transition.operations
        assert (ended.state, ended.next_attempt_at) == (state, None)
        assert following is transition.following

    @pytest.mark.parametrize("kind", list(Kind))
    def test_parking_lets_others_begin_only_if_it_deploys(self, kind):
        stored = running(kind=kind)
        saved = replace(stored, state=State.WAITING)
        transition = lifecycle.save(aggregate(stored, op(2)), saved, None)
        assert (transition.following is not None) is kind.deploys

    def test_success_of_a_deployment_releases_dropped_domains(self):
        saved = replace(running(), state=State.SUCCEEDED)
        assert lifecycle.save(aggregate(running(), op(2, Kind.PURGE)), saved, None).releases

    @pytest.mark.parametrize("state", UNFINISHED)
    def test_nothing_is_released_before_another_deployment(self, state):
        saved = replace(running(), state=State.SUCCEEDED)
        found = aggregate(running(), op(2, Kind.PURGE), op(3, state=state))
        assert not lifecycle.save(found, saved, None).releases

    @pytest.mark.parametrize(
        ("kind", "state"),
        [(Kind.UPDATE, State.FAILED), *((kind, State.SUCCEEDED) for kind in OTHERS)],
    )
    def test_nothing_is_released_by_other_ends(self, kind, state):
        stored = running(kind=kind)
        saved = replace(stored, state=state)
        assert not lifecycle.save(aggregate(stored), saved, None).releases

    @pytest.mark.parametrize(
        "stored",
        [
            None,
            op(1),
            op(1, state=State.WAITING),
            running(attempt=2),
            running(runner="job-2"),
            held(attempt=2),
            held(next_attempt_at=None),
            op(1, state=State.FAILED),
        ],
    )
    def test_refuses_a_run_that_lost_its_right(self, stored):
        found = aggregate(*([stored] if stored else []))
        for call in (lambda: lifecycle.save(found, running(), None), lambda: remove(found)):
            with pytest.raises(errors.Fenced) as caught:
                call()
            assert not isinstance(caught.value, errors.Superseded)

    def test_refuses_a_superseded_run_that_holds_the_service(self):
        for call in (
            lambda: lifecycle.save(aggregate(held()), running(), None),
            lambda: remove(aggregate(held())),
        ):
            with pytest.raises(errors.Superseded):
                call()

    def test_refuses_a_run_without_a_service(self):
        with pytest.raises(errors.Fenced):
            lifecycle.save(aggregate(running(), service=None), running(), None)


class TestRenew:
    @pytest.mark.parametrize("stored", [running(), held()], ids=["running", "held"])
    def test_extends_the_lease(self, stored):
        renewed = lifecycle.renew(stored, stored.key, 1, after(90))
        assert renewed == replace(stored, next_attempt_at=after(90))

    @pytest.mark.parametrize(
        "stored", [None, op(1), running(attempt=2), held(attempt=2), held(next_attempt_at=None)]
    )
    def test_refuses_a_run_that_lost_its_right(self, stored):
        with pytest.raises(errors.Fenced) as caught:
            lifecycle.renew(stored, op(1).key, 1, after(90))
        assert not isinstance(caught.value, errors.Superseded)


class TestAcknowledge:
    def test_ends_the_lease_and_makes_the_next_operation_due(self):
        found = aggregate(held(), op(3), op(2, Kind.DELETE))
        transition = lifecycle.acknowledge(found, held().key, 1, after(3))
        following = replace(op(2, Kind.DELETE), next_attempt_at=after(3))
        assert transition.following == following
        assert transition.operations == (replace(held(), next_attempt_at=None), following)

    def test_may_have_nothing_to_wake(self):
        transition = lifecycle.acknowledge(aggregate(held()), held().key, 1, NOW)
        assert (len(transition.operations), transition.following) == (1, None)

    @pytest.mark.parametrize(
        "found",
        [
            aggregate(),
            aggregate(held(), service=None),
            aggregate(running()),
            aggregate(held(attempt=2)),
            aggregate(held(next_attempt_at=None)),
        ],
    )
    def test_does_nothing_for_a_run_that_holds_nothing(self, found):
        assert lifecycle.acknowledge(found, held().key, 1, NOW) is None


class TestRemove:
    def test_supersedes_everything_else_without_leases(self):
        before = [op(2), op(3, state=State.WAITING), held(4), op(5, state=State.FAILED)]
        done, *ended = remove(aggregate(running(), *before)).operations
        assert (done.state, done.next_attempt_at) == (State.SUCCEEDED, None)
        assert [it.operation_id for it in ended] == ["2", "3", "4"]
        assert {(it.state, it.next_attempt_at) for it in ended} == {(State.SUPERSEDED, None)}


class TestSubmit:
    def test_delete_supersedes_everything_unfinished(self):
        before = [op(1), op(2, state=State.WAITING), running(3)]
        delete = op(5, Kind.DELETE, updated_at=after(9))
        finished = op(4, state=State.FAILED)
        ended = lifecycle.superseded_by(aggregate(*before, finished), delete)
        assert [it.operation_id for it in ended] == ["1", "2", "3"]
        assert {(it.state, it.updated_at) for it in ended} == {(State.SUPERSEDED, after(9))}
        assert [it.is_held for it in ended] == [False, False, True]

    def test_delete_leaves_a_lease_on_the_service(self):
        assert lifecycle.superseded_by(aggregate(held()), op(2, Kind.DELETE)) == ()

    @pytest.mark.parametrize("waiting", [op(1, state=State.WAITING), op(1, attempt=1)])
    def test_update_supersedes_a_deployment_that_waits(self, waiting):
        (ended,) = lifecycle.superseded_by(aggregate(waiting), op(2))
        assert (ended.state, ended.next_attempt_at) == (State.SUPERSEDED, None)

    @pytest.mark.parametrize("other", [op(1), running(), held(), op(1, Kind.PURGE, State.WAITING)])
    def test_update_leaves_other_operations(self, other):
        assert lifecycle.superseded_by(aggregate(other), op(2)) == ()

    @pytest.mark.parametrize("kind", [kind for kind in OTHERS if kind is not Kind.DELETE])
    def test_other_kinds_supersede_nothing(self, kind):
        found = aggregate(op(1, state=State.WAITING))
        assert lifecycle.needed_to_submit(found.states, op(2, kind)) == ()
        assert lifecycle.superseded_by(found, op(2, kind)) == ()

    def test_service_gets_its_next_revision(self):
        changed = replace(SERVICE, disabled=True, created_at=after(7))
        assert lifecycle.replaced(SERVICE, changed) == replace(
            SERVICE, disabled=True, revision=SERVICE.revision + 1
        )

    def test_missing_or_changed_service_is_refused(self):
        with pytest.raises(errors.NotFound):
            lifecycle.replaced(None, SERVICE)
        with pytest.raises(errors.Changed):
            lifecycle.replaced(replace(SERVICE, revision=9), SERVICE)

    def test_only_the_failed_operation_that_was_read_is_reopened(self):
        failed = op(1, state=State.FAILED)
        lifecycle.check_failed(failed, failed)
        for stored in (None, replace(failed, attempt=2), op(1), op(1, state=State.SUCCEEDED)):
            with pytest.raises(errors.Changed):
                lifecycle.check_failed(stored, failed)

    def test_amendment_needs_an_idle_service(self):
        lifecycle.check_idle({}, SERVICE)
        with pytest.raises(errors.ServiceBusy):
            lifecycle.check_idle({"1": "queued"}, SERVICE)


def remove(found):
    return lifecycle.remove(found, replace(running(), state=State.SUCCEEDED))


class Store:
    """A store in memory, with a clock; loads either everything or only what is needed."""

    def __init__(self):
        self.service = SERVICE
        self.operations = {}
        self.ids = itertools.count(100)
        self.clock = 0.0
        # The runs that workers believe to have.
        self.runs = []

    @property
    def now(self):
        return after(self.clock)

    def open(self):
        return {name: it for name, it in self.operations.items() if is_open(it)}

    def load(self, *needed):
        """Return the aggregate with only these operations."""
        states = {name: it.state for name, it in self.open().items()}
        known = {name: self.operations[name] for name in needed if name in self.operations}
        return Aggregate(self.service, states, known)

    def store(self, operations):
        assert len({it.operation_id for it in operations}) == len(operations)
        self.operations.update((it.operation_id, it) for it in operations)

    def decide(self, operation_id, needed, decide):
        """Decide with what is needed, and check that everything leads to the same decision."""
        states = {name: it.state for name, it in self.open().items()}
        outcomes = []
        for found in (self.load(operation_id, *needed(states)), self.load(*self.operations)):
            try:
                outcomes.append(decide(found))
            except errors.PoppyError as exc:
                outcomes.append((type(exc), str(exc)))
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    def submit(self, kind):
        if self.service is None:
            return
        new = op(next(self.ids), kind, updated_at=self.now, next_attempt_at=self.now)
        ended = self.decide(
            new.operation_id,
            lambda states: lifecycle.needed_to_submit(states, new),
            lambda found: lifecycle.superseded_by(found, new),
        )
        self.store([*ended, new])

    def begin(self, operation_id, runner):
        key = self.operations[operation_id].key
        outcome = self.decide(
            operation_id,
            lifecycle.needed_to_begin,
            lambda found: lifecycle.begin(found, key, runner, self.now, after(self.clock + 30)),
        )
        if isinstance(outcome, lifecycle.Transition):
            self.store(outcome.operations)
            self.runs.append(outcome.run.operation)

    def save(self, run, state):
        again = after(self.clock + 20)
        saved = replace(run, state=state, next_attempt_at=again, updated_at=self.now)
        if run.kind is Kind.DELETE and state is State.SUCCEEDED:
            outcome = self.decide(
                run.operation_id,
                lambda states: states,
                lambda found: lifecycle.remove(found, saved),
            )
        else:
            outcome = self.decide(
                run.operation_id,
                lambda states: lifecycle.needed_to_save(states, saved),
                lambda found: lifecycle.save(found, saved, None),
            )
        if isinstance(outcome, lifecycle.Transition):
            if run.kind is Kind.DELETE and state is State.SUCCEEDED:
                self.service = None
            self.store(outcome.operations)
        elif outcome[0] is errors.Superseded:
            self.acknowledge(run)
        self.runs.remove(run)

    def acknowledge(self, run):
        outcome = self.decide(
            run.operation_id,
            lifecycle.needed_to_acknowledge,
            lambda found: lifecycle.acknowledge(found, run.key, run.attempt, self.now),
        )
        assert outcome is not None
        self.store(outcome.operations)

    def renew(self, run):
        stored = self.operations[run.operation_id]
        try:
            renewed = lifecycle.renew(stored, run.key, run.attempt, after(self.clock + 30))
        except errors.Fenced:
            self.runs.remove(run)
        else:
            self.store([renewed])
            self.runs[self.runs.index(run)] = replace(run, next_attempt_at=renewed.next_attempt_at)

    def requeue(self):
        for it in list(self.open().values()):
            due = not it.state.finished and it.next_attempt_at <= self.now
            taken = due and lifecycle.requeue(it, it, after(self.clock + 10))
            if taken:
                self.store([taken])

    def check(self):
        """Check what must hold at any time."""
        everything = list(self.operations.values())
        unfinished = [it for it in everything if not it.state.finished]
        assert sum(it.state is State.RUNNING for it in everything) <= 1
        # Whatever is unfinished is found by its time; nothing else is.
        assert all(it.next_attempt_at is not None for it in unfinished)
        assert all(
            it.next_attempt_at is None for it in everything if it.state.finished and not it.is_held
        )
        assert self.service is not None or not self.open()
        # Operations run one at a time. A run whose job was taken over early is fenced, and does
        # not count.
        live = {
            it.operation_id
            for it in self.runs
            if it.next_attempt_at > self.now
            and it.attempt == self.operations[it.operation_id].attempt
        }
        assert len(live) <= 1


ACTIONS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(list(Kind))),
    st.tuples(st.just("begin"), st.integers(0, 9), st.sampled_from(["job-1", "job-2"])),
    st.tuples(
        st.just("save"),
        st.integers(0, 9),
        st.sampled_from([State.WAITING, State.QUEUED, State.SUCCEEDED, State.FAILED]),
    ),
    st.tuples(st.just("renew"), st.integers(0, 9)),
    st.tuples(st.just("requeue")),
    st.tuples(st.just("wait"), st.sampled_from([1, 15, 40])),
    st.tuples(st.just("die"), st.integers(0, 9)),
)


def perform(store, name, *arguments):
    if name == "submit":
        store.submit(*arguments)
    elif name == "requeue":
        store.requeue()
    elif name == "wait":
        store.clock += arguments[0]
    elif name == "begin":
        known = sorted(store.operations)
        if known:
            store.begin(known[arguments[0] % len(known)], arguments[1])
    elif store.runs:
        run = store.runs[arguments[0] % len(store.runs)]
        if name == "die":
            store.runs.remove(run)
        else:
            getattr(store, name)(run, *arguments[1:])


@settings(max_examples=300, deadline=None)
@given(st.lists(ACTIONS, max_size=40))
def test_no_operation_is_lost_doubled_or_stuck(actions):
    store = Store()
    store.submit(Kind.CREATE)
    for action in actions:
        before = dict(store.operations)
        perform(store, *action)
        store.check()
        assert before.keys() <= store.operations.keys()
        for name, was in before.items():
            now = store.operations[name]
            assert now.attempt >= was.attempt
            # What has finished stays finished, and a superseded lease only ends.
            assert not was.state.finished or (now.state, now.attempt) == (was.state, was.attempt)
    drain(store)


def drain(store):
    """Run everything to its end, as live workers do after all others have died."""
    store.runs.clear()
    for _ in range(3 * len(store.operations) + 3):
        if not store.open():
            return
        store.clock += 40
        store.requeue()
        for operation_id in sorted(store.open()):
            store.begin(operation_id, "job-3")
            for run in list(store.runs):
                store.save(run, State.SUCCEEDED)
            store.check()
    assert not store.open()
