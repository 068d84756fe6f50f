# SPDX-License-Identifier: Apache-2.0
"""A complete Poppy for chaos tests: daemons as processes, real backends and a double."""

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
from poppy.common.clock import now_utc
from poppy.storage.audits import AuditStore
from tests.chaos import checker, plugin
from tests.chaos.checker import Violation, World
from tests.chaos.control import Double
from tests.chaos.tenant import Journal, Tenant
from tests.real.cassandra import Cassandra
from tests.real.poppy import Installation, kill
from tests.real.zookeeper import ZooKeeper

#: Seconds. Small, so that timeouts happen soon, but large enough for a busy machine.
SESSION_TIMEOUT = 2.0
RUN_LEASE = 3.0
CALL_TIMEOUT = 2.0
#: Seconds within which all accepted operations must finish after the last fault.
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
    # Operations must not give up because of outages or kills.
    "max_failures": 1000,
    "max_crashes": 1000,
    "shutdown_grace": 5,
}
#: Audits on request only: their calls would be those that tests count or hold.
_AUDIT: Mapping[str, Any] = {
    "audit_interval": 0,
    "audit_rate": 100.0,
    "heartbeat_interval": 1.0,
}
#: Audits that run all the time.
AUDITING = {"drivers:distributed_task:taskflow": {"audit_interval": 5.0}}


class Site:
    """Cassandra, ZooKeeper, a double, one poppy-server and any number of poppy-workers.

    ``with Site(directory) as site:`` starts everything but workers, with a flavor ``standard``.

    Args:
        directory: the directory of the configuration and the log.
        seed: the seed of the double's random choices.
        options: more options of Poppy, by group and name.

    Attributes:
        cassandra: the Cassandra node.
        zookeeper: the ZooKeeper server.
        double: the double of the provider and the zone.
        journal: the journal of all tenants.
        workers: the running workers, the oldest first.
        log: the log of all daemons.
    """

    def __init__(
        self,
        directory: Path,
        seed: int = 0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._directory = directory
        self._options = options or {}
        self.cassandra = Cassandra()
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
            self.installation.sync()
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
        """Return a client that writes to the journal."""
        return Tenant(self.installation.base, project_id, self.journal)

    def operations(self, project_id: str, service_id: str) -> Any:
        """Return the stored operations of a service."""
        return self._boot.storage.operations.list(project_id, service_id)

    def names(self, project_id: str) -> set[str]:
        """Return the names of the stored services of a project."""
        listed = self._boot.storage.services.list(project_id, None, 100)
        return {service.spec.name for service in listed}

    def start_server(self, *arguments: str) -> None:
        """Start the server with optional arguments and wait until it responds."""
        daemon = self.installation.daemon("poppy-server", *arguments)
        self.server = self._daemons.enter_context(daemon)
        self.installation.wait_until_up()

    def restore_server(self) -> None:
        """Start the server if it is not running."""
        if self.server.poll() is not None:
            self.start_server()

    def kill_server(self) -> None:
        """Kill the server without a clean shutdown."""
        kill(self.server)

    def start_worker(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a worker with optional arguments, without waiting for it."""
        daemon = self.installation.daemon("poppy-worker", *arguments)
        worker = self._daemons.enter_context(daemon)
        self.workers.append(worker)
        return worker

    def worker_of(self, pid: int) -> subprocess.Popen[str]:
        """Return the daemon to which a process belongs."""
        group = os.getpgid(pid)
        return next(worker for worker in self.workers if worker.pid == group)

    def kill_worker(self, worker: subprocess.Popen[str]) -> None:
        """Kill a worker without a clean shutdown."""
        self.workers.remove(worker)
        kill(worker)

    def end_worker(self, worker: subprocess.Popen[str]) -> int:
        """Stop a worker cleanly and return its exit status."""
        # The worker handles signals only once it has a child.
        wait(lambda: _has_children(worker.pid))
        self.workers.remove(worker)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)
        return worker.returncode

    def end_workers(self) -> None:
        """Kill all workers."""
        for worker in list(self.workers):
            self.kill_worker(worker)

    def freeze(self, worker: subprocess.Popen[str]) -> None:
        """Suspend a worker with all its connections."""
        os.killpg(worker.pid, signal.SIGSTOP)

    def thaw(self, worker: subprocess.Popen[str]) -> None:
        """Resume a worker after :meth:`freeze`."""
        os.killpg(worker.pid, signal.SIGCONT)

    def look(self) -> World:
        """Return the current state; wait for the store if it is unavailable."""
        deadline = time.monotonic() + SETTLE
        while True:
            try:
                return checker.look(self._boot.storage, self.journal, self.double)
            except errors.Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def settle(self, timeout: float = SETTLE) -> World:
        """Wait until all operations are finished or the time is up, and return the state."""
        deadline = time.monotonic() + timeout
        while True:
            if not checker.unfinished(self.look()) or time.monotonic() > deadline:
                # Read the state again, since reading takes some time.
                return self.look()
            time.sleep(0.2)

    def audit(self, timeout: float = SETTLE) -> None:
        """Have workers compare all services, and wait for the end of that audit."""
        asked = now_utc()
        done = self.installation.manage("audit", "--all")
        assert done.returncode == 0, done.stderr
        store = AuditStore(self._boot.storage.documents)

        def has_ended() -> bool:
            latest = store.get().latest
            return latest is not None and latest.began_at > asked and latest.ended_at is not None

        wait(has_ended, timeout)

    def verdict(self, timeout: float = SETTLE) -> list[Violation]:
        """Return all new violations once operations have settled."""
        return self._new(self.settle(timeout))

    def forgive(self) -> None:
        """Ignore present violations in later verdicts."""
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
                **_AUDIT,
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
    # The kernel lists a child under the thread that forked it.
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return any(task.read_text() for task in tasks)


def wait(condition: Callable[[], bool], timeout: float = 20.0) -> float:
    """Wait until a condition holds and return the time in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - began
