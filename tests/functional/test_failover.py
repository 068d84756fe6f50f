# SPDX-License-Identifier: Apache-2.0
"""DNS failover by provider health, with a real store, job board and worker."""

import pytest

from poppy.common import errors
from poppy.distributed_task import failover
from poppy.dns.steering import Steering, Target
from poppy.model.services import Status
from poppy.testing.edge_outages import Edge
from tests.functional.harness import PROJECT, Harness

NAME = "www.example.com.cdn.example.net"
A, B = "www.example.com.cdn-a.example", "www.example.com.cdn-b.example"


@pytest.fixture
def poppy(tmp_path):
    made = Harness(
        tmp_path,
        health_interval=0.05,
        failover_after=2,
        failback_after=2,
        heartbeat_interval=0.1,
        failover_rate=1000,
    )
    yield made
    made.close()


def test_names_fail_over_and_fail_back(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
        assert poppy.dns.cnames == {NAME: A}
        poppy.cdn_a.healthy = False
        poppy.wait(lambda: poppy.dns.cnames == {NAME: B})
        poppy.settle(service_id)
        assert poppy.get(service_id).status is Status.DEPLOYED
        # A change during the failover keeps the target.
        patch = [{"op": "replace", "path": "/name", "value": "renamed"}]
        poppy.services.update(PROJECT, service_id, patch, None)
        poppy.settle(service_id)
        assert poppy.dns.cnames == {NAME: B}
        poppy.cdn_a.healthy = True
        poppy.wait(lambda: poppy.dns.cnames == {NAME: A})
        poppy.settle(service_id)
    assert poppy.states(service_id) == [
        ("create", "succeeded"),
        ("steer", "succeeded"),
        ("update", "succeeded"),
        ("steer", "succeeded"),
    ]
    assert poppy.cdn_a.calls == ["ensure", "ensure"], "providers are asked for changes only"


def test_failover_is_parked_while_dns_is_down(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        poppy.dns.script = [errors.RetryableError("down", retry_after=3)]
        poppy.cdn_a.healthy = False
        poppy.wait(lambda: poppy.is_waiting(service_id))
        assert poppy.get(service_id).status is Status.DEPLOYED
        poppy.wait(lambda: poppy.dns.cnames == {NAME: B})


def test_edge_outage_fails_over_but_api_outage_does_not(poppy):
    service_id = poppy.create(flavor_id="both")
    group = "drivers:provider:cdn-a"
    with Edge() as edge:
        poppy.conf.set_override("edge_check_url", edge.url, group=group)
        with poppy.working():
            poppy.settle(service_id)
            poppy.cdn_a.healthy = False
            poppy.wait(lambda: len(edge.asked) > 10)
            assert poppy.dns.cnames == {NAME: A}
            poppy.cdn_a.healthy, edge.behaviour = True, 503
            poppy.wait(lambda: poppy.dns.cnames == {NAME: B})
            edge.behaviour = 200
            poppy.wait(lambda: poppy.dns.cnames == {NAME: A})


def test_failed_failover_is_retried_later(poppy, monkeypatch):
    monkeypatch.setattr(failover, "AGAIN", 0.3)
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        poppy.dns.script = [errors.PermanentError("the zone is gone")] * 2
        poppy.cdn_a.healthy = False
        poppy.wait(lambda: poppy.dns.cnames == {NAME: B})
        poppy.settle(service_id)
        assert poppy.get(service_id).status is Status.DEPLOYED
    assert poppy.states(service_id) == [
        ("create", "succeeded"),
        ("steer", "failed"),
        ("steer", "failed"),
        ("steer", "succeeded"),
    ]


def test_names_stay_when_all_providers_are_down(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.healthy = poppy.cdn_b.healthy = False
        with pytest.raises(AssertionError):
            poppy.wait(lambda: len(poppy.operations(service_id)) > 1, timeout=1.5)
    assert poppy.dns.cnames == {NAME: A}


def test_weighted_targets_exclude_a_provider_that_is_down(poppy):
    poppy.dns.STEERING = frozenset({Steering.WEIGHTS})
    link = {"href": "https://www.example.com", "rel": "provider_url"}
    providers = [
        {"provider": name, "links": [link], "weight": weight}
        for name, weight in (("cdn-a", 70), ("cdn-b", 30))
    ]
    poppy.boot.manager.flavors.create({"id": "shared-out", "providers": providers})
    service_id = poppy.create(flavor_id="shared-out")
    with poppy.working():
        poppy.settle(service_id)
        assert poppy.dns.cnames == {NAME: [Target(A, 70), Target(B, 30)]}
        poppy.cdn_b.healthy = False
        poppy.wait(lambda: poppy.dns.cnames == {NAME: A})


@pytest.mark.parametrize(
    ("more", "words"),
    [({"weight": 3}, "by weights"), ({"geography": {"countries": ["DE"]}}, "by geography")],
)
def test_flavor_that_the_dns_driver_does_not_support_is_refused(poppy, more, words):
    link = {"href": "https://www.example.com", "rel": "provider_url"}
    entry = {"provider": "cdn-a", "links": [link], **more}
    with pytest.raises(errors.InvalidRequest, match=f"'scripted' can't answer {words}"):
        poppy.boot.manager.flavors.create({"id": "shared-out", "providers": [entry]})
