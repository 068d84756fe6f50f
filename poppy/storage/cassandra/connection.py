# SPDX-License-Identifier: Apache-2.0
"""The connection to the cluster: one session for each process, made from the options."""

import logging
import os
import ssl
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
)
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import tuple_factory

from poppy.common import errors
from poppy.storage.cassandra.driver_errors import COMMAND

_PROTOCOL = 4
"""Version 5 adds checksums to each message. The driver computes them in Python, which costs a
tenth of a request, and TCP and TLS have checksums already."""
_RECONNECT = (0.2, 5.0)
# The driver logs each failure with a traceback besides raising it. Poppy's error has it as cause.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


class Connection(NamedTuple):
    """The session of a process, and the statements that are prepared in it."""

    lock: threading.Lock
    opened: dict[str, tuple[Cluster, Any]]
    prepared: dict[str, Any]
    region: list[str]


class Connections:
    """The connections of all processes, each opened on first use.

    Args:
        options: the driver's option group.
        datacenter: the process's data centre, if the options name none.
        option: the name of the option group, for messages.
        level: the consistency level of a statement without one.
    """

    def __init__(self, options: Any, datacenter: str, option: str, level: int) -> None:
        self._options = options
        self._datacenter = options.datacenter or datacenter
        self._option = option
        self._level = level
        # By process: sockets and threads do not survive a fork. An ancestor's connections stay
        # referenced, so that the child does not close them.
        self._connections: dict[int, Connection] = {}

    def current(self) -> Connection:
        """Return this process's connection, which may not be open yet."""
        pid = os.getpid()
        return self._connections.get(pid) or self._connections.setdefault(
            pid, Connection(threading.Lock(), {}, {}, [""])
        )

    def session(self) -> Any:
        """Return this process's session, open."""
        connection = self.current()
        opened = connection.opened.get("it")
        if opened is None:
            with connection.lock:
                opened = connection.opened.get("it")
                if opened is None:
                    opened = self.open(self._options.keyspace)
                    connection.region[0] = _region(opened[0])
                    connection.opened["it"] = opened
        return opened[1]

    def bind(self, cql: str, parameters: Mapping[str, Any]) -> Any:
        """Return a statement with its parameters; it is prepared on first use."""
        session = self.session()
        prepared = self.current().prepared
        statement = prepared.get(cql)
        if statement is None:
            statement = prepared[cql] = session.prepare(cql)
        return statement.bind(parameters)

    def open(self, keyspace: str | None, agreement: float = 30.0) -> tuple[Cluster, Any]:
        """Open another connection, which the caller shuts down; see :meth:`.Database.admin`."""
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

    def close(self) -> None:
        """Close this process's session. The next use opens another."""
        connection = self._connections.pop(os.getpid(), None)
        if connection is not None:
            for cluster, _session in connection.opened.values():
                cluster.shutdown()

    def _make_cluster(self, agreement: float) -> Cluster:
        options = self._options
        profile = ExecutionProfile(
            load_balancing_policy=self._policy(),
            consistency_level=self._level,
            request_timeout=options.request_timeout,
            row_factory=tuple_factory,
        )
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
        strategy = self._options.load_balance_strategy
        local = DCAwareRoundRobinPolicy(self._datacenter)
        policy = local if strategy.endswith("datacenter") else RoundRobinPolicy()
        return TokenAwarePolicy(policy) if strategy.startswith("token") else policy

    def _ssl_context(self) -> ssl.SSLContext | None:
        options = self._options
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


def _region(cluster: Cluster) -> str:
    policy = cluster.profile_manager.default.load_balancing_policy
    if isinstance(policy, TokenAwarePolicy):
        policy = policy._child_policy
    return getattr(policy, "local_dc", "") or ""
