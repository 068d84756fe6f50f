# SPDX-License-Identifier: Apache-2.0
"""Which data centres keep replicas, when one is lost and when one comes.

A majority is counted over the replicas that the keyspace is said to have, living or not. So with
a data centre lost for good, the others decide at ``SERIAL`` again only when it is taken out of the
keyspace. (Apache Cassandra documentation, "Data Definition: ALTER KEYSPACE"; "Dynamo".)
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
    """The number of replicas by data centre; empty when they are not kept by data centre."""
    cluster, session = database.admin(None)
    try:
        with database.answering():
            return _replicas(session, database.options.keyspace)
    finally:
        cluster.shutdown()


def drop(database: Database, region: str, *, force: bool = False) -> None:
    """Take a data centre that is lost out of the keyspace.

    Args:
        force: though nodes of it answer.

    Raises:
        InvalidRequest: it has no replicas, is our own, or nodes of it answer.
        ConfigError: Cassandra refuses; as it does while other nodes come and go.
        Unavailable: our nodes do not answer, or one does not take over what was changed.
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
    """Have a data centre keep replicas; what is stored so far is not copied.

    Raises:
        InvalidRequest: the cluster has no such data centre, it has replicas, or there is no
            such number of nodes.
        ConfigError: Cassandra refuses; as it does for a while after a node has come back.
        Unavailable: the nodes do not answer, or one does not take over what was changed.
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
    # The driver would wait for the lost nodes too, and in vain.
    deadline = time.monotonic() + _AGREEMENT
    while behind := _behind(session, lost):
        if time.monotonic() > deadline:
            raise errors.Unavailable(
                f"The keyspace is changed, but {', '.join(behind)} has not taken that over; if "
                "it is down, it will when it starts"
            )
        time.sleep(_POLL)


def _behind(session: Any, lost: str | None) -> list[str]:
    """Addresses of nodes with another schema than the one that we speak with."""
    own = session.execute(_OWN).one()[0]
    return [
        str(peer)
        for peer, datacenter, version in session.execute(_PEERS)
        if datacenter != lost and version != own
    ]


def _living(cluster: Cluster, region: str, port: int) -> list[str]:
    """Addresses of a data centre where something listens; no connection is kept to others."""
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
