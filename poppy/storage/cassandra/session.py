# SPDX-License-Identifier: Apache-2.0
"""The connection to the cluster: one session per process, prepared statements, and errors.

Only this module translates the driver's exceptions into Poppy's errors. A conditional write has
three outcomes: applied, not applied, and unknown (``Undecided``), because Paxos may complete a
write after its coordinator died or gave up. (Apache Cassandra docs, "Guarantees" and "CQL: Data
Manipulation"; native protocol v4, error code 0x1100.)
"""

import itertools
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import cassandra
from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
)
from cassandra.connection import ConnectionException
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import (
    ConfigurationException,
    ErrorMessage,
    ProtocolException,
    SyntaxException,
)
from cassandra.query import BatchStatement, BatchType, tuple_factory

from poppy.common import errors

T = TypeVar("T")

Row = Any
Call = tuple[str, Mapping[str, Any]]
"""A statement and its parameters."""

COMMAND = "poppy-manage db sync"

_PROTOCOL = 4
"""Version 5 adds checksums to each message. The driver computes them in Python, which costs a
tenth of a request, and TCP and TLS have checksums already."""
_IN_FLIGHT = 32
_BATCH = 10
_BATCH_SIZE = 4096
"""The maximum number of writes in a batch, and of their bytes. Cassandra warns of more, or refuses
them."""
_SCAN_PAGE = 100
_CONTENTION = 2.0
_SERIAL = (ConsistencyLevel.SERIAL, ConsistencyLevel.LOCAL_SERIAL)
_RECONNECT = (0.2, 5.0)
_OUTAGES = (
    NoHostAvailable,
    cassandra.DriverException,
    ConnectionException,
    ErrorMessage,
    OSError,
)
# The driver logs each failure with a traceback besides raising it. Poppy's error has it as cause.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


class Undecided(errors.Unavailable):
    """It is unknown whether a conditional write was applied; a serial read decides it."""


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


class _Connection(NamedTuple):
    lock: threading.Lock
    opened: dict[str, tuple[Cluster, Any]]
    prepared: dict[str, Any]
    region: list[str]


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
        self._datacenter = options.datacenter or datacenter
        self._option = option
        claims = getattr(ConsistencyLevel, options.serial_consistency_level)
        plain = getattr(ConsistencyLevel, options.consistency_level)
        self.levels = Levels(
            plain=plain,
            wide=ConsistencyLevel.QUORUM if claims == ConsistencyLevel.SERIAL else plain,
            claims=claims,
            operations=getattr(ConsistencyLevel, options.operation_serial_consistency_level),
        )
        # By process: sockets and threads do not survive a fork. An ancestor's connections stay
        # referenced, so that the child does not close them.
        self._connections: dict[int, _Connection] = {}

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
                    statement = self._bind(cql, parameters)
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
            statement = self._bind(cql, {})
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
                    statement = self._bind(cql, parameters)
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
            for together in _batches([self._bind(*call) for call in waiting]):
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
            statement = _joined([self._bind(*call) for call in calls], BatchType.LOGGED)
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
        return self._connection().region[0]

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
            return self._open(keyspace, agreement)

    def answering(self, *, conditional: bool = False) -> "_Answering":
        """Translate the driver's errors into Poppy's within a block.

        Args:
            conditional: an error may leave it open whether a write was applied.
        """
        return _Answering(self._option, conditional)

    def close(self) -> None:
        """Close this process's session. The next use opens another."""
        connection = self._connections.pop(os.getpid(), None)
        if connection is not None:
            for cluster, _session in connection.opened.values():
                cluster.shutdown()

    def _commit_level(self, serial: int) -> int:
        return self.levels.wide if serial == ConsistencyLevel.SERIAL else self.levels.plain

    def _connection(self) -> _Connection:
        pid = os.getpid()
        return self._connections.get(pid) or self._connections.setdefault(
            pid, _Connection(threading.Lock(), {}, {}, [""])
        )

    def _session(self) -> Any:
        connection = self._connection()
        opened = connection.opened.get("it")
        if opened is None:
            with connection.lock:
                opened = connection.opened.get("it")
                if opened is None:
                    opened = self._open(self.options.keyspace)
                    connection.region[0] = _region(opened[0])
                    connection.opened["it"] = opened
        return opened[1]

    def _bind(self, cql: str, parameters: Mapping[str, Any]) -> Any:
        session = self._session()
        prepared = self._connection().prepared
        statement = prepared.get(cql)
        if statement is None:
            statement = prepared[cql] = session.prepare(cql)
        return statement.bind(parameters)

    def _open(self, keyspace: str | None, agreement: float = 30.0) -> tuple[Cluster, Any]:
        cluster = self._make_cluster(agreement)
        try:
            return cluster, cluster.connect(keyspace)
        except BaseException as exc:
            cluster.shutdown()
            # For a missing keyspace the driver reports that no host is available.
            known = cluster.metadata.keyspaces
            if isinstance(exc, NoHostAvailable) and keyspace and known and keyspace not in known:
                raise errors.ConfigError(
                    f"There is no keyspace {keyspace} in Cassandra: run '{COMMAND}'"
                ) from exc
            raise

    def _make_cluster(self, agreement: float) -> Cluster:
        options = self.options
        profile = ExecutionProfile(
            load_balancing_policy=self._policy(),
            consistency_level=self.levels.plain,
            request_timeout=options.request_timeout,
            row_factory=tuple_factory,
        )
        profile.row_factory = tuple_factory
        return Cluster(
            options.cluster,
            protocol_version=_PROTOCOL,
            port=options.port,
            auth_provider=PlainTextAuthProvider(options.username, options.password)
            if options.username
            else None,
            ssl_context=self._ssl_context(),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            # The driver's own limit is ten minutes, during which a recovered node is not used.
            reconnection_policy=ExponentialReconnectionPolicy(*_RECONNECT),
            connect_timeout=options.connect_timeout,
            control_connection_timeout=options.connect_timeout,
            max_schema_agreement_wait=agreement,
            monitor_reporting_enabled=False,
            application_name="poppy",
        )

    def _policy(self) -> Any:
        strategy = self.options.load_balance_strategy
        local = DCAwareRoundRobinPolicy(self._datacenter)
        policy = local if strategy.endswith("datacenter") else RoundRobinPolicy()
        return TokenAwarePolicy(policy) if strategy.startswith("token") else policy

    def _ssl_context(self) -> ssl.SSLContext | None:
        options = self.options
        if not options.ssl_enabled:
            return None
        try:
            context = ssl.create_default_context(cafile=options.ssl_ca_certs or None)
            context.check_hostname = options.ssl_check_hostname
            if options.ssl_certfile:
                context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile or None)
        except OSError as exc:
            raise errors.ConfigError(f"{self._option} ssl_*: {exc}") from exc
        return context


