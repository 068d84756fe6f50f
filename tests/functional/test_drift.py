# SPDX-License-Identifier: Apache-2.0
"""Audits: differences at providers and in DNS are found, and repaired or reported."""

import datetime
import threading

import pytest

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.distributed_task import audit
from poppy.distributed_task.audit import Auditor, Audits
from poppy.distributed_task.throttling.deferred import Deferred
from poppy.dns.base import occupied
from poppy.model.audits import ALL, AuditPass
from poppy.model.membership import Worker
from poppy.model.services import Status
from poppy.provider.base import Sighting
from poppy.storage.audits import AuditStore
from poppy.transport.pecan import views
from tests.functional.harness import PROJECT, Harness

NAME = "www.example.com.cdn.example.net"
A, B = "www.example.com.cdn-a.example", "www.example.com.cdn-b.example"
NEVER = threading.Event()


@pytest.fixture
def poppy(tmp_path):
    made = Harness(tmp_path, heartbeat_interval=0.1)
    yield made
    made.close()


@pytest.fixture
def service_id(poppy):
    """A service that is deployed at cdn-a and cdn-b."""
    made = poppy.create(flavor_id="both")
    with poppy.working():
        assert poppy.settle(made).status is Status.DEPLOYED
    return made


def set_policy(poppy, driver, policy):
    group = f"drivers:dns:{driver}" if driver == "scripted" else f"drivers:provider:{driver}"
    poppy.conf.set_override("audit", policy, group=group)


def look_at(poppy, service_id, only=()):
    """Compare a service and settle the differences; return the comparison."""
    auditor = Auditor(poppy.storage, poppy.boot.providers, poppy.dns)
    service = poppy.get(service_id)
    found = auditor.compare(service, only)
    auditor.settle(service, found)
    return found


def drift_of(poppy, service_id):
    return [(it.source, it.message) for it in poppy.get(service_id).drift]


def kinds(poppy, service_id):
    return [str(it.kind) for it in poppy.operations(service_id)]


def test_equal_service_is_left_alone(poppy, service_id):
    before = poppy.get(service_id)
    found = look_at(poppy, service_id)
    assert (found.differences, dict(found.failed)) == ([], {})
    assert set(found.found) == {"cdn-a", "cdn-b", "dns"}
    assert poppy.get(service_id) == before


def test_missing_object_and_name_are_repaired(poppy, service_id):
    poppy.cdn_b.objects.clear()
    poppy.dns.cnames.clear()
    look_at(poppy, service_id)
    assert kinds(poppy, service_id) == ["create", "update"]
    service = poppy.get(service_id)
    assert service.status is Status.UPDATE_IN_PROGRESS
    assert [it.source for it in service.drift] == ["cdn-b", "dns"]
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.DEPLOYED
    assert service.drift == ()
    assert poppy.cdn_b.objects == {service_id: service.spec}
    assert poppy.dns.cnames == {NAME: A}
    assert look_at(poppy, service_id).differences == []


def test_wrong_target_is_reported_until_it_is_right(poppy, service_id):
    set_policy(poppy, "scripted", "report")
    poppy.dns.cnames[NAME] = "wrong.example.com"
    look_at(poppy, service_id)
    (first,) = poppy.get(service_id).drift
    assert first.source == "dns"
    assert "wrong.example.com" in first.message
    assert A in first.message
    look_at(poppy, service_id)
    assert poppy.get(service_id).drift == (first,), "found_at is that of the first time"
    assert kinds(poppy, service_id) == ["create"]
    assert poppy.dns.cnames == {NAME: "wrong.example.com"}
    poppy.dns.cnames[NAME] = A
    look_at(poppy, service_id)
    assert poppy.get(service_id).drift == ()


def test_drivers_decide_on_their_own(poppy, service_id):
    set_policy(poppy, "cdn-a", "off")
    set_policy(poppy, "cdn-b", "report")
    poppy.cdn_a.objects.clear()
    poppy.cdn_b.objects.clear()
    look_at(poppy, service_id)
    assert [source for source, _ in drift_of(poppy, service_id)] == ["cdn-b"]
    assert kinds(poppy, service_id) == ["create"]


