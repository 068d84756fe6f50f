# SPDX-License-Identifier: Apache-2.0
"""Engines run flows; they are kept, but not what they have run."""

import concurrent.futures
import contextvars
import gc
import logging
import threading
import time
import weakref

import pytest
import taskflow.task
from taskflow.patterns import linear_flow, unordered_flow

from poppy.common import tracing
from poppy.distributed_task import engines
from poppy.distributed_task.engines import Engines
from poppy.distributed_task.flows import Shape
from poppy.model.operations import Kind

SHAPE = Shape(Kind.CREATE, ("a", "b"))


class Noted(taskflow.task.Task):
    """A task that records its begin and end, and waits at a barrier in between."""

    def __init__(self, name, notes, barrier=None, error=None):
        super().__init__(name)
        self._notes = notes
        self._barrier = barrier
        self._error = error

    def execute(self, run):
        self._notes.append((f"{self.name} begins", run))
        if self._barrier:
            self._barrier.wait(timeout=10)
        if self._error:
            raise self._error
        self._notes.append((f"{self.name} ends", run))


class Called(taskflow.task.Task):
    """A task that calls a function with the run."""

    def __init__(self, name, function):
        super().__init__(name)
        self._function = function

    def execute(self, run):
        self._function(run)


class Run:
    """Something that a flow runs for."""


@pytest.fixture
def pool():
    with tracing.Threads(4) as made:
        yield made


def flow_of(*stages):
    flow = linear_flow.Flow("it")
    for stage in stages:
        flow.add(unordered_flow.Flow("beside").add(*stage) if len(stage) > 1 else stage[0])
    return flow


def made(pool, *stages):
    return Engines(lambda shape: flow_of(*stages), pool)


def counted(pool, function=lambda run: None):
    """Return engines, and a list of the shapes of those that were made."""
    shapes = []

    def build(shape):
        shapes.append(shape)
        return flow_of([Called("first", function)], [Called(name, function) for name in "ab"])

    return Engines(build, pool), shapes


def test_tasks_of_a_stage_run_in_parallel_and_stages_in_sequence(pool):
    notes = []
    barrier = threading.Barrier(2)
    sides = [Noted(name, notes, barrier) for name in "ab"]
    made(pool, [Noted("first", notes)], sides, [Noted("last", notes)]).run(SHAPE, {"run": "run"})
    assert [note for note, run in notes[:2]] == ["first begins", "first ends"]
    assert {note for note, run in notes[2:4]} == {"a begins", "b begins"}
    assert {note for note, run in notes[4:6]} == {"a ends", "b ends"}
    assert [note for note, run in notes[6:]] == ["last begins", "last ends"]
    assert {run for note, run in notes} == {"run"}


def test_an_error_stops_later_stages_but_not_parallel_tasks(pool, caplog):
    notes = []
    barrier = threading.Barrier(2)
    broken = Noted("broken", notes, barrier, ValueError("broken"))
    stages = [[broken, Noted("beside", notes, barrier)], [Noted("behind", notes)]]
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="broken"):
        made(pool, *stages).run(SHAPE, {"run": "run"})
    assert {note for note, run in notes} == {"broken begins", "beside begins", "beside ends"}
    assert not caplog.records


@pytest.mark.parametrize("earlier", ["a", "b", None])
def test_the_first_error_of_parallel_tasks_in_the_flow_is_raised(pool, caplog, earlier):
    first, second = ValueError("first"), KeyError("second")
    first.__cause__ = cause = OSError("why")
    both_run = threading.Barrier(2)

    def fail(name, error):
        def function(run):
            both_run.wait(timeout=10)
            if earlier not in (None, name):
                time.sleep(0.3)  # until TaskFlow has seen the other's error
            raise error

        return Called(name, function)

    stage = [fail("a", first), fail("b", second)]
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="first") as caught:
        made(pool, stage, [Noted("behind", [])]).run(SHAPE, {"run": "run"})
    assert caught.value is first
    assert caught.value.__cause__ is cause
    assert not caplog.records


def test_a_task_alone_runs_in_the_calling_thread_and_others_in_the_pool(pool):
    threads = []

    def note(run):
        threads.append(threading.current_thread())

    engines_, _ = counted(pool, note)
    engines_.run(SHAPE, {"run": None})
    assert threads[0] is threading.current_thread()
    assert threading.current_thread() not in threads[1:]
    assert len(threads) == 3


def test_tasks_in_the_pool_run_in_the_callers_context(pool):
    variable = contextvars.ContextVar("variable", default=None)
    seen = []
    engines_, _ = counted(pool, lambda run: seen.append((run, variable.get())))
    for number in range(3):
        variable.set(number)
        engines_.run(SHAPE, {"run": number})
    assert seen == [(number, number) for number in range(3) for _ in range(3)]


def test_an_engine_is_used_again_for_the_same_shape(pool):
    engines_, shapes = counted(pool)
    for _ in range(3):
        engines_.run(SHAPE, {"run": None})
        engines_.run(Shape(Kind.DELETE, ("a",)), {"run": None})
    assert shapes == [SHAPE, Shape(Kind.DELETE, ("a",))]


def test_an_engine_is_not_used_by_two_threads(pool):
    engines_, shapes = counted(pool)
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        barrier = threading.Barrier(2)

        def work():
            for _ in range(3):
                barrier.wait(timeout=10)
                engines_.run(SHAPE, {"run": None})

        for ended in [threads.submit(work) for _ in range(2)]:
            ended.result()
    assert shapes == [SHAPE, SHAPE]


def test_a_thread_keeps_the_engines_it_used_last(pool):
    engines_, shapes = counted(pool)
    several = [Shape(Kind.PURGE, (str(number),)) for number in range(engines.KEPT + 1)]
    for shape in several:
        engines_.run(shape, {"run": None})
    engines_.run(several[-1], {"run": None})
    assert shapes == several
    engines_.run(several[0], {"run": None})
    assert shapes == [*several, several[0]]


def test_an_engine_that_failed_is_not_used_again(pool):
    ran = []

    def fail(run):
        ran.append(run)
        if run == 1:
            raise ValueError

    engines_, shapes = counted(pool, fail)
    for number in range(3):
        try:
            engines_.run(SHAPE, {"run": number})
        except ValueError:
            assert number == 1
    assert shapes == [SHAPE, SHAPE]
    assert ran == [0, 0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_nothing_of_a_finished_run_is_kept(pool, fails, level):
    def work(run):
        if fails and threading.current_thread() is not threading.main_thread():
            raise ValueError(run)

    engines_, _ = counted(pool, work)
    log = logging.getLogger(engines.__name__)
    before = log.level
    log.setLevel(level)
    # Otherwise pytest keeps the log records.
    log.propagate = False
    try:
        run = Run()
        try:
            engines_.run(SHAPE, {"run": run})
        except ValueError:
            assert fails
    finally:
        log.setLevel(before)
        log.propagate = True
    forgotten = weakref.ref(run)
    del run
    gc.collect()
    assert forgotten() is None


def test_a_flow_without_tasks_does_nothing(pool):
    made(pool).run(SHAPE, {"run": None})


def test_a_listener_logs_tasks_at_debug_as_taskflow_does(pool, caplog):
    engines_, _ = counted(pool)
    with caplog.at_level(logging.DEBUG, engines.__name__):
        engines_.run(SHAPE, {"run": None})
    assert "has moved task 'first'" in caplog.text
