# SPDX-License-Identifier: Apache-2.0
"""Whether acknowledged writes survive the crash of a Cassandra node.

A write is acknowledged when enough replicas have it in memory and in their commit log. With the
default, ``periodic``, a log reaches the disk up to ten seconds later. So either other replicas
must have what a crashed node had not yet written, or each node must sync before it answers (Apache
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
"""The number of copies in a data centre that keeps a majority when any one is lost."""

_REPLICATION = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
_COMMIT_LOG = "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'"
_SYNCED = ("batch", "group")
_ONE = (ConsistencyLevel.ONE, ConsistencyLevel.LOCAL_ONE)


def remarks(database: Database) -> Sequence[str]:
    """Return the risks of losing acknowledged writes, as sentences; empty if there are none.

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
        f"{', '.join(weak)}, and commitlog_sync is {how} at {', '.join(late)}: the crash of a "
        f"node can lose acknowledged writes. Keep {REPLICAS} replicas in each data centre and "
        "write at a quorum, or set commitlog_sync to batch or group",
    )


def _weaknesses(keyspace: str, replication: Mapping[str, str], level: int) -> list[str]:
    """Return why other nodes may lack what one has acknowledged."""
    found = []
    for name, number in sorted(replication.items()):
        if name != "class" and int(number.partition("/")[0]) < REPLICAS:
            where = "" if name == "replication_factor" else f" in {name}"
            found.append(f"Keyspace {keyspace} keeps {number} of {REPLICAS} replicas{where}")
    if level in _ONE:
        found.append("consistency_level asks for one replica")
    return found


def _commit_log(session: Any, host: Any) -> str | None:
    """Return how a node syncs its log; None if unknown."""
    try:
        row = session.execute(_COMMIT_LOG, host=host).one()
    except (
        cassandra.RequestExecutionException,
        cassandra.RequestValidationException,
        NoHostAvailable,
    ):
        # The table is missing before Cassandra 4.0, and not every user may read it.
        return None
    return None if row is None else str(row[0]).lower()