def test_refusal_is_reported_and_not_repaired(poppy, service_id):
    refusal = Sighting(("the certificate was revoked",), repairable=False)
    poppy.cdn_a.script = [refusal]
    look_at(poppy, service_id)
    assert drift_of(poppy, service_id) == [("cdn-a", "the certificate was revoked")]
    assert kinds(poppy, service_id) == ["create"]
    assert poppy.get(service_id).status is Status.DEPLOYED


def test_name_with_other_records_is_reported_and_not_repaired(poppy, service_id):
    poppy.dns.script = [occupied(NAME, "A")]
    look_at(poppy, service_id)
    ((source, message),) = drift_of(poppy, service_id)
    assert source == "dns"
    assert f"{NAME} can't be made a CNAME" in message
    assert kinds(poppy, service_id) == ["create"]
    assert poppy.get(service_id).status is Status.DEPLOYED


def test_source_that_can_not_be_compared_keeps_its_differences(poppy, service_id):
    set_policy(poppy, "cdn-a", "report")
    poppy.cdn_a.objects.clear()
    look_at(poppy, service_id)
    before = drift_of(poppy, service_id)
    for error in (errors.RetryableError("down"), errors.Unauthorized("no"), RuntimeError("bug")):
        poppy.cdn_a.script = [error]
        found = look_at(poppy, service_id)
        assert set(found.failed) == {"cdn-a"}
        assert drift_of(poppy, service_id) == before


def test_change_during_the_comparison_is_no_difference(poppy, service_id):
    auditor = Auditor(poppy.storage, poppy.boot.providers, poppy.dns)
    stale = poppy.get(service_id)
    patch = [{"op": "replace", "path": "/caching/0/ttl", "value": 7}]
    poppy.services.update(PROJECT, service_id, patch, None)
    with poppy.working():
        poppy.settle(service_id)
    found = auditor.compare(stale)
    assert found.differences
    assert auditor.settle(stale, found) is False
    assert drift_of(poppy, service_id) == []
    assert kinds(poppy, service_id) == ["create", "update"]


def test_disabled_service_leads_to_the_404_name(poppy, service_id):
    poppy.boot.manager.actions.disable(PROJECT, service_id, None)
    with poppy.working():
        poppy.settle(service_id)
    assert poppy.dns.cnames == {NAME: "notfound.example.net"}
    assert look_at(poppy, service_id).differences == []
    poppy.dns.cnames[NAME] = A
    look_at(poppy, service_id)
    with poppy.working():
        poppy.settle(service_id)
    assert poppy.get(service_id).status is Status.DISABLED
    assert poppy.dns.cnames == {NAME: "notfound.example.net"}


class Passing:
    """Throttles that defer some calls."""

    def __init__(self, *deferred):
        self.deferred = list(deferred)
        self.passed = []

    def passing(self, driver, _subject):
        if self.deferred:
            raise Deferred("the limit is reached", self.deferred.pop(0))
        self.passed.append(driver)
        return threading.Lock()


def test_limits_of_drivers_are_respected(poppy, service_id):
    throttles = Passing(0.01, 0.02)
    auditor = Auditor(poppy.storage, poppy.boot.providers, poppy.dns, throttles)
    found = auditor.compare(poppy.get(service_id))
    assert found.failed == {}
    assert throttles.passed == ["provider:cdn-a", "provider:cdn-b", "dns:scripted"]


def test_driver_over_its_limit_is_left_for_the_next_pass(poppy, service_id):
    throttles = Passing(*[0.01] * 3)
    auditor = Auditor(poppy.storage, poppy.boot.providers, poppy.dns, throttles)
    assert set(auditor.compare(poppy.get(service_id)).failed) == {"cdn-a"}


@pytest.fixture
def audits(poppy):
    """A function that makes the passes of a worker, of two live ones."""

    def make(worker_id="worker-1", interval=3600.0):
        now = now_utc()
        workers = [
            Worker(it, "host", 1, "1.0", "", now, now, 1) for it in ("worker-1", "worker-2")
        ]
        auditor = Auditor(poppy.storage, poppy.boot.providers, poppy.dns)
        return Audits(poppy.storage, auditor, worker_id, lambda: workers, interval, 1000.0)

    return make


@pytest.fixture
def store(poppy):
    return AuditStore(poppy.storage.documents)


