# SPDX-License-Identifier: Apache-2.0
"""A worker is killed or stopped at each boundary of each step."""

import time

import pytest

from tests.chaos.orders import Action
from tests.chaos.site import SESSION_TIMEOUT, wait

pytestmark = pytest.mark.real

BEFORE, AFTER = Action.HOLD_BEFORE, Action.HOLD_AFTER
#: The driver's calls for each kind of request. The outcome of a call held *after* its effect is
#: not stored; for a call held *before* its effect, the outcome of the previous step is stored.
CALLS = {
    "create": ("find", "create", "resolve", "set"),
    "update": ("find", "replace", "resolve"),
    "delete": ("unset", "find", "delete"),
    "purge": ("find", "purge"),
}


def hold_everywhere(site, client, kind, each=1):
    """Hold ``each`` requests of a kind at each of its boundaries; return their services."""
    stages = [(call, stage) for call in CALLS[kind] for stage in (BEFORE, AFTER)]
    boundaries = stages * each
    services = [] if kind == "create" else [client.create() for _ in boundaries]
    for service in services:
        client.tenant.wait(service[1], "deployed")
    for number, (call, stage) in enumerate(boundaries):
        site.double.order(stage, call)
        if kind == "create":
            services.append(client.create())
        elif kind == "update":
            client.update(services[number], 2)
        else:
            getattr(client, kind)(services[number])
        wait(lambda wanted=number + 1: len(site.double.holds()) == wanted)
    return services


@pytest.mark.parametrize("kind", CALLS)
def test_another_worker_takes_over_after_a_kill_at_any_boundary(site, client, kind):
    worker = site.start_worker()
    services = hold_everywhere(site, client, kind, each=2)
    site.kill_worker(worker)
    holds = site.double.holds()
    for number, hold in enumerate(holds):
        # The provider may or may not carry out the calls of the killed worker.
        site.double.release(hold, go_on=number < len(holds) / 2)
    site.start_worker()

    assert site.verdict() == []

    for service in services:
        assert client.operations(service)[-1].attempt == 2


def test_takeover_happens_within_session_timeout_plus_five_seconds(site, client):
    worker = site.start_worker()
    client.deployed()
    site.start_worker()
    # Wait until both workers run operations.
    wait(lambda: {site.worker_of(pid).pid for pid in callers(site, client)} >= pids(site), 30)
    site.double.order(BEFORE, "create")
    service = client.create()
    hold = site.double.held()
    worker = site.worker_of(hold["caller"])
    killed_at = time.time()
    site.kill_worker(worker)

    client.tenant.wait(service[1], "deployed", SESSION_TIMEOUT + 10)

    calls = [call for call in site.double.journal() if service[1] in call["subjects"]]
    taken_over = min(call["at"] for call in calls if call["caller"] != hold["caller"])
    assert taken_over - killed_at < SESSION_TIMEOUT + 5
    site.double.release(hold, go_on=False)
    assert site.verdict() == []


def callers(site, client):
    """Create services and return the processes that ran their operations."""
    known = len(site.double.journal())
    services = [client.create() for _ in range(4)]
    for service in services:
        client.tenant.wait(service[1], "deployed")
    return {call["caller"] for call in site.double.journal()[known:]}


def pids(site):
    return {worker.pid for worker in site.workers}


def test_stopped_worker_finishes_its_call_and_hands_back_the_rest(site, client):
    worker = site.start_worker()
    site.double.order(AFTER, "create")
    service = client.create()
    hold = site.double.held()
    site.start_worker()
    time.sleep(0.5)
    worker.send_signal(15)
    time.sleep(0.5)
    site.double.release(hold)

    assert site.end_worker(worker) == 0
    assert site.verdict() == []
    creates = [c for c in site.double.journal() if c["operation"] == "create"]
    assert len([c for c in creates if service[1] in c["subjects"]]) == 1


def test_operation_finishes_despite_repeated_kills(site, client):
    service = None
    for _ in range(3):
        worker = site.start_worker()
        site.double.order(AFTER, "resolve")
        service = service or client.create()
        hold = site.double.held()
        site.kill_worker(worker)
        site.double.release(hold)
    site.start_worker()
    assert site.verdict() == []
    (operation,) = client.operations(service)
    assert operation.attempt == 4
