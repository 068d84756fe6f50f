# SPDX-License-Identifier: Apache-2.0
"""A Cassandra for the duration of a test: one node, or two data centers.

A node takes 4 s to start (7 s of one core) and 450 MB. Tests without special needs share one
through the fixture ``cassandra`` of :mod:`tests.real.fixtures`.
"""

import contextlib
import json
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real.jars import jars
from tests.real.jvm import JavaServer, make_certificates, spare_address

PORT = 9042
_STORAGE_PORT = 7000
_PASSWORD = "poppy-lab"
#: Access that Cassandra needs on Java 17, from its own jvm17-server.options.
_EXPORTS = """
    java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
    java.base/java.lang.ref java.management.rmi/com.sun.jmx.remote.internal.rmi
    java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql
    jdk.unsupported/sun.misc jdk.compiler/com.sun.tools.javac.file jdk.attach/sun.tools.attach
"""
_OPENS = """
    java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref
    java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module
    java.base/jdk.internal.util.jar jdk.management/com.sun.management.internal
    java.base/sun.nio.ch java.base/java.io java.base/java.nio java.base/java.lang
    java.base/java.lang.reflect java.base/java.util java.base/java.util.concurrent
    java.base/java.util.concurrent.atomic jdk.compiler/com.sun.tools.javac
"""


def make_volatile(session: Any) -> None:
    """Keep a keyspace out of the commit log, so that TRUNCATE need not flush its tables."""
    session.execute(f"ALTER KEYSPACE {session.keyspace} WITH durable_writes = false")


def truncate(session: Any, tables: Sequence[str]) -> None:
    """Empty tables. Truncating takes some time, so skip those without rows."""
    found = {it: session.execute_async(f"SELECT * FROM {it} LIMIT 1") for it in tables}
    full = [it for it, future in found.items() if future.result().one() is not None]
    for future in [session.execute_async(f"TRUNCATE {it}") for it in full]:
        future.result()


class Cassandra(JavaServer):
    """One node at the standard ports of its own loopback address.

    ``with Cassandra() as node:`` starts it empty. The test is skipped if Java is missing or the
    jars can't be fetched. Data survives :meth:`stop`, and also :meth:`kill` if the node is
    ``durable``. Otherwise, a kill loses the last 0.1 s, since the commit log is synced
    periodically, and all changes of the schema since the start.

    Attributes:
        host: a loopback address.
        port: for CQL.
        datacenter: its name.
        username: a superuser; empty without authentication.
        password: of that superuser.
    """

    title = "Cassandra"
    start_timeout = 90.0

    def __init__(
        self,
        *,
        authentication: bool = False,
        tls: bool = False,
        datacenter: str = "dc1",
        host: str | None = None,
        seeds: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        durable: bool = False,
        long_lived: bool = False,
    ) -> None:
        """Prepare without starting.

        Args:
            authentication: require a password (``username`` and ``password``) and check
                permissions.
            tls: accept clients by TLS only; they verify the node by ``ca_file``.
            datacenter: its name.
            host: a loopback address; by default a spare one.
            seeds: addresses of nodes to join; by default it is alone.
            settings: further settings of ``cassandra.yaml``.
            durable: sync the commit log before each answer, as a single node must to keep what
                it has acknowledged, and flush the system's tables after each of their changes.
                That doubles the CPU time of most tests.
            long_lived: see :class:`.jvm.JavaServer`.
        """
        super().__init__(long_lived=long_lived)
        self.host = host or spare_address(PORT, _STORAGE_PORT)
        self.port = PORT
        self.datacenter = datacenter
        self.username = "cassandra" if authentication else ""
        self.password = "cassandra" if authentication else ""
        self._tls = tls
        self._more = settings or {}
        self._durable = durable
        self._seeds = tuple(seeds) or (self.host,)

    @property
    def ca_file(self) -> Path | None:
        """The certificate that clients verify the node by; None without TLS."""
        return self.directory / "ca.pem" if self._tls else None

    def prepare(self) -> None:
        """Write the configuration."""
        if self._tls:
            make_certificates(self.directory, self.host, _PASSWORD)
        # JSON is also YAML.
        (self.directory / "cassandra.yaml").write_text(
            json.dumps({**self._settings(), **self._more}, indent=2)
        )
        (self.directory / "cassandra-rackdc.properties").write_text(
            f"dc={self.datacenter}\nrack=rack1\n"
        )

    def arguments(self) -> Sequence[str]:
        """Return the daemon's arguments."""
        directory = self.directory
        agent = next(jars().glob("jamm-*.jar"))
        alone = self._seeds == (self.host,)
        properties = {
            "cassandra.config": f"file://{directory}/cassandra.yaml",
            "cassandra-rackdc.properties": f"file://{directory}/cassandra-rackdc.properties",
            "cassandra.storagedir": directory,
            "cassandra.logdir": directory,
            "cassandra-foreground": "yes",
            "cassandra.skip_wait_for_gossip_to_settle": 0,
            # Seconds to listen for other nodes before joining; it fails if this is too short.
            "cassandra.ring_delay_ms": 1 if alone else 5000,
            "cassandra.shutdown_announce_in_ms": 0,
            "cassandra.superuser_setup_delay_ms": 0,
            "jdk.attach.allowAttachSelf": "true",
            "io.netty.tryReflectionSetAccessible": "true",
        }
        if not self._durable:
            properties["cassandra.unsafesystem"] = "true"
        return [
            "-Xms128m",
            "-Xmx384m",
            f"-javaagent:{agent}",
            *(f"-D{name}={value}" for name, value in properties.items()),
            *(f"--add-exports={module}=ALL-UNNAMED" for module in _EXPORTS.split()),
            *(f"--add-opens={module}=ALL-UNNAMED" for module in _OPENS.split()),
            "org.apache.cassandra.service.CassandraDaemon",
        ]

    def answers(self) -> bool:
        """Return whether a client can log in and begin a session."""
        with contextlib.suppress(OSError, struct.error), self._connection() as connection:
            return self._begins_session(connection)
        return False

    def knows(self, other: "Cassandra") -> bool:
        """Return whether it tells its clients of another node of the cluster."""
        query, statement, consistency = 0x07, b"SELECT peer FROM system.peers_v2", b"\0\1\0"
        with contextlib.suppress(OSError, struct.error), self._connection() as connection:
            if self._begins_session(connection):
                body = struct.pack(">i", len(statement)) + statement + consistency
                return socket.inet_aton(other.host) in _exchange(connection, query, body)[1]
        return False

    @contextlib.contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((self.host, self.port), 5))
            if self._tls:
                context = ssl.create_default_context(cafile=self.ca_file)
                connection = stack.enter_context(
                    context.wrap_socket(connection, server_hostname=self.host)
                )
            yield connection

    def _begins_session(self, connection: socket.socket) -> bool:
        """Open a session in protocol version 4, without needing a driver."""
        startup, authenticate, ready, credentials, success = 0x01, 0x03, 0x02, 0x0F, 0x10
        # A map with one pair of strings, each after its length.
        version = b"\0\1" + b"\0\x0bCQL_VERSION" + b"\0\x053.0.0"
        answer, _body = _exchange(connection, startup, version)
        if answer == authenticate:
            token = f"\0{self.username}\0{self.password}".encode()
            body = struct.pack(">i", len(token)) + token
            answer, _body = _exchange(connection, credentials, body)
        return answer in (ready, success)

    def _settings(self) -> dict[str, Any]:
        directory = self.directory
        secured = {
            "enabled": True,
            "optional": False,
            "keystore": str(directory / "server.p12"),
            "keystore_password": _PASSWORD,
            "store_type": "PKCS12",
        }
        return {
            "cluster_name": "poppy-lab",
            "listen_address": self.host,
            "rpc_address": self.host,
            "native_transport_port": self.port,
            "storage_port": _STORAGE_PORT,
            "seed_provider": [
                {
                    "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                    "parameters": [{"seeds": ",".join(self._seeds)}],
                }
            ],
            "endpoint_snitch": "GossipingPropertyFileSnitch",
            "dynamic_snitch": False,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "num_tokens": 1,
            "auto_bootstrap": False,
            "authenticator": "PasswordAuthenticator" if self.username else "AllowAllAuthenticator",
            "authorizer": "CassandraAuthorizer" if self.username else "AllowAllAuthorizer",
            "client_encryption_options": secured if self._tls else {"enabled": False},
            "data_file_directories": [str(directory / "data")],
            "commitlog_directory": str(directory / "commitlog"),
            "hints_directory": str(directory / "hints"),
            "saved_caches_directory": str(directory / "saved_caches"),
            "cdc_raw_directory": str(directory / "cdc_raw"),
            **_commit_log(self._durable),
            "commitlog_segment_size": "4MiB",
            "commitlog_total_space": "64MiB",
            "memtable_heap_space": "48MiB",
            "memtable_offheap_space": "48MiB",
            "key_cache_size": "1MiB",
            "counter_cache_size": "0MiB",
            "file_cache_size": "32MiB",
            # As the driver's page recommends.
            "paxos_variant": "v2",
            "concurrent_reads": 8,
            "concurrent_writes": 8,
            "concurrent_compactors": 1,
            "native_transport_max_threads": 16,
            # Otherwise, each DROP and TRUNCATE would first copy the table.
            "auto_snapshot": False,
        }


