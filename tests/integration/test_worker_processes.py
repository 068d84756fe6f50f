# SPDX-License-Identifier: Apache-2.0
"""Workers as processes: how they stop and reload, and what happens to a job that kills them."""

import contextlib
import signal
import textwrap
import time

import pytest

from poppy.bootstrap import Bootstrap
from poppy.common import config
from poppy.model.operations import State
from tests.real.poppy import PROJECT, Installation, wait

TASKFLOW = "drivers:distributed_task:taskflow"


@pytest.fixture
def install(tmp_path):
    """A function that sets up an installation with a running server and a flavor."""
    with contextlib.ExitStack() as stack:

        def install(options, provider="mock"):
            made = Installation(tmp_path, options)
            stack.callback(made.session.close)
            made.sync()
            stack.enter_context(made.daemon("poppy-server"))
            made.wait_until_up()
            made.create_flavor(provider)
            return made

        yield install


def operation_of(installation, url):
    boot = Bootstrap(config.load([], files=[str(installation.config)]))
    try:
        (operation,) = boot.storage.operations.list(PROJECT, url.rpartition("/")[2])
        return operation
    finally:
        boot.close()


def stop(worker):
    """Send SIGTERM; return the exit status and the seconds that it took."""
    begin = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    return worker.wait(timeout=30), time.monotonic() - begin


def test_stopping_worker_finishes_its_runs(install):
    installation = install(
        {"drivers:provider:mock": {"latency": 3}, TASKFLOW: {"shutdown_grace": 20}}
    )
    with installation.daemon("poppy-worker") as worker:
        url = installation.create_service()
        wait(lambda: operation_of(installation, url).state is State.RUNNING, 20)
        status, _seconds = stop(worker)
    assert status == 0
    assert installation.status(url) == "deployed"


def test_stopping_worker_hands_back_unfinished_runs(install):
    installation = install(
        {
            "drivers:provider:mock": {"latency": 8},
            TASKFLOW: {"shutdown_grace": 1, "claim_lease": 300, "run_lease": 300},
        }
    )
    with installation.daemon("poppy-worker") as worker:
        url = installation.create_service()
        wait(lambda: operation_of(installation, url).state is State.RUNNING, 20)
        status, seconds = stop(worker)
        assert status == 0
        assert seconds < 6, "it does not wait for the call"
    operation = operation_of(installation, url)
    assert (operation.state, operation.crashes, operation.failures) == (State.QUEUED, 0, 0)
    # No lease has to expire: another worker continues at once.
    with installation.daemon("poppy-worker"):
        wait(lambda: operation_of(installation, url).state is State.RUNNING, 10)
        installation.wait_for(url, "deployed")
        table = installation.manage("workers", "list").stdout.splitlines()
        assert table[0].startswith("host ")
        assert len(table) == 3, "the first worker has left"
    assert len(list(installation.objects.glob("*.json"))) == 1


def test_operation_that_kills_its_workers_fails(install, tmp_path, monkeypatch):
    package = tmp_path / "third-party"
    info = package / "poison-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[poppy.provider]\npoison = poison:Poison\n")
    (package / "poison.py").write_text(
        textwrap.dedent("""
            import os
            from poppy.provider.mock import MockProvider

            class Poison(MockProvider):
                def ensure(self, service, known):
                    if service.spec.name == "poison":
                        os._exit(9)
                    return super().ensure(service, known)
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(package))
    installation = install(
        {"drivers": {"providers": "poison"}, TASKFLOW: {"max_crashes": 2, "claim_lease": 1}},
        provider="poison",
    )
    with installation.daemon("poppy-worker") as worker:
        url = installation.create_service("poison.example.com", name="poison")
        installation.wait_for(url, "failed", timeout=60)
        other = installation.create_service("good.example.com")
        installation.wait_for(other, "deployed")
        assert worker.poll() is None
    operation = operation_of(installation, url)
    assert operation.state is State.FAILED
    assert "2 times in a row its worker died" in operation.error
    errors = installation.session.get(url, timeout=10).json()["errors"]
    assert errors == [{"message": operation.error}]


def test_worker_with_too_many_hung_calls_is_replaced(install):
    installation = install(
        {
            "drivers:provider:mock": {"latency": 600},
            TASKFLOW: {"step_timeout": 1, "max_hung_calls": 1, "retry_base": 600},
        }
    )
    log = installation.directory / "poppy.log"
    with installation.daemon("poppy-worker") as worker:
        url = installation.create_service()
        wait(lambda: "starting a new one" in log.read_text(), 30)
        wait(lambda: installation.manage("workers", "list").stdout.count("\n") == 3, 30)
        assert worker.poll() is None
        status, seconds = stop(worker)
        assert status == 0
        assert seconds < 10
    operation = operation_of(installation, url)
    assert operation.failures >= 1
    assert operation.crashes == 0


def test_sighup_reloads_options_without_a_restart(install):
    installation = install({TASKFLOW: {"max_failures": 2}})
    log = installation.directory / "poppy.log"
    text = installation.config.read_text()
    with installation.daemon("poppy-worker") as worker:
        installation.wait_for(installation.create_service("a.example.com"), "deployed")

        def reload(text, words):
            before = log.read_text().count(words)
            installation.config.write_text(text)
            worker.send_signal(signal.SIGHUP)
            # Logged by the parent and by the child.
            wait(lambda: log.read_text().count(words) >= before + 2, 10)

        reload(text.replace("[DEFAULT]", "[DEFAULT]\ndebug = true"), "Configuration reloaded")
        installation.wait_for(installation.create_service("b.example.com"), "deployed")
        assert " DEBUG poppy.distributed_task" in log.read_text()
        reload(text.replace("max_failures = 2", "max_failures = no"), "Keeping the previous")
        installation.wait_for(installation.create_service("c.example.com"), "deployed")
        assert worker.poll() is None