class _Answering:
    """Translates the driver's errors into Poppy's.

    It wraps every request. A class takes a third of the time of a generator.
    """

    __slots__ = ("_conditional", "_option")

    def __init__(self, option: str, conditional: bool) -> None:
        self._option = option
        self._conditional = conditional

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            translated = self._translate(error)
            if translated is not None:
                raise translated from error

    def _translate(self, error: BaseException) -> errors.PoppyError | None:
        """Return the error to raise instead; None if it is a bug rather than an outage."""
        causes = [error, *(_causes(error) if isinstance(error, NoHostAvailable) else [])]
        if any(
            isinstance(it, cassandra.AuthenticationFailed | ProtocolException) for it in causes
        ):
            return errors.ConfigError(f"{self._option}: {error}")
        if isinstance(error, ConfigurationException):
            return errors.ConfigError(f"{self._option}: Cassandra refuses ({error})")
        if isinstance(error, cassandra.InvalidRequest | cassandra.Unauthorized):
            return errors.ConfigError(
                f"{self._option}: Cassandra refuses ({error}); has '{COMMAND}' been run?"
            )
        if isinstance(error, _OUTAGES) and not isinstance(error, SyntaxException):
            return _outage(self._conditional and _is_undecided(error))
        return None


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists of at most ``size``, lazily."""
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


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


def _region(cluster: Cluster) -> str:
    policy = cluster.profile_manager.default.load_balancing_policy
    if isinstance(policy, TokenAwarePolicy):
        policy = policy._child_policy
    return getattr(policy, "local_dc", "") or ""


def _outage(undecided: bool) -> errors.Unavailable:
    kind = Undecided if undecided else errors.Unavailable
    return kind("The database does not answer")


def _is_undecided(exc: BaseException) -> bool:
    # "Unavailable" is reported before anything is done; a node that was not reached did nothing.
    if isinstance(exc, NoHostAvailable):
        return any(not isinstance(it, cassandra.Unavailable) for it in _causes(exc))
    return not isinstance(exc, cassandra.Unavailable)


def _causes(exc: Any) -> list[BaseException]:
    found = exc.errors
    return list(found.values() if isinstance(found, Mapping) else found or [])
