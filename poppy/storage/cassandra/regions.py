# SPDX-License-Identifier: Apache-2.0
"""Which data centres keep replicas: dropping a lost one and adding a new one.

A majority counts all replicas that the keyspace defines, alive or not. So after a data centre is
lost for good, the others can decide at ``SERIAL`` only once it has been removed from the keyspace.
(Apache Cassandra documentation, "Data Definition: ALTER KEYSPACE"; "Dynamo".)
"""

import socket
import time
from collections.abc import Mapping
from typing import Any

from cassandra.cluster import Cluster

from poppy.common import errors
from poppy.storage.cassandra.session import Database

_STRATEGY = "NetworkTopologyStrategy"
_REPLICATION = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
_OWN = "SELECT schema_version FROM system.local"
_PEERS = "SELECT peer, data_center, schema_version FROM system.peers"
_AGREEMENT = 30.0
_POLL = 0.2
_PROBE = 2.0


def replicas(database: Database) -> Mapping[str, int]:
    """Return the number of replicas by data centre; empty if replication is not by data centre."""
    cluster, session = database.admin(None)
    try:
        with database.answering():
            return _replicas(session, database.options.keyspace)
    finally:
        cluster.shutdown()


def drop(database: Database, region: str, *, force: bool = False) -> None:
    """Remove a lost data centre from the keyspace.

    Args:
        force: remove it even if its nodes answer.

    Raises:
        InvalidRequest: it has no replicas, is the local one, or nodes of it answer.
        ConfigError: Cassandra refuses, as it does while other nodes join or leave.
        Unavailable: the local nodes do not answer, or one does not adopt the change.
    """
    own = database.region
    cluster, session = database.admin(None, agreement=0)
    try:
        with database.answering():
            found = _replicas(session, database.options.keyspace)
            if region not in found:
                raise errors.InvalidRequest(_unknown(region, found))
            left = {name: number for name, number in found.items() if name != region}
            if region == own or not left:
                raise errors.InvalidRequest(
                    f"{region} is the region that this runs in: run it in one that is left"
                )
            living = [] if force else _living(cluster, region, database.options.port)
            if living:
                raise errors.InvalidRequest(
                    f"Region {region} is not lost: {', '.join(living)} answers"
                )
            _change(session, database.options.keyspace, left, lost=region)
    finally:
        cluster.shutdown()


def add(database: Database, region: str, number: int) -> None:
    """Let a data centre keep replicas. Existing data is not copied.

    Raises:
        InvalidRequest: the cluster has no such data centre, it already has replicas, or it has
            fewer nodes.
        ConfigError: Cassandra refuses, as it does for a while after a node has come back.
        Unavailable: the nodes do not answer, or one does not adopt the change.
    """
    cluster, session = database.admin(None, agreement=0)
    try:
        with database.answering():
            found = _replicas(session, database.options.keyspace)
            if not found:
                raise errors.InvalidRequest(_unknown(region, found))
            if region in found:
                raise errors.InvalidRequest(
                    f"Region {region} keeps {found[region]} replicas already"
                )
            nodes = sum(host.datacenter == region for host in cluster.metadata.all_hosts())
            if not 0 < number <= nodes:
                raise errors.InvalidRequest(
                    f"{number} replicas can't be kept in {region}, where there are {nodes} nodes"
                )
            _change(session, database.options.keyspace, {**found, region: number})
    finally:
        cluster.shutdown()


def _replicas(session: Any, keyspace: str) -> dict[str, int]:
    row = session.execute(_REPLICATION, (keyspace,)).one()
    if row is None:
        raise errors.ConfigError(f"There is no keyspace {keyspace} in Cassandra")
    found = dict(row[0])
    if not found.pop("class").endswith(_STRATEGY):
        return {}
    return {name: int(number) for name, number in found.items()}


def _change(
    session: Any, keyspace: str, wanted: Mapping[str, int], lost: str | None = None
) -> None:
    parts = "".join(f", '{name}': '{number}'" for name, number in wanted.items())
    session.execute(
        f"ALTER KEYSPACE {keyspace} WITH replication = {{'class': '{_STRATEGY}'{parts}}}",
        timeout=60.0,
    )
    # The driver would also wait for the lost nodes, in vain.
    deadline = time.monotonic() + _AGREEMENT
    while behind := _behind(session, lost):
        if time.monotonic() > deadline:
            raise errors.Unavailable(
                f"The keyspace is changed, but {', '.join(behind)} has not adopted the change; if "
                "it is down, it will when it starts"
            )
        time.sleep(_POLL)


def _behind(session: Any, lost: str | None) -> list[str]:
    """Return the addresses of nodes with another schema version than the connected node."""
    own = session.execute(_OWN).one()[0]
    return [
        str(peer)
        for peer, datacenter, version in session.execute(_PEERS)
        if datacenter != lost and version != own
    ]


def _living(cluster: Cluster, region: str, port: int) -> list[str]:
    """Return the addresses of a data centre's nodes that accept connections."""
    living = []
    for host in cluster.metadata.all_hosts():
        if host.datacenter == region:
            try:
                socket.create_connection((host.address, port), _PROBE).close()
            except OSError:
                continue
            living.append(host.address)
    return living


def _unknown(region: str, found: Mapping[str, int]) -> str:
    if not found:
        return "The keyspace is not replicated by data centre (NetworkTopologyStrategy)"
    return f"No data is kept in {region}, only in: {', '.join(sorted(found))}"
