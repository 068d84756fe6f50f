# SPDX-License-Identifier: Apache-2.0
"""The tests of the API, of operations and of lists, run on Cassandra and ZooKeeper."""
# ruff: noqa: F403, F811

import uuid

import pytest

pytest.importorskip("cassandra")

from tests.api import conftest
from tests.api.test_actions import *
from tests.api.test_admin_search import *
from tests.api.test_akamai import *
from tests.api.test_analytics import *
from tests.api.test_certificates import *
from tests.api.test_limits import *
from tests.api.test_operations import *
from tests.api.test_repetition import *
from tests.api.test_services import *
from tests.functional.commands import printed
from tests.functional.conftest import run  # noqa: F401
from tests.functional.harness import PROJECT, Harness
from tests.functional.test_edge_api import (  # noqa: F401
    TestAccess,
    TestChanges,
    TestJoin,
    TestReport,
    app,
    log,
    node,
)
from tests.functional.test_edge_provider import (  # noqa: F401
    installed,
    test_worker_deploys_changes_purges_and_removes,
)
from tests.functional.test_failures import TestDeleteDuringRun  # noqa: F401
from tests.functional.test_manage_services import (  # noqa: F401
    deployed,
    test_list_is_limited_and_continues_after_the_marker,
    test_services_are_listed_by_project_status_and_provider,
)
from tests.functional.test_operations import *
from tests.integration.test_storage_cassandra import TABLES, make_storage
from tests.real.cassandra import make_volatile, truncate
from tests.real.fixtures import cassandra, zookeeper  # noqa: F401

pytestmark = [pytest.mark.real, pytest.mark.nightly]


class Api(conftest.Api):
    """The API with rows in Cassandra and jobs in ZooKeeper."""

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
    """A function that empties a keyspace and returns the options of a Poppy on it."""
    synced = make_storage(cassandra, keyspace=f"production_{uuid.uuid4().hex[:12]}")
    synced.sync()
    make_volatile(synced._database._session())

    def options():
        truncate(synced._database._session(), TABLES)
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
    """The tests of this file share the tables, so there is one API at a time."""
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


def test_services_move_from_sqlite_to_cassandra_and_back(poppy, tmp_path, capsys):
    sites = []
    for name in ("small", "again"):
        (tmp_path / name).mkdir()
        site = Harness(tmp_path / name)
        for driver in ("cdn_a", "cdn_b", "dns"):
            getattr(site, driver).__dict__ = getattr(poppy, driver).__dict__
        sites.append(site)
    small, again = sites
    ids = deployed(small, "a.example.com", "b.example.com", flavor_id="both")
    given = []
    for source, target in ((small, poppy), (poppy, again)):
        path = tmp_path / "services"
        path.write_text(printed(source, capsys, "services", "export", "-f", "json"))
        given.append(sorted(path.read_text().splitlines()))
        printed(target, capsys, "services", "import", str(path))
        with target.working():
            for service_id in ids:
                assert target.settle(service_id).spec == small.get(service_id).spec
        again_said = printed(target, capsys, "services", "import", str(path)).splitlines()[-1]
        assert again_said == "0 created, 2 unchanged, 0 skipped, 0 failed"
    assert given[0] == given[1]
    assert {it.project_id for it in again.storage.services.scan()} == {PROJECT}
    version = printed(poppy, capsys, "db", "version", "-f", "json")
    assert '"store": "cassandra"' in version
    for site in sites:
        site.close()