def _commit_log(durable: bool) -> dict[str, str]:
    if durable:
        return {"commitlog_sync": "batch"}
    return {"commitlog_sync": "periodic", "commitlog_sync_period": "100ms"}


class CassandraPair:
    """Two data centers, ``dc1`` and ``dc2``, with one node each.

    ``with CassandraPair() as pair:`` starts both in about 20 s; ``pair.nodes["dc2"].stop()``
    loses one. A keyspace spans both with ``NetworkTopologyStrategy`` and ``'dc1': 1, 'dc2': 1``.

    Attributes:
        nodes: by the name of the data center.
    """

    def __init__(self) -> None:
        """Prepare without starting."""
        names = ("dc1", "dc2")
        hosts = [spare_address(PORT, _STORAGE_PORT) for _ in names]
        # Both are seeds, so that each can start while the other is down.
        self.nodes = {
            name: Cassandra(datacenter=name, host=host, seeds=hosts)
            for name, host in zip(names, hosts, strict=True)
        }

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for node in self.nodes.values():
                stack.push(node)
                node.launch()
            for node in self.nodes.values():
                node.wait_until_up()
            self.wait_until_joined()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def wait_until_joined(self, timeout: float = 60.0) -> None:
        """Wait until each node tells its clients of the other.

        Raises:
            RuntimeError: it takes too long; the message has the ends of the logs.
        """
        one, other = self.nodes.values()
        deadline = time.monotonic() + timeout
        while not (one.knows(other) and other.knows(one)):
            if time.monotonic() > deadline:
                logs = one.log_tail(), other.log_tail()
                raise RuntimeError("the data centres do not see each other:\n" + "\n".join(logs))
            time.sleep(0.1)


def _exchange(connection: socket.socket, opcode: int, body: bytes) -> tuple[int, bytes]:
    """Send a frame; return the opcode and the body of the answer."""
    connection.sendall(struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body)
    with connection.makefile("rb") as stream:
        _version, _flags, _stream, answer, length = struct.unpack(">BBhBi", stream.read(9))
        return answer, stream.read(length)
