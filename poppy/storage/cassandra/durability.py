# SPDX-License-Identifier: Apache-2.0
"""Whether what Cassandra acknowledges survives a node that is killed.

A write is acknowledged when enough replicas have it in memory and in their commit log. A log that
is synced ``periodic``, the default, reaches the disk up to ten seconds later. So either other
replicas have what a killed node had not written yet, or each node syncs before it answers (Apache
Cassandra documentation, "cassandra.yaml": ``commitlog_sync``; "Virtual tables": ``settings``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cassandra
from cassandra import ConsistencyLevel
from cassandra.cluster import NoHostAvailable

from poppy.common import errors
from poppy.storage.cassandra.session import Database

REPLICAS = 3
"""Copies in a data centre of which a majority outlives any one."""

_REPLICATION = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
_COMMIT_LOG = "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'"
_SYNCED = ("batch", "group")
_ONE = (ConsistencyLevel.ONE, ConsistencyLevel.LOCAL_ONE)


def remarks(database: Database) -> Sequence[str]:
    """What can make the store lose acknowledged writes, in sentences; empty if nothing can.

    Raises:
        ConfigError: there is no keyspace.
        Unavailable: the cluster does not answer.
    """
    keyspace = database.options.keyspace
    cluster, session = database.admin(None)
    try:
        with database.answering():
            row = session.execute(_REPLICATION, (keyspace,)).one()
            modes = {
                host.address: _commit_log(session, host)
                for host in cluster.metadata.all_hosts()
                if host.is_up
            }
    finally:
        cluster.shutdown()
    if row is None:
        raise errors.ConfigError(f"There is no keyspace {keyspace} in Cassandra")
    weak = _weaknesses(keyspace, dict(row[0]), database.levels.plain)
    late = sorted(address for address, mode in modes.items() if mode not in _SYNCED)
    if not weak or not late:
        return ()
    how = " and ".join(sorted({modes[address] or "unknown" for address in late}))
    return (
        f"{', '.join(weak)}, and commitlog_sync is {how} at {', '.join(late)}: what was "
        f"acknowledged is lost with a node that is killed. Keep {REPLICAS} replicas in each data "
        "centre and write at a quorum, or set commitlog_sync to batch or group",
    )


def _weaknesses(keyspace: str, replication: Mapping[str, str], level: int) -> list[str]:
    """Why another node need not have what one had acknowledged."""
    found = []
    for name, number in sorted(replication.items()):
        if name != "class" and int(number.partition("/")[0]) < REPLICAS:
            where = "" if name == "replication_factor" else f" in {name}"
            found.append(f"Keyspace {keyspace} keeps {number} of {REPLICAS} replicas{where}")
    if level in _ONE:
        found.append("consistency_level asks for one replica")
    return found


def _commit_log(session: Any, host: Any) -> str | None:
    """How a node syncs its log; None if it can't be told."""
    try:
        row = session.execute(_COMMIT_LOG, host=host).one()
    except (
        cassandra.RequestExecutionException,
        cassandra.RequestValidationException,
        NoHostAvailable,
    ):
        # Before Cassandra 4.0 there is no such table, and not everybody may read it.
        return None
    return None if row is None else str(row[0]).lower()