def began(store, ago, **changes):
    """Store a scheduled pass that began some seconds ago."""
    at = now_utc() - datetime.timedelta(seconds=ago)
    store.put(AuditPass(at, **{"ended_at": at, **changes}))


def test_scheduled_pass_begins_after_the_interval(poppy, service_id, audits, store):
    poppy.cdn_a.objects.clear()
    audits().look(NEVER)
    assert store.get().latest is None, "the first one begins after an interval"
    audits().look(NEVER)
    assert kinds(poppy, service_id) == ["create"]
    began(store, 3601)
    audits("worker-2").look(NEVER)
    assert kinds(poppy, service_id) == ["create"], "only the first worker acts"
    audits().look(NEVER)
    assert kinds(poppy, service_id) == ["create", "update"]
    state = store.get()
    assert state.latest == state.scheduled
    counts = state.latest
    assert (counts.services, counts.differing, counts.repairing, counts.failed) == (1, 1, 1, 0)
    assert state.completed_at == counts.began_at


def test_unfinished_pass_begins_again(poppy, service_id, audits, store):
    began(store, 10, ended_at=None)
    audits().look(NEVER)
    assert store.get().latest.services == 1
    assert poppy.cdn_a.calls[-1] == "inspect"


def test_stopping_worker_leaves_the_pass_unfinished(poppy, service_id, audits, store):
    began(store, 3601)
    stopped = threading.Event()
    stopped.set()
    audits().look(stopped)
    assert store.get().scheduled.ended_at is None


def test_pass_for_one_provider(poppy, service_id, audits, store):
    with poppy.working():
        poppy.settle(poppy.create(domains=[{"domain": "only-a.example.com"}]))
    store.request(("cdn-b",), now_utc())
    audits(interval=0).look(NEVER)
    assert poppy.cdn_a.calls.count("inspect") == 0
    assert poppy.cdn_b.calls.count("inspect") == 1
    state = store.get()
    assert (state.latest.providers, state.latest.services) == (("cdn-b",), 1)
    assert state.requested == {}
    audits(interval=0).look(NEVER)
    assert poppy.cdn_b.calls.count("inspect") == 1


def test_request_during_a_pass_is_kept(store):
    now = now_utc()
    store.request((), now - datetime.timedelta(seconds=2))
    store.request(("cdn-a",), now + datetime.timedelta(seconds=2))
    store.put(AuditPass(now, now))
    assert set(store.get().requested) == {"cdn-a"}
    store.request((), now + datetime.timedelta(seconds=3))
    store.put(AuditPass(now + datetime.timedelta(seconds=3), now, ("cdn-a",)))
    assert set(store.get().requested) == {ALL}


def test_worker_audits_what_is_requested(poppy, service_id, monkeypatch):
    monkeypatch.setattr(audit, "LOOK", 0.05)
    poppy.cdn_a.objects.clear()
    AuditStore(poppy.storage.documents).request((), now_utc())
    with poppy.working():
        poppy.wait(lambda: service_id in poppy.cdn_a.objects)
        poppy.wait(lambda: AuditStore(poppy.storage.documents).get().latest.ended_at)


def test_provider_that_was_down_is_audited(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "LOOK", 0.05)
    poppy = Harness(
        tmp_path,
        health_interval=0.05,
        failover_after=2,
        failback_after=2,
        heartbeat_interval=0.1,
        failover_rate=1000,
    )
    try:
        service_id = poppy.create(flavor_id="both")
        with poppy.working():
            poppy.settle(service_id)
            poppy.cdn_a.healthy = False
            poppy.wait(lambda: poppy.dns.cnames == {NAME: B})
            poppy.cdn_a.objects.clear()
            poppy.cdn_a.healthy = True
            poppy.wait(lambda: poppy.dns.cnames == {NAME: A})
            poppy.wait(lambda: service_id in poppy.cdn_a.objects)
    finally:
        poppy.close()


def test_tenant_sees_what_differs(poppy, service_id):
    set_policy(poppy, "cdn-a", "report")
    poppy.cdn_a.objects.clear()
    look_at(poppy, service_id)
    (shown,) = views.service(poppy.get(service_id), "http://x/v1.0")["drift"]
    assert set(shown) == {"source", "message", "found_at"}
    assert (shown["source"], shown["message"]) == ("cdn-a", "cdn-a has None")
