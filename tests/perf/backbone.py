# SPDX-License-Identifier: Apache-2.0
"""A real Cassandra and a real ZooKeeper for the benchmarks that are about production.

Their code is optimised while they run, as in production. So who compares a part that needs them
with one that does not keeps them busy for a while before.
"""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from tests.real.cassandra import Cassandra
from tests.real.poppy import Options
from tests.real.zookeeper import ZooKeeper


@dataclass(frozen=True)
class Backbone:
    """Two servers.

    Attributes:
        cassandra: its host.
        cassandra_port: where it speaks CQL.
        zookeeper: ``host:port``.
    """

    cassandra: str
    cassandra_port: int
    zookeeper: str

    def options(self, **taskflow: object) -> Options:
        """Those of a Poppy with a keyspace and a board of its own.

        Args:
            **taskflow: more of ``[drivers:distributed_task:taskflow]``.
        """
        name = uuid.uuid4().hex[:12]
        return {
            "drivers": {"storage": "cassandra"},
            "drivers:storage:cassandra": {
                "cluster": self.cassandra,
                "port": self.cassandra_port,
                "keyspace": f"perf_{name}",
            },
            "drivers:distributed_task:taskflow": {
                "jobboard_backend_type": "zookeeper",
                "jobboard_backend_host": self.zookeeper,
                "jobboard_path": name,
                **taskflow,
            },
        }


@contextlib.contextmanager
def backbone() -> Iterator[Backbone]:
    """Start both; they end with the block."""
    with Cassandra(long_lived=True) as cassandra, ZooKeeper(long_lived=True) as zookeeper:
        yield Backbone(cassandra.host, cassandra.port, zookeeper.hosts)
