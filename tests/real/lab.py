# SPDX-License-Identifier: Apache-2.0
"""Real servers that outlive the command that started them.

Each has a keeper process, ``python -m tests.real keep NAME``, which starts the server, writes a
file when it is up, waits for a signal, and removes everything. The processes of a server are found
by a mark in their environment. A process id alone is never trusted, since it may have been reused.
"""

import contextlib
import fcntl
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest

from tests.real.bind import Bind
from tests.real.cassandra import Cassandra, CassandraPair
from tests.real.designate import Designate
from tests.real.jvm import spare_address
from tests.real.keystone import Keystone
from tests.real.knot import Knot
from tests.real.moto import Moto
from tests.real.nameserver import SHARED_SUFFIX, SUFFIX, NameServer
from tests.real.nginx import Nginx
from tests.real.postgresql import PostgreSQL
from tests.real.powerdns import PowerDNS
from tests.real.zookeeper import ZooKeeper

Record = dict[str, Any]
"""``values`` by name, and ``conf``: option by name by group of poppy.conf."""

_ROOT = Path(__file__).parents[2]
_MARK = "POPPY_LAB"
_UNAVAILABLE = 3
_START_TIMEOUT = 600.0
_STOP_TIMEOUT = 45.0


class LabError(Exception):
    """A server did not start; ``unavailable`` means that this machine does not have it."""

    def __init__(self, message: str, *, unavailable: bool = False) -> None:
        super().__init__(message)
        self.unavailable = unavailable


class Lab:
    """The servers with their state in one directory.

    Args:
        state: the directory; created when a server is started.
        watch: a process; the servers started here end with it, whatever ends it.
    """

    def __init__(self, state: Path, watch: int | None = None) -> None:
        self._state = state.resolve()
        self._watch = watch

    def up(self, name: str) -> Record:
        """Start a server unless it runs, and wait until it answers.

        Raises:
            LabError: it does not start.
        """
        with self.lock(name):
            record = self._record(name)
            if record is not None and self.status(name) == "running":
                return record
            self._clear(name)
            try:
                return self._start(name)
            except BaseException:
                self._clear(name)
                raise

    def down(self, name: str) -> bool:
        """Stop a server, or clean up after it; return whether there was anything."""
        if not self._state.is_dir():
            return False
        with self.lock(name):
            return self._clear(name)

    def status(self, name: str) -> str:
        """Return ``running``, ``starting``, ``stale`` (it ended unexpectedly) or ``down``."""
        processes = self.processes(name)
        # The keeper alone does not count.
        if self._record(name) is not None:
            kept = len(processes) > 1 and any(map(_is_keeper, processes))
            return "running" if kept else "stale"
        return "starting" if processes else "down"

    def running(self) -> dict[str, Record]:
        """Return the running servers by name."""
        records = {name: self._record(name) for name in PARTS if self.status(name) == "running"}
        return {name: record for name, record in records.items() if record is not None}

    def processes(self, name: str) -> list[int]:
        """Return all live processes of a server."""
        mark = f"{_MARK}={self._mark(name)}".encode()
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in numbers if mark in _proc(pid, "environ")]

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Lock a name among all processes."""
        self._state.mkdir(parents=True, exist_ok=True)
        with self._file(name, "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def keep(self, name: str) -> None:
        """Run as the keeper of a server until signaled; start it, and clean up at the end."""

        def end(_number: int, _frame: FrameType | None) -> NoReturn:
            # Ignore further signals during the cleanup.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(0)

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with contextlib.ExitStack() as stack:
            try:
                record = stack.enter_context(PARTS[name]())
            except pytest.skip.Exception as exc:
                print(exc, flush=True)
                sys.exit(_UNAVAILABLE)
            self._publish(name, record)
            _wait_for_end_of(self._watch)

    def _start(self, name: str) -> Record:
        directory = Path(tempfile.mkdtemp(prefix=f"poppy-lab-{name}-"))
        # Some servers run as another user.
        directory.chmod(0o711)
        self._file(name, "directory").write_text(str(directory))
        command = [sys.executable, "-m", "tests.real", "--state", str(self._state)]
        command += ["--while", str(self._watch)] if self._watch else []
        environment = {**os.environ, _MARK: self._mark(name), "TMPDIR": str(directory)}
        # A missing server is no failure of the keeper, even if the tests require it.
        environment.pop("POPPY_TEST_REQUIRE_REAL", None)
        log = self._file(name, "log")
        with log.open("wb") as output:
            keeper = subprocess.Popen(
                [*command, "keep", name],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        _KEEPERS[keeper.pid] = keeper
        deadline = time.monotonic() + _START_TIMEOUT
        while (record := self._record(name)) is None:
            if keeper.poll() is not None or time.monotonic() > deadline:
                message = log.read_text(errors="replace").strip()
                raise LabError(message, unavailable=keeper.returncode == _UNAVAILABLE)
            time.sleep(0.05)
        return record

    def _clear(self, name: str) -> bool:
        """End all processes of a server and remove its files; return whether there were any."""
        processes = self.processes(name)
        # The keeper stops the others properly. Without it, signal all of them.
        for pid in list(filter(_is_keeper, processes)) or processes:
            self._signal(name, pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT
        while (left := self.processes(name)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            self._signal(name, pid, signal.SIGKILL)
        for pid in [pid for pid, keeper in _KEEPERS.items() if keeper.poll() is not None]:
            del _KEEPERS[pid]
        place = self._file(name, "directory")
        if place.exists():
            directory = Path(place.read_text())
            if directory.name.startswith(f"poppy-lab-{name}-"):
                shutil.rmtree(directory, ignore_errors=True)
        files = [self._file(name, kind) for kind in ("json", "directory", "log")]
        found = bool(processes) or files[0].exists()
        for file in files:
            file.unlink(missing_ok=True)
        return found

    def _publish(self, name: str, record: Record) -> None:
        file = self._file(name, "json")
        draft = self._file(name, "draft")
        draft.write_text(json.dumps(record))
        draft.rename(file)

    def _record(self, name: str) -> Record | None:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self._file(name, "json").read_text()))
        return None

    def _file(self, name: str, kind: str) -> Path:
        return self._state / f"{name}.{kind}"

    def _mark(self, name: str) -> str:
        return str(self._state / name)

    def _signal(self, name: str, pid: int, number: int) -> None:
        """Signal a process if it still belongs to the server."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if pid in self.processes(name):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


