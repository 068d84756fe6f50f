# SPDX-License-Identifier: Apache-2.0
"""Backends, daemons and the provider fail during requests and operations."""

import threading
import time

import pytest

from tests.chaos.orders import Action
from tests.chaos.relay import HoldingRelay
from tests.chaos.site import SESSION_TIMEOUT, wait
from tests.chaos.tenant import Answer
from tests.chaos.test_kills import AFTER, hold_everywhere

pytestmark = pytest.mark.real


def busy(site, client):
    """Create services held at each boundary, and some more that wait behind them."""
    held = hold_everywhere(site, client, "create")
    return held + [client.create() for _ in range(12)]


@pytest.mark.parametrize("how", ["restarted", "wiped", "frozen"])
def test_zookeeper_fails_under_load(site, client, how):
    site.start_worker()
    site.start_worker()
    services = busy(site, client)
    zookeeper = site.zookeeper
    if how == "wiped":
        zookeeper.wipe()
    else:
        (zookeeper.kill if how == "restarted" else zookeeper.pause)()
        # Requests are still accepted, possibly after a delay.
        services += [client.create() for _ in range(3)]
        time.sleep(SESSION_TIMEOUT + 1)
        (zookeeper.start if how == "restarted" else zookeeper.resume)()
    site.double.behave()

    assert site.verdict() == []

    assert {client.tenant.status(service[1]) for service in services} == {"deployed"}


def test_cassandra_outage_while_outcomes_are_stored(site, client):
    site.start_worker()
    site.start_worker()
    services = busy(site, client)
    site.cassandra.stop()
    try:
        # The drivers' calls end, but their outcomes cannot be stored.
        site.double.behave()
        refused = client.tenant.create("site-while-away", ["www.site-while-away.example.com"])
    finally:
        site.cassandra.start()
    wait(lambda: client.tenant.status(services[0][1]) is not None, 60)

    assert site.verdict() == []

    assert refused.answer is Answer.UNKNOWN
    assert refused.status == 503
    assert {client.tenant.status(service[1]) for service in services} == {"deployed"}


@pytest.mark.parametrize("call", ["create", "set"])
def test_worker_is_killed_while_an_outcome_is_stored(site, client, call):
    worker = site.start_worker()
    site.double.order(AFTER, call)
    service = client.create()
    hold = site.double.held()
    site.cassandra.pause()
    try:
        site.double.release(hold)
        time.sleep(0.5)
        site.kill_worker(worker)
    finally:
        site.cassandra.resume()
    site.start_worker()
    assert site.verdict() == []
    creates = [c for c in site.double.journal() if c["operation"] == "create"]
    assert len([c for c in creates if service[1] in c["subjects"]]) == 1


def test_server_is_killed_between_storing_and_posting(site, tmp_path):
    tenant = site.tenant("unposted")
    with HoldingRelay(site.zookeeper.host, site.zookeeper.port) as relay:
        through_relay = tmp_path / "relay.conf"
        through_relay.write_text(
            "[drivers:distributed_task:taskflow]\n"
            f"jobboard_backend_port = {relay.port}\n"
            # The server must not give up posting before it is killed.
            "jobboard_timeout = 30\n"
        )
        site.kill_server()
        site.start_server("--config-file", str(through_relay))
        # The first post creates the board's nodes.
        tenant.create("posted", ["www.posted.example.com"])
        relay.hold.set()
        arguments = ("unposted", ["www.unposted.example.com"])
        asking = threading.Thread(target=tenant.create, args=arguments)
        asking.start()
        assert relay.held.wait(30)
        site.kill_server()
        asking.join()
    tenant.close()
    site.start_server()
    site.start_worker()

    assert site.verdict() == []

    (asked,) = (request for request in site.journal.requests if request.name == "unposted")
    assert asked.answer is Answer.UNKNOWN
    (service,) = (s for s in site.look().services if s.spec.name == "unposted")
    assert str(service.status) == "deployed"


def test_rolling_replacement_of_workers_under_load(site, client):
    site.start_worker()
    site.start_worker()
    site.double.order(Action.SLOW, "create", times=None, probability=0.5, value=3)
    services = []
    for _ in range(2):
        services += [client.create() for _ in range(10)]
        site.start_worker()
        assert site.end_worker(site.workers[0]) == 0
    assert site.verdict() == []
    assert {client.tenant.status(service[1]) for service in services} == {"deployed"}


def test_provider_fails_for_a_time(site, client):
    site.start_worker()
    site.double.order(Action.FAIL, times=None, probability=0.5)
    site.double.order(Action.LIMIT, times=None, probability=0.5, value=1)
    site.double.order(Action.LOSE, times=None, probability=0.5)
    site.double.order(Action.CUT, times=None, probability=0.5)
    services = [client.create() for _ in range(10)]
    time.sleep(4)
    site.double.behave()
    assert site.verdict() == []
    assert {client.tenant.status(service[1]) for service in services} == {"deployed"}


def test_refused_service_fails_with_a_reason_and_can_be_deleted(site, client):
    site.start_worker()
    services = []
    for call in ("create", "set"):
        site.double.order(Action.REFUSE, call)
        services.append(client.create())
        client.tenant.wait(services[-1][1], "failed")
    changed = client.deployed()
    site.double.order(Action.REFUSE, "replace")
    client.update(changed, 2)
    client.tenant.wait(changed[1], "failed")
    assert site.verdict() == []
    for service in (*services, changed):
        client.delete(service)
    assert site.verdict() == []
    gone = {service[1] for service in services}
    assert not [thing for thing in site.double.objects() if thing["reference"] in gone]
