# SPDX-License-Identifier: Apache-2.0
"""Metrics of runs, calls and workers."""

import datetime

import pytest

from poppy.common import errors, metrics
from poppy.common.http import Quota
from poppy.distributed_task import instrumentation
from poppy.distributed_task.call_pool import Interrupted
from poppy.distributed_task.worker_stats import WorkerStats
from poppy.model.membership import ProviderQuota
from poppy.model.operations import Kind, Operation, State, Step


class Recorder:
    """A double of a metric of the Prometheus client."""

    def __init__(self):
        self.seen = []

    def labels(self, *values):
        recorder = self

        class Child:
            def set(self, value):
                recorder.seen.append((values, value))

            observe = set

        return Child()


@pytest.fixture
def record(monkeypatch):
    """A function that enables an instrument and returns the list of its observations."""

    def record(instrument):
        made = Recorder()
        monkeypatch.setattr(instrument, "_metric", made)
        monkeypatch.setattr(instrument, "_children", {})
        return made.seen

    return record


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.InProgressError("wait", 1.0), "in_progress"),
        (errors.RetryableError("busy"), "retryable"),
        (errors.PermanentError("no"), "permanent"),
        (Interrupted("stop"), "interrupted"),
        (KeyError("bug"), "broken"),
    ],
)
def test_a_call_is_recorded_with_its_outcome(record, error, outcome):
    seen = record(metrics.CALLS)
    with pytest.raises(type(error)), instrumentation.call("dns:mock", "ensure"):
        raise error
    with instrumentation.call("dns:mock", "ensure"):
        pass
    assert [labels for labels, _ in seen] == [
        ("dns:mock", "ensure", outcome),
        ("dns:mock", "ensure", "done"),
    ]


@pytest.mark.parametrize(
    ("step", "kind", "verb"),
    [
        ("provider:mock", Kind.CREATE, "ensure"),
        ("provider:mock", Kind.PURGE, "purge"),
        ("remove:provider:mock", Kind.UPDATE, "remove"),
        ("remove:dns", Kind.DELETE, "remove"),
        ("dns", Kind.DISABLE, "ensure"),
    ],
)
def test_the_verb_follows_from_step_and_kind(step, kind, verb):
    assert instrumentation.verb_of(step, kind) == verb


def operation(state, *steps):
    asked = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=2)
    return Operation(
        project_id="p",
        service_id="s",
        operation_id="o",
        kind=Kind.UPDATE,
        created_at=asked,
        updated_at=asked,
        state=state,
        steps=tuple(Step(name) for name in steps),
    )


def test_a_finished_operation_is_recorded_with_age_and_providers(record):
    runs, ended = record(metrics.RUNS), record(metrics.OPERATIONS)
    done = operation(State.SUCCEEDED, "provider:b", "provider:a", "dns", "remove:provider:c")
    instrumentation.run(done, "succeeded", 0.5)
    assert runs == [(("update", "succeeded"), 0.5)]
    ((labels, age),) = ended
    assert labels == ("update", "succeeded", "a,b,c")
    assert 120 <= age < 130


def test_an_operation_without_provider_steps_has_no_provider(record):
    ended = record(metrics.OPERATIONS)
    instrumentation.run(operation(State.FAILED), "failed", 0.1)
    assert ended[0][0] == ("update", "failed", "none")


@pytest.mark.parametrize("state", [State.WAITING, State.SUCCEEDED])
def test_a_run_that_does_not_end_the_operation_records_only_the_run(record, state):
    runs, ended = record(metrics.RUNS), record(metrics.OPERATIONS)
    instrumentation.run(operation(state), "lost", 0.1)
    assert (len(runs), ended) == (1, [])


class Load:
    busy, hung, down = 3, 1, ("sick",)


class Limited:
    """A provider with a quota."""

    quota = {}


@pytest.fixture
def _enabled(monkeypatch):
    monkeypatch.setattr(metrics, "_recording", True)


@pytest.mark.usefixtures("_enabled")
def test_a_quota_is_recorded_only_when_it_changes(record):
    left, whole = record(metrics.QUOTA), record(metrics.QUOTA_LIMIT)
    provider = Limited()
    worker_stats = WorkerStats(Load(), Load(), Load(), {"cdn": provider}, slots=5)
    assert worker_stats() == (3, 1, ("sick",), ())
    provider.quota = {"requests": Quota(100, 40), "things": Quota(None, 7)}
    assert worker_stats().quotas == (
        ProviderQuota("cdn", "requests", 100, 40),
        ProviderQuota("cdn", "things", None, 7),
    )
    worker_stats()
    provider.quota = {"requests": Quota(100, 39)}
    worker_stats()
    assert left == [
        (("cdn", "requests"), 40),
        (("cdn", "things"), 7),
        (("cdn", "requests"), 39),
    ]
    assert whole == [(("cdn", "requests"), 100), (("cdn", "requests"), 100)]


@pytest.mark.usefixtures("_enabled")
def test_an_error_in_a_quota_does_not_stop_heartbeats(record):
    class Broken:
        @property
        def quota(self):
            raise KeyError("bug")

    assert WorkerStats(Load(), Load(), Load(), {"cdn": Broken()}, slots=5)() == (
        3,
        1,
        ("sick",),
        (),
    )
