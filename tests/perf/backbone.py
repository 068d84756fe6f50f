# SPDX-License-Identifier: Apache-2.0
"""Real Cassandra and ZooKeeper for the benchmarks of production backends.

As in production, the JIT compiler optimizes their code while they run. A benchmark that compares
a part that needs them with one that does not must therefore warm them up first.
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
    """Addresses of the two servers.

    Attributes:
        cassandra: the host of Cassandra.
        cassandra_port: the CQL port of Cassandra.
        zookeeper: ``host:port`` of ZooKeeper.
    """

    cassandra: str
    cassandra_port: int
    zookeeper: str

    def options(self, **taskflow: object) -> Options:
        """Return options of a Poppy with its own keyspace and job board.

        Args:
            **taskflow: more options of ``[drivers:distributed_task:taskflow]``.
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
    """Start both servers and stop them at the end of the block."""
    with Cassandra(long_lived=True) as cassandra, ZooKeeper(long_lived=True) as zookeeper:
        yield Backbone(cassandra.host, cassandra.port, zookeeper.hosts)
