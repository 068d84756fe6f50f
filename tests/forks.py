# SPDX-License-Identifier: Apache-2.0
"""Storage drivers in forked children, which share the test's objects as workers do."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator

from poppy.storage.base import Storage
from poppy.testing.builders import make_flavor

#: Seconds that suffice for Cassandra on a busy machine.
_BEGIN, _END = 60, 300
_CONTEXT = multiprocessing.get_context("fork")


@contextlib.contextmanager
def forked(work: Callable[[], object], count: int = 1) -> Iterator[None]:
    """Run a function in children during the block; each must succeed."""
    children = [_CONTEXT.Process(target=work) for _ in range(count)]
    for child in children:
        child.start()
    yield
    for child in children:
        child.join(_END)
    assert [child.exitcode for child in children] == [0] * count


def sync_at_once(connect: Callable[[], Storage], count: int = 4) -> None:
    """Create the schema in several processes at the same time."""
    start = _CONTEXT.Barrier(count)

    def sync() -> None:
        storage = connect()
        storage.is_alive()
        start.wait(_BEGIN)
        storage.sync()
        storage.check()
        storage.close()

    with forked(sync, count):
        pass


def read_at_once(storage: Storage) -> None:
    """Read in this process and in a child, with the driver that this one has used before."""
    storage.flavors.create(make_flavor())
    storage.flavors.list()

    def read() -> None:
        for _ in range(50):
            assert storage.flavors.list() == [make_flavor()]

    with forked(read):
        read()
    read()
