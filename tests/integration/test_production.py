# SPDX-License-Identifier: Apache-2.0
"""The tests of the API and of operations once more, on Cassandra and ZooKeeper."""
# ruff: noqa: F403, F811

import uuid

import pytest

pytest.importorskip("cassandra")

from tests.api import conftest
from tests.api.test_actions import *
from tests.api.test_akamai import *
from tests.api.test_analytics import *
from tests.api.test_certificates import *
from tests.api.test_limits import *
from tests.api.test_lookups import *
from tests.api.test_operations import *
from tests.api.test_repetition import *
from tests.api.test_services import *
from tests.functional.harness import Harness
from tests.functional.test_failures import TestDeleteOvertakesARun  # noqa: F401
from tests.functional.test_operations import *
from tests.integration.test_storage_cassandra import TABLES, make_storage
from tests.real.fixtures import cassandra, zookeeper  # noqa: F401

pytestmark = pytest.mark.real


class Api(conftest.Api):
    """As there, but the rows are Cassandra's and the jobs ZooKeeper's."""

    def rows(self):
        session = self.harness.storage._database._session()
        count = "SELECT count(*) FROM {}"
        services = list(self.harness.storage.services.scan())
        return {
            "services": len(services),
            "domains": session.execute(count.format("domains")).one()[0],
            "operations": sum(
                len(self.harness.operations(service.service_id, service.project_id))
                for service in services
            ),
            "poppy_jobs": self.harness.boot.distributed_task._poster().job_count,
        }


@pytest.fixture(scope="module")
def backbone(cassandra, zookeeper):
    """Options of a Poppy on a keyspace of its own, and how to empty that."""
    synced = make_storage(cassandra, keyspace=f"production_{uuid.uuid4().hex[:12]}")
    synced.sync()

    def options():
        session = synced._database._session()
        for future in [session.execute_async(f"TRUNCATE {table}") for table in TABLES]:
            future.result()
        host, _, port = zookeeper.hosts.partition(":")
        return {
            "groups": {
                "drivers": {"storage": "cassandra"},
                "drivers:storage:cassandra": {
                    "cluster": cassandra.host,
                    "port": cassandra.port,
                    "keyspace": synced.options.keyspace,
                },
            },
            "jobboard_backend_type": "zookeeper",
            "jobboard_backend_host": host,
            "jobboard_backend_port": port,
            "jobboard_path": uuid.uuid4().hex,
        }

    yield options
    synced.close()


@pytest.fixture
def api(tmp_path, backbone):
    made = Api(tmp_path, **backbone())
    yield made
    made.close()


@pytest.fixture
def shared_api(api):
    """The tables are shared by the tests of this file, so there is one API at a time."""
    return api


@pytest.fixture
def make(tmp_path, backbone):
    made = []

    def make(**options):
        made.append(Harness(tmp_path, **{**backbone(), **options}))
        return made[-1]

    yield make
    for it in made:
        it.close()


@pytest.fixture
def poppy(tmp_path, backbone):
    made = Harness(tmp_path, **backbone())
    yield made
    made.close()
