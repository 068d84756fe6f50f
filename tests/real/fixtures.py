# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one Cassandra, ZooKeeper and Keystone for all tests of a run, whatever its processes.

A test module, or a ``conftest.py``, imports those that it uses. The first test that asks for a
server starts it, and the last worker of pytest-xdist that used it stops it. Since others use it
too, a test leaves it running, and keeps to a keyspace or a path of its own: ``keyspace`` and
``chroot`` are fresh for each test. A test that must stop a server starts one for itself.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real import unavailable
from tests.real.jars import jars, java
from tests.real.keystone import KeystoneClient, python
from tests.real.lab import Lab, LabError, Record


@dataclass(frozen=True)
class SharedCassandra:
    """Where the node is; it asks for no password."""

    host: str
    port: int
    datacenter: str


@dataclass(frozen=True)
class SharedZooKeeper:
    """Where the server is, as ``host:port``."""

    hosts: str


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedCassandra]:
    """The run's one Cassandra node."""
    with _shared("cassandra", tmp_path_factory) as record:
        yield SharedCassandra(**record["values"])


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedZooKeeper]:
    """The run's one ZooKeeper server."""
    with _shared("zookeeper", tmp_path_factory) as record:
        yield SharedZooKeeper(**record["values"])


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneClient]:
    """The run's one Keystone, with a client of its administrator."""
    with _shared("keystone", tmp_path_factory) as record:
        values = record["values"]
        yield KeystoneClient(values["url"], values["password"], Path(values["directory"]))


@pytest.fixture
def keyspace() -> str:
    """The name of a keyspace that there is not yet; whoever makes it may leave it behind."""
    return f"test_{uuid.uuid4().hex[:16]}"


@pytest.fixture
def chroot() -> str:
    """A path in ZooKeeper that nobody else uses."""
    return f"/test-{uuid.uuid4().hex[:16]}"


@contextlib.contextmanager
def _shared(name: str, factory: pytest.TempPathFactory) -> Iterator[Record]:
    """A server for as long as any process of this run uses it."""
    # Here, and not in its keeper, so that the first test says what is going on when it fails.
    if name == "keystone":
        python()
    else:
        java()
        jars()
    directory, run = factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory, run = directory.parent, os.getppid()
    # It ends with the run even when all of that is killed.
    lab = Lab(directory / "lab", watch=run)
    users = directory / "lab" / f"{name}.users"
    with lab.lock("users"):
        try:
            record = lab.up(name)
        except LabError as exc:
            if not exc.unavailable:
                raise
            unavailable(str(exc), "see tests/real")
        _write(users, _read(users) | {os.getpid()})
    try:
        yield record
    finally:
        with lab.lock("users"):
            left = _read(users) - {os.getpid()}
            _write(users, left)
            if not left:
                lab.down(name)


def _read(users: Path) -> set[int]:
    """The processes that use a server now."""
    written = map(int, users.read_text().split()) if users.exists() else ()
    return {pid for pid in written if Path(f"/proc/{pid}").exists()}


def _write(users: Path, pids: set[int]) -> None:
    users.write_text(" ".join(map(str, pids)))
