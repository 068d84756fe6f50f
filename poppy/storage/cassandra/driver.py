# SPDX-License-Identifier: Apache-2.0
"""The storage driver for Apache Cassandra."""

import functools
from collections.abc import Mapping, Sequence
from typing import ClassVar

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors
from poppy.common.domains import Policy
from poppy.storage import base
from poppy.storage.cassandra import durability, migrate, options, regions
from poppy.storage.cassandra.claims import Claims
from poppy.storage.cassandra.domains import DomainStore
from poppy.storage.cassandra.due_index import DueIndex
from poppy.storage.cassandra.edge import EdgeStore
from poppy.storage.cassandra.failed_operations import FailedOperations
from poppy.storage.cassandra.flavor_references import FlavorReferences
from poppy.storage.cassandra.flavors import FlavorStore
from poppy.storage.cassandra.lookups import Lookups
from poppy.storage.cassandra.membership import MembershipStore
from poppy.storage.cassandra.opened import Opened
from poppy.storage.cassandra.operations import OperationStore
from poppy.storage.cassandra.partition import best_effort
from poppy.storage.cassandra.projections import Projections
from poppy.storage.cassandra.queries import DocumentStore, ProjectStore, QueryStore
from poppy.storage.cassandra.quota import Quota
from poppy.storage.cassandra.services import ServiceStore
from poppy.storage.cassandra.session import Database
from poppy.storage.cassandra.states import States

LOG = log.getLogger(__name__)


class CassandraStorage(base.Storage):
    """Stores everything in one Cassandra keyspace, which may span regions.

    Needs the extra ``poppy-cdn[cassandra]``. Example::

        [drivers]
        storage = cassandra

        [drivers:storage:cassandra]
        cluster = 10.0.0.11, 10.0.0.12
        datacenter = dc1
        replication_strategy = class:NetworkTopologyStrategy,dc1:3,dc2:3

    ``poppy-manage db sync`` creates the keyspace and its tables.
    :mod:`poppy.storage.cassandra.partition` explains the design.
    """

    OPTS: ClassVar = options.OPTS

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        group = f"[drivers:{self.KIND}:{name}]"
        retention = conf["drivers:storage"].operation_retention * 86400
        self._database = Database(self.options, conf.datacenter, group, retention)
        claims = Claims(self._database, functools.partial(Policy.of, conf))
        quota = Quota(self._database)
        references = FlavorReferences(self._database)
        states = States(self._database)
        self._due_index = due_index = DueIndex(self._database, states)
        failed = FailedOperations(self._database)
        lookups = Lookups(self._database)
        projections = Projections(self._database, claims, quota, references, lookups)
        self.flavors = FlavorStore(self._database, references)
        opened = Opened(self._database)
        self.services = ServiceStore(
            self._database, claims, quota, references, due_index, projections, lookups, opened
        )
        self._operations = OperationStore(
            self._database, claims, due_index, projections, failed, states, opened
        )
        self.operations = self._operations
        self.domains = DomainStore(self._database)
        self.membership = MembershipStore(self._database)
        self.projects = ProjectStore(self._database)
        self.queries = QueryStore(self._database, lookups)
        self.documents = DocumentStore(self._database)
        self.edge = EdgeStore(self._database)

    def sync(self) -> None:
        """Create or migrate the keyspace and its tables; see :func:`.migrate.sync`.

        Then fill the projection of operations by state with what servers and workers of an earlier
        version have stored. Run it again after the last of those has stopped.
        """
        migrate.sync(self._database, self.documents)
        self._operations.fill()

    def check(self) -> None:
        """Refuse a schema that this version can't use; see :func:`.migrate.check`."""
        migrate.check(self._database, self.documents)

    def version(self) -> base.SchemaVersion:
        """Return the number of the last migration; see :func:`.migrate.version`."""
        return migrate.version(self._database)

    def durability(self) -> Sequence[str]:
        """Check replication and commit logs; see :func:`.durability.remarks`."""
        return durability.remarks(self._database)

    def replicas(self) -> Mapping[str, int]:
        """Return the keyspace's replication; see :meth:`.Storage.replicas`."""
        return regions.replicas(self._database)

    def drop_region(self, region: str, *, force: bool = False) -> None:
        """Drop a data centre from the keyspace; see :func:`.regions.drop`."""
        regions.drop(self._database, region, force=force)

    def add_region(self, region: str, replicas: int) -> None:
        """Add a data centre to the keyspace; see :func:`.regions.add`."""
        regions.add(self._database, region, replicas)

    def is_alive(self) -> bool:
        """Whether enough replicas answer a query of the tables; False before the first sync."""
        try:
            self._database.read(migrate.APPLIED, {})
        except errors.PoppyError:
            return False
        return True

    def close(self) -> None:
        """Close this process's session. A later use opens another."""
        with best_effort(LOG, "Deleting stale hints"):
            self._due_index.flush()
        self._database.close()
