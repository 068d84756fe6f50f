# SPDX-License-Identifier: Apache-2.0
"""Requests to the cluster: prepared statements, batches, and their consistency levels."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from cassandra import ConsistencyLevel
from cassandra.cluster import Cluster
from cassandra.query import BatchStatement, BatchType

from poppy.storage.cassandra.connection import Connections
from poppy.storage.cassandra.driver_errors import Answering, Undecided

T = TypeVar("T")

Row = Any
Call = tuple[str, Mapping[str, Any]]
"""A statement and its parameters."""

_IN_FLIGHT = 32
_BATCH = 10
_BATCH_SIZE = 4096
"""The maximum number of writes in a batch, and of their bytes. Cassandra warns of more, or refuses
them."""
_SCAN_PAGE = 100
_CONTENTION = 2.0
_SERIAL = (ConsistencyLevel.SERIAL, ConsistencyLevel.LOCAL_SERIAL)


class Levels(NamedTuple):
    """Consistency levels.

    Attributes:
        plain: of ordinary reads and writes.
        wide: of those that must overlap across all data centres, such as claims.
        claims: serial level of claims.
        operations: serial level of services and their operations.
    """

    plain: int
    wide: int
    claims: int
    operations: int


class Database:
    """A keyspace of a cluster, connected on first use.

    Args:
        options: the driver's option group.
        datacenter: the process's data centre, if the options name none.
        option: the name of the option group, for messages.
        retention: seconds.

    Attributes:
        levels: the consistency levels to use.
        retention: seconds for which finished operations are kept; 0 means forever.
    """

    def __init__(self, options: Any, datacenter: str, option: str, retention: int = 0) -> None:
        self.options = options
        self.retention = retention
        self._option = option
        claims = getattr(ConsistencyLevel, options.serial_consistency_level)
        plain = getattr(ConsistencyLevel, options.consistency_level)
        self.levels = Levels(
            plain=plain,
            wide=ConsistencyLevel.QUORUM if claims == ConsistencyLevel.SERIAL else plain,
            claims=claims,
            operations=getattr(ConsistencyLevel, options.operation_serial_consistency_level),
        )
        self._connections = Connections(options, datacenter, option, plain)

    def read(self, cql: str, parameters: Mapping[str, Any], level: int | None = None) -> list[Row]:
        """Return all rows of a SELECT. A serial level completes pending conditional writes first.

        Raises:
            Unavailable: the cluster does not answer.
            ConfigError: the schema is missing, or options can't work.
        """
        deadline = time.monotonic() + _CONTENTION
        while True:
            try:
                with self.answering(conditional=level in _SERIAL):
                    statement = self._connections.bind(cql, parameters)
                    statement.consistency_level = self.levels.plain if level is None else level
                    return list(self._session().execute(statement))
            except Undecided:
                # A serial read is itself a round of Paxos, and may lose it to another.
                if time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0, 0.05))

    def scan(self, cql: str) -> Iterator[Row]:
        """Iterate over the rows of a SELECT of a whole table, fetching pages on demand."""
        with self.answering():
            statement = self._connections.bind(cql, {})
            statement.consistency_level = self.levels.plain
            statement.fetch_size = _SCAN_PAGE
            rows = iter(self._session().execute(statement))
        while True:
            with self.answering():
                row = next(rows, None)
            if row is None:
                return
            yield row

    def read_each(self, calls: Iterable[Call], level: int | None = None) -> list[list[Row]]:
        """Return the rows of several parallel SELECTs; raises as :meth:`read`."""
        waiting = list(calls)
        results: list[list[Row]] = []
        with self.answering():
            for start in range(0, len(waiting), _IN_FLIGHT):
                futures = []
                for cql, parameters in waiting[start : start + _IN_FLIGHT]:
                    statement = self._connections.bind(cql, parameters)
                    statement.consistency_level = self.levels.plain if level is None else level
                    statement.is_idempotent = True
                    futures.append(self._session().execute_async(statement))
                results.extend(list(future.result()) for future in futures)
        return results

    def write(self, calls: Iterable[Call], level: int | None = None) -> None:
        """Run several unconditional writes; some may be applied if one fails.

        Small ones are sent together as unlogged batches: one message and one reply instead of one
        for each. (The usual argument against batches over several partitions is the load on the
        coordinating node; here it is a handful of writes.)

        Raises:
            Unavailable: one was not acknowledged (but may have been applied).
        """
        self.send(calls, level)()

    def send(self, calls: Iterable[Call], level: int | None = None) -> Callable[[], None]:
        """Start writes as :meth:`write` does, without waiting for the replies.

        Returns:
            A function that waits for the replies; raises as :meth:`write`.
        """
        waiting = list(calls)
        if not waiting:
            return _nothing
        futures = []
        with self.answering():
            for together in _batches([self._connections.bind(*call) for call in waiting]):
                statement = _joined(together, BatchType.UNLOGGED)
                statement.consistency_level = self.levels.plain if level is None else level
                # Each write sets its own timestamp, or a row that never changes.
                statement.is_idempotent = True
                futures.append(self._session().execute_async(statement))

        def finish() -> None:
            with self.answering():
                for future in futures:
                    future.result()

        return finish

    def cas(self, calls: Sequence[Call], serial: int) -> tuple[bool, Row | None]:
        """Run one conditional write, or several to one partition as an atomic batch.

        Returns:
            Whether it was applied; if not, also the row that failed the condition, if any.

        Raises:
            Undecided: it may have been applied, or may be applied later.
            Unavailable: it was not applied and will not be.
        """
        with self.answering(conditional=True):
            statement = _joined(
                [self._connections.bind(*call) for call in calls], BatchType.LOGGED
            )
            statement.serial_consistency_level = serial
            statement.consistency_level = self._commit_level(serial)
            result = self._session().execute(statement)
            rows = list(result)
            applied = bool(rows[0][0])
            return applied, None if applied else dict(
                zip(result.column_names, rows[0], strict=True)
            )

    @property
    def region(self) -> str:
        """The data centre that serves ordinary reads and writes; '' for any."""
        with self.answering():
            self._session()
        return self._connections.current().region[0]

    @property
    def is_one_region(self) -> bool:
        """Whether all nodes are in one data centre, so that no other one decides anything."""
        with self.answering():
            hosts = self._session().cluster.metadata.all_hosts()
        return len({host.datacenter for host in hosts}) <= 1

    def admin(self, keyspace: str | None, agreement: float = 30.0) -> tuple[Cluster, Any]:
        """Return a connection for schema changes. The caller shuts the cluster down.

        Args:
            keyspace: the keyspace to use; None for none.
            agreement: seconds for which a change waits until all nodes, even lost ones, have it.
        """
        with self.answering():
            return self._connections.open(keyspace, agreement)

    def answering(self, *, conditional: bool = False) -> Answering:
        """Translate the driver's errors into Poppy's within a block.

        Args:
            conditional: an error may leave it open whether a write was applied.
        """
        return Answering(self._option, conditional)

    def close(self) -> None:
        """Close this process's session. The next use opens another."""
        self._connections.close()

    def _commit_level(self, serial: int) -> int:
        return self.levels.wide if serial == ConsistencyLevel.SERIAL else self.levels.plain

    def _session(self) -> Any:
        return self._connections.session()


def _batches(bound: Iterable[Any]) -> Iterator[list[Any]]:
    """Group bound statements into batches; a large one stays alone."""
    together: list[Any] = []
    size = 0
    for statement in bound:
        own = sum(len(value) for value in statement.values if isinstance(value, bytes))
        if together and (len(together) >= _BATCH or size + own > _BATCH_SIZE):
            yield together
            together, size = [], 0
        together.append(statement)
        size += own
    if together:
        yield together


def _joined(bound: Sequence[Any], kind: BatchType) -> Any:
    """Return the only statement, or a batch of several."""
    if len(bound) == 1:
        return bound[0]
    batch = BatchStatement(kind)
    for statement in bound:
        batch.add(statement)
    return batch


def _nothing() -> None:
    """Do nothing: there is nothing to wait for."""