_KEEPERS: dict[int, subprocess.Popen[bytes]] = {}
"""Those that this process started, by their id: it must ask for their end, or they linger."""


def _proc(pid: int, file: str) -> list[bytes]:
    """Return the parts of a file in /proc; empty for a dead or another user's process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{file}").read_bytes().split(b"\0")
    return []


def _is_keeper(pid: int) -> bool:
    return b"keep" in _proc(pid, "cmdline")


def _wait_for_end_of(pid: int | None) -> None:
    """Wait until a process ends; without a process, wait forever."""
    if pid is None:
        while True:
            signal.pause()
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        select.select([handle], [], [])


@contextlib.contextmanager
def _cassandra() -> Iterator[Record]:
    with Cassandra() as node:
        yield {
            "values": {"host": node.host, "port": node.port, "datacenter": node.datacenter},
            "conf": _cassandra_conf(node, "class:SimpleStrategy,replication_factor:1"),
        }


@contextlib.contextmanager
def _cassandra2dc() -> Iterator[Record]:
    with CassandraPair() as pair:
        values: Record = {name: f"{node.host}:{node.port}" for name, node in pair.nodes.items()}
        replication = "class:NetworkTopologyStrategy,dc1:1,dc2:1"
        yield {"values": values, "conf": _cassandra_conf(pair.nodes["dc1"], replication)}


def _cassandra_conf(node: Cassandra, replication: str) -> Mapping[str, Mapping[str, Any]]:
    return {
        "drivers": {"storage": "cassandra"},
        "drivers:storage:cassandra": {
            "cluster": node.host,
            "port": node.port,
            "datacenter": node.datacenter,
            "replication_strategy": replication,
        },
    }


@contextlib.contextmanager
def _zookeeper() -> Iterator[Record]:
    with ZooKeeper() as server:
        board = {
            "jobboard_backend_type": "zookeeper",
            "jobboard_backend_host": server.host,
            "jobboard_backend_port": server.port,
        }
        yield {
            "values": {"hosts": server.hosts},
            "conf": {"drivers:distributed_task:taskflow": board},
        }


@contextlib.contextmanager
def _postgresql() -> Iterator[Record]:
    with PostgreSQL() as server:
        yield {
            "values": {"url": server.url},
            "conf": {
                "drivers": {"storage": "sqlalchemy"},
                "drivers:storage:sqlalchemy": {"connection": server.url},
            },
        }


@contextlib.contextmanager
def _moto() -> Iterator[Record]:
    with Moto() as server:
        zone = server.client("route53").create_hosted_zone(
            Name="cdn.example.net", CallerReference="lab"
        )
        yield {
            "values": {"url": server.url, "hosted zone": zone["HostedZone"]["Name"]},
            "conf": {
                "drivers": {"providers": "cloudfront", "dns": "route53"},
                "drivers:provider:cloudfront": {**server.options, "poll_after": 1},
                "drivers:dns:route53": {**server.options, "suffix": "cdn.example.net"},
            },
        }


@contextlib.contextmanager
def _nginx() -> Iterator[Record]:
    # Origins of Poppy use port 80, which needs root.
    port = 80 if os.geteuid() == 0 else 8080
    with Nginx(spare_address(port), port, {"/": "Hello from the origin.\n"}) as server:
        yield {"values": {"url": f"http://{server.host}:{server.port}"}, "conf": {}}


@contextlib.contextmanager
def _keystone() -> Iterator[Record]:
    with Keystone() as server:
        yield {
            "values": {
                "url": server.url,
                "password": server.password,
                "directory": str(server.directory),
            },
            "conf": server.conf,
        }


@contextlib.contextmanager
def _rfc2136(make: Callable[[], NameServer]) -> Iterator[Record]:
    with make() as server:
        options = {
            "servers": server.address,
            "suffix": SUFFIX,
            "shared_ssl_domain_suffix": SHARED_SUFFIX,
            "tsig_key_name": server.key_name,
            "tsig_key_secret": server.secret,
        }
        yield {
            "values": {"dig": f"dig @{server.host} -p {server.port} www.example.com.{SUFFIX}"},
            "conf": {"drivers": {"dns": "rfc2136"}, "drivers:dns:rfc2136": options},
        }


@contextlib.contextmanager
def _powerdns() -> Iterator[Record]:
    with PowerDNS() as server:
        options = {
            "urls": server.url,
            "api_key": server.secret,
            "suffix": SUFFIX,
            "shared_ssl_domain_suffix": SHARED_SUFFIX,
        }
        yield {
            "values": {"dig": f"dig @{server.host} -p {server.port} www.example.com.{SUFFIX}"},
            "conf": {"drivers": {"dns": "powerdns"}, "drivers:dns:powerdns": options},
        }


@contextlib.contextmanager
def _designate() -> Iterator[Record]:
    with Designate() as server:
        options = {
            "auth_type": "none",
            "endpoint_override": server.url,
            "suffix": SUFFIX,
            "shared_ssl_domain_suffix": SHARED_SUFFIX,
        }
        where = server.nameserver
        yield {
            "values": {"dig": f"dig @{where.host} -p {where.port} www.example.com.{SUFFIX}"},
            "conf": {"drivers": {"dns": "designate"}, "drivers:dns:designate": options},
        }


PARTS: Mapping[str, Callable[[], contextlib.AbstractContextManager[Record]]] = {
    "bind": functools.partial(_rfc2136, Bind),
    "cassandra": _cassandra,
    "cassandra2dc": _cassandra2dc,
    "designate": _designate,
    "keystone": _keystone,
    "knot": functools.partial(_rfc2136, Knot),
    "moto": _moto,
    "nginx": _nginx,
    "postgresql": _postgresql,
    "powerdns": _powerdns,
    "zookeeper": _zookeeper,
}
"""What there is, by name: starts a server and gives how to reach it."""
