# SPDX-License-Identifier: Apache-2.0
"""The connection to the cluster: one session per process, prepared statements, and errors.

All that the driver raises becomes an error of Poppy here, and nowhere else. Whoever writes a
condition has to know three outcomes: applied, not applied, and unknown (``Undecided``): Paxos
may finish a write whose coordinator died or gave up. (Apache Cassandra docs, "Guarantees" and
"CQL: Data Manipulation"; native protocol v4, error code 0x1100.)
"""

import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

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

Row = Any
Call = tuple[str, Mapping[str, Any]]
"""A statement and its parameters."""

COMMAND = "poppy-manage db sync"

_PROTOCOL = 4
"""Version 5 adds checksums to each message, which the driver computes in Python: a tenth of what a
request costs, for what TCP and TLS do as well."""
_IN_FLIGHT = 32
_BATCH = 10
_BATCH_SIZE = 4096
"""Writes in a batch, and their bytes: of more, Cassandra warns, or refuses them."""
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
# The driver logs each failure with its traceback, besides raising it; ours carries it as cause.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


class Undecided(errors.Unavailable):
    """Whether a conditional write was applied is not known; a serial read decides it."""


class Levels(NamedTuple):
    """Consistency levels.

    Attributes:
        plain: of ordinary reads and writes.
        wide: of those that must meet across all data centres, as claims do.
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
    """A keyspace of a cluster, connected to when it is first used.

    Args:
        options: the driver's option group.
        datacenter: of this process, if the options name none.
        option: how the group is called, for messages.
        retention: seconds.

    Attributes:
        levels: the consistency levels to use.
        retention: seconds for which finished operations are kept; 0 means for ever.
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
        # By process: sockets and threads do not survive a fork. What an ancestor opened stays
        # referenced, so that the child does not close it.
        self._connections: dict[int, _Connection] = {}

    def read(self, cql: str, parameters: Mapping[str, Any], level: int | None = None) -> list[Row]:
        """All rows of a SELECT; a serial level sees conditional writes to their end.

        Raises:
            Unavailable: the cluster does not answer.
            ConfigError: the schema is not there, or options can't work.
        """
        deadline = time.monotonic() + _CONTENTION
        while True:
            try:
                with self.answering(conditional=level in _SERIAL):
                    statement = self._bind(cql, parameters)
                    statement.consistency_level = self.levels.plain if level is None else level
                    return list(self._session().execute(statement))
            except Undecided:
                # A serial read is a round of Paxos itself, and may lose it to another's.
                if time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0, 0.05))

    def scan(self, cql: str) -> Iterator[Row]:
        """The rows of a SELECT of a whole table, fetched in pages as they are asked for."""
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
        """The rows of several SELECTs, asked side by side; raises as :meth:`read`."""
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
        """Several writes without conditions; some may happen if one fails.

        Small ones go to the cluster together, as unlogged batches: one message and one answer
        instead of one for each. (What speaks against batches over several partitions is the
        load on the node that spreads them, which is that of a handful of writes here.)

        Raises:
            Unavailable: one was not acknowledged (and may have happened).
        """
        self.send(calls, level)()

    def send(self, calls: Iterable[Call], level: int | None = None) -> Callable[[], None]:
        """As :meth:`write`, but go on meanwhile.

        Returns:
            What waits for the answers; raises as :meth:`write`.
        """
        waiting = list(calls)
        if not waiting:
            return _nothing
        futures = []
        with self.answering():
            for together in _batches([self._bind(*call) for call in waiting]):
                statement = _joined(together, BatchType.UNLOGGED)
                statement.consistency_level = self.levels.plain if level is None else level
                # Each sets its own timestamp, or is a row that stays as it is.
                statement.is_idempotent = True
                futures.append(self._session().execute_async(statement))

        def finish() -> None:
            with self.answering():
                for future in futures:
                    future.result()

        return finish

    def cas(self, calls: Sequence[Call], serial: int) -> tuple[bool, Row | None]:
        """One conditional write, or several to one partition as a batch: all or nothing.

        Returns:
            Whether it was applied; if not, what the condition found instead, if anything.

        Raises:
            Undecided: it may have been applied, or may yet be.
            Unavailable: it was not, and will not be.
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
        """The data centre that ordinary reads and writes are answered by; '' if any is."""
        with self.answering():
            self._session()
        return self._connection().region[0]

    @property
    def is_one_region(self) -> bool:
        """Whether all nodes are in one data centre, so that no other decides anything."""
        with self.answering():
            hosts = self._session().cluster.metadata.all_hosts()
        return len({host.datacenter for host in hosts}) <= 1

    def admin(self, keyspace: str | None, agreement: float = 30.0) -> tuple[Cluster, Any]:
        """A connection for changes of the schema; the caller shuts the cluster down.

        Args:
            keyspace: to use; None for none.
            agreement: seconds that a change waits for all nodes, lost ones too, to have it.
        """
        with self.answering():
            return self._open(keyspace, agreement)

    def answering(self, *, conditional: bool = False) -> "_Answering":
        """Turn errors of the driver into Poppy's, for the time of a block.

        Args:
            conditional: an error may leave open whether what was asked for was done.
        """
        return _Answering(self._option, conditional)

    def close(self) -> None:
        """Close this process's session; the next use opens another."""
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
            # The driver says of a keyspace that is missing that no host is available.
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
            # The driver's own limit is ten minutes, for which a node that is back is not used.
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
    """Turns the errors of the driver into Poppy's.

    It is around every request, and a class takes a third of the time of a generator.
    """

    __slots__ = ("_conditional", "_option")

    def __init__(self, option: str, conditional: bool) -> None:
        self._option = option
        self._conditional = conditional

    def __enter__(self) -> None:
        """Nothing to prepare."""

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
        """What to raise instead; None for what is no outage, but a mistake of ours."""
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


def _batches(bound: Iterable[Any]) -> Iterator[list[Any]]:
    """Bound statements in groups that fit into one batch; a large one is alone."""
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
    """One statement, or the batch of several."""
    if len(bound) == 1:
        return bound[0]
    batch = BatchStatement(kind)
    for statement in bound:
        batch.add(statement)
    return batch


def _nothing() -> None:
    """There is nothing to wait for."""


def _region(cluster: Cluster) -> str:
    policy = cluster.profile_manager.default.load_balancing_policy
    if isinstance(policy, TokenAwarePolicy):
        policy = policy._child_policy
    return getattr(policy, "local_dc", "") or ""


def _outage(undecided: bool) -> errors.Unavailable:
    kind = Undecided if undecided else errors.Unavailable
    return kind("The database does not answer")


def _is_undecided(exc: BaseException) -> bool:
    # "Unavailable" is said before anything was done; a node that was never reached did nothing.
    if isinstance(exc, NoHostAvailable):
        return any(not isinstance(it, cassandra.Unavailable) for it in _causes(exc))
    return not isinstance(exc, cassandra.Unavailable)


def _causes(exc: Any) -> list[BaseException]:
    found = exc.errors
    return list(found.values() if isinstance(found, Mapping) else found or [])
