# SPDX-License-Identifier: Apache-2.0
"""The Cassandra storage driver across two data centers."""

import time
from dataclasses import replace

import pytest

pytest.importorskip("cassandra")

from poppy.common import errors
from poppy.model import ids
from poppy.model.operations import Purge, State
from poppy.storage.cassandra import codec
from poppy.testing.builders import NOW, PROJECT_ID, after, make_flavor, make_service
from poppy.testing.storage.case import (
    add,
    begin,
    create,
    failures,
    finish,
    first_operation,
    race,
    submit,
)
from poppy.testing.storage.edge import make_node, make_report
from tests.integration.test_storage_cassandra import make_storage
from tests.real.cassandra import CassandraPair

pytestmark = [pytest.mark.real, pytest.mark.nightly]

BOTH = {"class": "NetworkTopologyStrategy", "dc1": "1", "dc2": "1"}


@pytest.fixture(scope="module")
def pair():
    with CassandraPair() as pair:
        storage = in_region(pair, "dc1")
        storage.sync()
        storage.flavors.create(make_flavor())
        storage.close()
        yield pair


@pytest.fixture
def regions(pair):
    """A driver in each data center."""
    drivers = [in_region(pair, name) for name in pair.nodes]
    for driver in drivers:
        assert eventually(driver.is_alive)
    yield drivers
    for driver in drivers:
        driver.close()


def in_region(pair, name, **overrides):
    return make_storage(pair.nodes[name], datacenter=name, replication_strategy=BOTH, **overrides)


