# SPDX-License-Identifier: Apache-2.0
"""A whole Poppy on real parts, to be broken: daemons as processes, and a double outside."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors
from tests.chaos import checker, plugin
from tests.chaos.checker import Violation, World
from tests.chaos.control import Double
from tests.chaos.tenant import Journal, Tenant
from tests.real.cassandra import Cassandra
from tests.real.poppy import Installation, kill
from tests.real.zookeeper import ZooKeeper

#: Seconds. Small, so that what has to time out does so soon; large enough for a busy machine.
SESSION_TIMEOUT = 2.0
RUN_LEASE = 3.0
CALL_TIMEOUT = 2.0
#: Seconds within which everything that was accepted has to be finished once all is well.
SETTLE = 180.0

_BOARD: Mapping[str, Any] = {
    "jobboard_backend_type": "zookeeper",
    "jobboard_session_timeout": SESSION_TIMEOUT,
    "jobboard_timeout": 1.0,
    "run_lease": RUN_LEASE,
    "concurrency": 20,
    "redelivery": 2.0,
    "poll_interval": 0.05,
    "dispatch_interval": 0.2,
    "retry_base": 0.2,
    "retry_ceiling": 1.0,
    # Neither outages nor kills are a reason to give up here.
    "max_failures": 1000,
    "max_crashes": 1000,
    "shutdown_grace": 5,
}


class Site:
    """Cassandra, ZooKeeper, a double, one poppy-server and any number of poppy-workers.

    ``with Site(directory) as site:`` starts all but workers, with a flavor ``standard``.

    Args:
        directory: for the configuration and the log.
        seed: of what the double leaves to chance.
        options: more options of Poppy, by name by group.

    Attributes:
        cassandra: the node.
        zookeeper: the server.
        double: the provider and the zone.
        journal: of all tenants.
        workers: the daemons that were started and not ended, the oldest first.
        log: of all daemons.
    """

    def __init__(
        self,
        directory: Path,
        seed: int = 0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._directory = directory
        self._options = options or {}
        self.cassandra = Cassandra(durable=True)
        self.zookeeper = ZooKeeper()
        self.double = Double(seed)
        self.journal = Journal()
        self.workers: list[subprocess.Popen[str]] = []
        self.log = directory / "poppy.log"
        self._told: set[Violation] = set()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for part in (self.cassandra, self.zookeeper, self.double):
                stack.enter_context(part)
            self.installation = Installation(
                self._directory, self._configuration(), plugin.install(self._directory)
            )
            stack.enter_context(self.installation.session)
            synced = self.installation.manage("db", "sync")
            assert synced.returncode == 0, synced.stderr
            self._daemons = stack.enter_context(contextlib.ExitStack())
            self.start_server()
            self.installation.create_flavor(checker.PROVIDER)
            conf = config.load([], files=[str(self.installation.config)])
            self._boot = Bootstrap(conf)
            stack.callback(self._boot.close)
            stack.callback(self.end_workers)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def tenant(self, project_id: str) -> Tenant:
        """A client that writes into the journal."""
        return Tenant(self.installation.base, project_id, self.journal)

    def operations(self, project_id: str, service_id: str) -> Any:
        """As they are stored."""
        return self._boot.storage.operations.list(project_id, service_id)

    def names(self, project_id: str) -> set[str]:
        """Of the services of a project, as they are stored."""
        listed = self._boot.storage.services.list(project_id, None, 100)
        return {service.spec.name for service in listed}

    def start_server(self) -> None:
        """Start the server, and wait until it answers."""
        self.server = self._daemons.enter_context(self.installation.daemon("poppy-server"))
        self.installation.wait_until_up()

    def restore_server(self) -> None:
        """Start the server if it does not run."""
        if self.server.poll() is not None:
            self.start_server()

    def kill_server(self) -> None:
        """End the server as a power cut would."""
        kill(self.server)

    def start_worker(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a worker, with more arguments if need be; it finds its way by itself."""
        daemon = self.installation.daemon("poppy-worker", *arguments)
        worker = self._daemons.enter_context(daemon)
        self.workers.append(worker)
        return worker

    def worker_of(self, pid: int) -> subprocess.Popen[str]:
        """The daemon that a process is of."""
        group = os.getpgid(pid)
        return next(worker for worker in self.workers if worker.pid == group)

    def kill_worker(self, worker: subprocess.Popen[str]) -> None:
        """End a worker as a power cut would."""
        self.workers.remove(worker)
        kill(worker)

    def end_worker(self, worker: subprocess.Popen[str]) -> int:
        """Ask a worker to end; returns its exit status."""
        # Before it has a child it has no manners either.
        wait(lambda: _has_children(worker.pid))
        self.workers.remove(worker)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)
        return worker.returncode

    def end_workers(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in list(self.workers):
            self.kill_worker(worker)

    def freeze(self, worker: subprocess.Popen[str]) -> None:
        """Have a worker hang, with all its connections."""
        os.killpg(worker.pid, signal.SIGSTOP)

    def thaw(self, worker: subprocess.Popen[str]) -> None:
        """Go on after :meth:`freeze`."""
        os.killpg(worker.pid, signal.SIGCONT)

    def look(self) -> World:
        """What there is now; waits for a store that was away."""
        deadline = time.monotonic() + SETTLE
        while True:
            try:
                return checker.look(self._boot.storage, self.journal, self.double)
            except errors.Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def settle(self, timeout: float = SETTLE) -> World:
        """Wait until nothing is under way any more, or the time is up; gives what there is."""
        deadline = time.monotonic() + timeout
        while True:
            if not checker.unfinished(self.look()) or time.monotonic() > deadline:
                # Looked at once more, since a look takes a while.
                return self.look()
            time.sleep(0.2)

    def verdict(self, timeout: float = SETTLE) -> list[Violation]:
        """Every broken promise that was not told before, once things have settled."""
        return self._new(self.settle(timeout))

    def forgive(self) -> None:
        """Have what is broken now not be told again."""
        self._new(self.look())

    def _new(self, world: World) -> list[Violation]:
        found = checker.check(self.journal, world)
        new = [violation for violation in found if violation not in self._told]
        self._told.update(new)
        return new

    def _configuration(self) -> Mapping[str, Mapping[str, Any]]:
        reach = {"url": self.double.url, "timeout": CALL_TIMEOUT, "breaker_pause": 1}
        groups: dict[str, dict[str, Any]] = {
            # The last check creates services of one project with the domains of others.
            "DEFAULT": {"domain_quarantine": 0},
            "drivers": {"storage": "cassandra", "providers": "chaos", "dns": "chaos"},
            "drivers:storage": {"max_services_per_project": 10000},
            "drivers:storage:cassandra": {
                "cluster": self.cassandra.host,
                "port": self.cassandra.port,
                "datacenter": self.cassandra.datacenter,
                "keyspace": "chaos",
                "request_timeout": 2,
            },
            "drivers:distributed_task:taskflow": {
                **_BOARD,
                "jobboard_backend_host": self.zookeeper.host,
                "jobboard_backend_port": self.zookeeper.port,
            },
            "drivers:provider:chaos": reach,
            "drivers:dns:chaos": reach,
        }
        for group, values in self._options.items():
            groups.setdefault(group, {}).update(values)
        return groups


def _has_children(pid: int) -> bool:
    # A child belongs to the thread that forked it.
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return any(task.read_text() for task in tasks)


def wait(condition: Callable[[], bool], timeout: float = 20.0) -> float:
    """Wait until a condition holds; gives how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began
