# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one Cassandra, ZooKeeper and Keystone for all tests and processes of a run.

A test module or a ``conftest.py`` imports the fixtures that it uses. The first test that needs a
server starts it, and the last worker of pytest-xdist that used it stops it. Tests must leave a
shared server running, and use only their own keyspace or path: ``keyspace`` and ``chroot`` are
fresh for each test. A test that must stop a server starts its own.
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
    """Address of a node that requires no password."""

    host: str
    port: int
    datacenter: str


@dataclass(frozen=True)
class SharedZooKeeper:
    """Address of a server, as ``host:port``."""

    hosts: str


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedCassandra]:
    """The Cassandra node of this run."""
    with _shared("cassandra", tmp_path_factory) as record:
        yield SharedCassandra(**record["values"])


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedZooKeeper]:
    """The ZooKeeper server of this run."""
    with _shared("zookeeper", tmp_path_factory) as record:
        yield SharedZooKeeper(**record["values"])


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneClient]:
    """The Keystone of this run, as a client of its administrator."""
    with _shared("keystone", tmp_path_factory) as record:
        values = record["values"]
        yield KeystoneClient(values["url"], values["password"], Path(values["directory"]))


@pytest.fixture
def keyspace() -> str:
    """The name of an unused keyspace; a test that creates it may leave it behind."""
    return f"test_{uuid.uuid4().hex[:16]}"


@pytest.fixture
def chroot() -> str:
    """A path in ZooKeeper that no other test uses."""
    return f"/test-{uuid.uuid4().hex[:16]}"


@contextlib.contextmanager
def _shared(name: str, factory: pytest.TempPathFactory) -> Iterator[Record]:
    """Run a server while any process of this run uses it."""
    # Not in the keeper, so that the first test shows the progress if it fails.
    if name == "keystone":
        python()
    else:
        java()
        jars()
    directory, run = factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory, run = directory.parent, os.getppid()
    # The server ends with the run, even if all processes are killed.
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
    """Return the processes that use a server now."""
    written = map(int, users.read_text().split()) if users.exists() else ()
    return {pid for pid in written if Path(f"/proc/{pid}").exists()}


def _write(users: Path, pids: set[int]) -> None:
    users.write_text(" ".join(map(str, pids)))