def eventually(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def is_there(storage, service):
    try:
        return storage.services.get(service.project_id, service.service_id) == service
    except errors.NotFound:
        return False


def both(regions, actions):
    """Race one action in each region."""
    drivers = iter(regions)
    lender = [Lent(next(drivers)) for _ in actions]
    handed = iter(lender)
    return race(lambda: next(handed), actions)


class Lent:
    """A driver that stays open when a race closes it."""

    def __init__(self, driver):
        self._driver = driver

    def __getattr__(self, name):
        return getattr(self._driver, name)

    def close(self):
        pass


def test_one_of_two_regions_racing_for_a_domain_gets_it(regions):
    for turn in range(200):
        domain = f"race{turn}.example.com"
        services = [
            make_service(domains=[domain], project_id=f"race-{turn}-{n}") for n in range(2)
        ]
        outcomes = both(
            regions,
            [lambda s, service=service: create(s, service, 1) for service in services],
        )
        assert [type(error) for error in failures(outcomes)] == [errors.DomainTaken]
        winner = services[outcomes.index(None)]
        assert is_there(regions[outcomes.index(None)], winner)


def test_other_region_reads_a_write_within_a_second(regions):
    service = add(regions[0])
    assert eventually(lambda: is_there(regions[1], service), 1.0)
    listed = eventually(lambda: regions[1].services.list(PROJECT_ID, None, 10), 1.0)
    assert service in listed


def test_limit_holds_across_regions(regions):
    for turn in range(10):
        project = f"limit-{turn}"
        outcomes = both(
            regions,
            [lambda s, project=project: add(s, limit=1, project_id=project)] * 2,
        )
        assert [type(error) for error in failures(outcomes)] == [errors.LimitReached]


def test_flavor_used_in_another_region_is_not_deleted(regions):
    for turn in range(10):
        flavor_id = f"flavor-{turn}"
        regions[0].flavors.create(make_flavor(flavor_id))
        service = make_service(flavor_id=flavor_id)
        created, deleted = both(
            regions,
            [
                lambda s, service=service: create(s, service),
                lambda s, flavor_id=flavor_id: s.flavors.delete(flavor_id),
            ],
        )
        assert (created is None) == isinstance(deleted, errors.InUse)
        assert (deleted is None) == isinstance(created, errors.InvalidRequest)


def test_one_run_of_an_operation_begun_in_two_regions_is_kept(regions):
    """With LOCAL_SERIAL, both regions may run it, and one of the runs is kept."""
    for _ in range(10):
        service = add(regions[0])
        assert eventually(lambda service=service: is_there(regions[1], service))
        operation = first_operation(regions[0], service)
        outcomes = both(
            regions,
            [
                lambda s, operation=operation: begin(s, operation, "job-1"),
                lambda s, operation=operation: begin(s, operation, "job-2"),
            ],
        )
        runs = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        assert runs
        assert all(isinstance(error, errors.NotRunnable) for error in failures(outcomes))

        def same(key=operation.key):
            found = [region.operations.get(key) for region in regions]
            return found[0] if found[0] == found[1] and found[0].attempt else None

        stands = eventually(same)
        assert stands in [run.operation for run in runs]
        for run in runs:
            if run.operation.runner != stands.runner:
                with pytest.raises(errors.Fenced):
                    finish(regions[0], run.operation)
        finish(regions[0], stands)


def test_operation_begins_in_one_region_only_with_serial(pair):
    regions = [
        in_region(pair, name, operation_serial_consistency_level="SERIAL") for name in pair.nodes
    ]
    for _ in range(10):
        service = add(regions[0])
        assert eventually(lambda service=service: is_there(regions[1], service))
        operation = first_operation(regions[0], service)
        outcomes = both(
            regions,
            [
                lambda s, operation=operation: begin(s, operation, "job-1"),
                lambda s, operation=operation: begin(s, operation, "job-2"),
            ],
        )
        assert [type(error) for error in failures(outcomes)] == [errors.NotRunnable]
    for region in regions:
        region.close()


def test_region_sees_due_work_of_the_other_and_keeps_its_index(regions, monkeypatch):
    service = add(regions[0])
    operation = first_operation(regions[0], service)
    assert eventually(lambda: operation in regions[1].operations.due(after(60), 1000), 5.0)
    later = codec.to_number(after(10**5))
    monkeypatch.setattr(codec, "now", lambda: later)
    session = regions[1]._database._session()
    rows = "SELECT slot FROM due_slots WHERE region = 'dc1' ALLOW FILTERING"
    before = len(list(session.execute(rows)))
    for _ in range(2):
        regions[1].operations.due(after(10**4), 1000)
    assert before
    assert len(list(session.execute(rows))) == before


def test_changes_of_the_edge_from_two_regions_are_in_one_order(regions):
    def write(store):
        stamps = [
            (
                store.edge.publish("shared", ids.new()),
                store.edge.purge("shared", Purge(None, True, reference=f"op-{turn}")),
            )
            for turn in range(10)
        ]
        return [stamp.revision for pair in stamps for stamp in pair]

    outcomes = both(regions, [write] * 2)
    assert {stamp for outcome in outcomes for stamp in outcome} == set(range(1, 31))
    for region in regions:
        assert eventually(lambda region=region: region.edge.head() == 30)
        page = eventually(lambda region=region: len(region.edge.changes(0, 100).changes) == 11)
        assert page
    one, other = (region.edge.changes(0, 100) for region in regions)
    assert one == other


def test_node_of_the_edge_may_use_any_region(regions):
    here, there = (region.edge for region in regions)
    here.add_node(make_node())
    assert here.join("node-1", "a" * 64, "b" * 64, NOW)
    assert there.node_of("b" * 64).name == "node-1"
    for number in range(20):
        revision = here.publish("service-1", str(number)).revision
        assert there.changes(revision, 100).revision <= revision


def test_isolated_region_continues_but_claims_no_domains(pair):
    region = in_region(pair, "dc1", request_timeout=5.0)
    settled = add(region, domains=["before.example.com"])
    edge = region.edge
    published = edge.publish("service-2", "1")
    edge.add_node(make_node("node-2"))
    edge.join("node-2", "a" * 64, "c" * 64, NOW)
    pair.nodes["dc2"].stop()
    try:
        node = edge.node_of("c" * 64)
        assert edge.report(node.name, node.token, make_report(), NOW) is False
        assert edge.changes(published.revision - 1, 10).changes[0].program == "1"
        with pytest.raises(errors.Unavailable):
            edge.publish("service-2", "2")
        run = begin(region, first_operation(region, settled))
        region.operations.renew(run.operation.key, 1, after(40))
        finish(region, run.operation)
        assert region.operations.get(run.operation.key).state is State.SUCCEEDED
        stored = region.services.get(PROJECT_ID, settled.service_id)
        submit(region, replace(stored, disabled=True))
        assert region.services.get(PROJECT_ID, settled.service_id).disabled
        assert len(region.services.list(PROJECT_ID, None, 1000)) > 0
        with pytest.raises(errors.Unavailable):
            add(region, domains=["cut-off.example.com"])
    finally:
        pair.nodes["dc2"].start()
        pair.wait_until_joined()
    assert eventually(lambda: _adds(region, "cut-off.example.com"))
    assert edge.publish("service-2", "2").revision == published.revision + 1
    region.close()


def _adds(region, domain):
    try:
        return add(region, domains=[domain])
    except errors.Unavailable:
        return None


def _has_added(region, name):
    try:
        region.add_region(name, 1)
    except errors.ConfigError as exc:
        # The node has just come back.
        assert "not in normal state" in str(exc)
        return False
    return True


def test_lost_region_can_be_dropped_and_added_again(pair):
    region = in_region(pair, "dc1", request_timeout=5.0)
    assert dict(region.replicas()) == {"dc1": 1, "dc2": 1}
    for name, why in (
        ("dc2", f"dc2 is not lost: {pair.nodes['dc2'].host} answers"),
        ("dc1", "dc1 is the region that this runs in"),
        ("dc3", "No data is kept in dc3, only in: dc1, dc2"),
    ):
        with pytest.raises(errors.InvalidRequest, match=why):
            region.drop_region(name)
    pair.nodes["dc2"].kill()
    try:
        with pytest.raises(errors.Unavailable):
            add(region, domains=["lost.example.com"])
        region.drop_region("dc2")
        assert dict(region.replicas()) == {"dc1": 1}
        assert eventually(lambda: _adds(region, "lost.example.com"))
    finally:
        pair.nodes["dc2"].start()
        pair.wait_until_joined()
    for name, replicas, why in (
        ("dc1", 1, "dc1 keeps 1 replicas already"),
        ("dc2", 2, "2 replicas can't be kept in dc2, where there are 1 nodes"),
        ("dc2", 0, "0 replicas can't be kept in dc2"),
        ("dc3", 1, "1 replicas can't be kept in dc3, where there are 0 nodes"),
    ):
        with pytest.raises(errors.InvalidRequest, match=why):
            region.add_region(name, replicas)
    assert eventually(lambda: _has_added(region, "dc2"))
    assert dict(region.replicas()) == {"dc1": 1, "dc2": 1}
    other = in_region(pair, "dc2")
    service = eventually(lambda: _adds(region, "back.example.com"))
    assert eventually(lambda: is_there(other, service))
    # The operator can force dropping a reachable region.
    other.drop_region("dc1", force=True)
    other.add_region("dc1", 1)
    for driver in (region, other):
        driver.close()
