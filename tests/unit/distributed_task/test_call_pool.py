# SPDX-License-Identifier: Apache-2.0
"""Driver calls, some of which hang."""

import threading
import time

import pytest

from poppy.common import errors
from poppy.distributed_task.call_pool import CallPool, Interrupted


@pytest.fixture
def ended():
    return []


@pytest.fixture
def calls(ended):
    made = CallPool(2, lambda: ended.append("too many"))
    yield made
    made.close()


def nothing():
    pass


def wait(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_exception_of_a_call_is_raised(calls):
    with pytest.raises(errors.PermanentError, match="no"):
        calls.run(lambda: (_ for _ in ()).throw(errors.PermanentError("no")), 5, nothing)
    calls.run(nothing, 5, nothing)


def test_threads_are_reused(calls):
    seen = set()
    for _ in range(20):
        calls.run(lambda: seen.add(threading.get_ident()), 5, nothing)
        wait(lambda: calls._idle)
    assert len(seen) == 1


def test_calls_run_in_parallel(calls):
    barrier = threading.Barrier(4, timeout=5)
    threads = [
        threading.Thread(target=calls.run, args=(barrier.wait, 5, nothing)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert not barrier.broken


def test_a_hung_call_is_abandoned_and_its_late_end_is_handled(calls, ended):
    go = threading.Event()
    with pytest.raises(errors.RetryableError, match=r"within 0\.05 s"):
        calls.run(go.wait, 0.05, lambda: ended.append("late"))
    assert calls.hung == 1
    calls.run(nothing, 5, nothing)
    assert ended == []
    go.set()
    wait(lambda: ended == ["late"])
    assert calls.hung == 0


def test_a_call_that_ends_in_time_is_not_late(calls, ended):
    calls.run(nothing, 5, lambda: ended.append("late"))
    wait(lambda: calls._idle)
    assert ended == []


def test_an_error_in_the_late_handler_does_not_break_the_pool(calls):
    go = threading.Event()
    with pytest.raises(errors.RetryableError):
        calls.run(go.wait, 0.05, lambda: 1 / 0)
    go.set()
    wait(lambda: calls.hung == 0)
    calls.run(nothing, 5, nothing)


def test_too_many_hung_calls_are_reported(calls, ended):
    go = threading.Event()
    for expected in ([], ["too many"]):
        with pytest.raises(errors.RetryableError):
            calls.run(go.wait, 0.02, nothing)
        assert ended == expected
    go.set()


def test_an_interrupted_worker_does_not_wait_for_calls(calls):
    go, caught = threading.Event(), []

    def waiter():
        try:
            calls.run(go.wait, 60, nothing)
        except Interrupted as exc:
            caught.append(exc)

    thread = threading.Thread(target=waiter)
    thread.start()
    wait(lambda: calls._waited_for)
    calls.interrupt()
    thread.join(5)
    assert len(caught) == 1
    with pytest.raises(Interrupted):
        calls.run(nothing, 5, nothing)
    go.set()
