# SPDX-License-Identifier: Apache-2.0
"""Services at Akamai, from the tenant's request to the active property, on a double."""

import pytest

from poppy.common import errors
from poppy.model.operations import Purge
from poppy.model.services import Status
from tests.functional.harness import PROJECT, Harness
from tests.integration.akamai.conftest import make_provider
from tests.real.akamai import Akamai

DOMAIN = "www.example.com"


@pytest.fixture
def akamai():
    with Akamai() as running:
        running.papi.takes = 2
        yield running


@pytest.fixture
def poppy(akamai, tmp_path):
    made = Harness(tmp_path)
    # Operations are parked between polls; the double's interval of 7 s is too long for a test.
    provider = make_provider(akamai)
    provider._properties._papi.ready_in = lambda *_: 0.02
    made.boot.providers["cdn-a"] = provider
    yield made
    made.close()


def test_the_key_of_a_tenant_is_refused(poppy, akamai):
    domain = {"domain": "own.example.com", "protocol": "https", "certificate": "custom"}
    refusal = (
        "^Provider 'akamai' of flavor 'standard' does not support custom certificates, which "
        "domain 'own.example.com' needs$"
    )
    with pytest.raises(errors.InvalidRequest, match=refusal):
        poppy.create(domains=[domain])
    service_id = poppy.create()
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    patch = [{"op": "add", "path": "/domains/-", "value": domain}]
    with pytest.raises(errors.InvalidRequest, match=refusal):
        poppy.services.update(PROJECT, service_id, patch, "req-2")
    assert akamai.cps.enrollments == {}


def test_service_life_cycle(poppy, akamai):
    service_id = poppy.create()
    with poppy.working():
        service = poppy.settle(service_id)
        assert service.status is Status.DEPLOYED
        assert set(akamai.papi.serving()) == {DOMAIN}
        assert poppy.dns.cnames == {f"{DOMAIN}.cdn.example.net": f"{DOMAIN}.edgesuite.net"}

        patch = [{"op": "add", "path": "/domains/-", "value": {"domain": "img.example.com"}}]
        poppy.services.update(PROJECT, service_id, patch, "req-2")
        assert poppy.settle(service_id).status is Status.DEPLOYED
        assert set(akamai.papi.serving()) == {DOMAIN, "img.example.com"}

        poppy.services.purge(PROJECT, service_id, Purge("/a", True), "req-3")
        poppy.settle(service_id)
        assert [kind for _action, kind, *_rest in akamai.edge.purges] == ["url", "tag"]

        poppy.services.delete(PROJECT, service_id, "req-4")
        assert poppy.settle(service_id) is None
    assert akamai.papi.properties == {}
    assert poppy.dns.cnames == {}


def test_pending_activation_does_not_occupy_a_worker(poppy, akamai):
    akamai.papi.takes = None
    service_id = poppy.create()
    with poppy.working():
        poppy.wait(lambda: poppy.is_waiting(service_id))
        assert poppy.get(service_id).status is Status.CREATE_IN_PROGRESS
        akamai.papi.takes = 0
        assert poppy.settle(service_id).status is Status.DEPLOYED


def test_tenant_sees_the_record_that_proves_ownership(poppy, akamai):
    akamai.dom.automatic = False
    service_id = poppy.create()
    with poppy.working():
        poppy.wait(lambda: poppy.is_waiting(service_id))
        (operation,) = poppy.operations(service_id)
        (waits,) = [
            step.message for step in operation.steps if "TXT record" in (step.message or "")
        ]
        assert f"_akamai-host-challenge.{DOMAIN}" in waits
        akamai.dom.publish()
        assert poppy.settle(service_id).status is Status.DEPLOYED
        poppy.services.delete(PROJECT, service_id, "req-2")
        assert poppy.settle(service_id) is None
    assert akamai.dom.claims == {}


def test_akamai_error_is_shown_to_the_tenant(poppy, akamai):
    akamai.papi.refused = {"caching"}
    service_id = poppy.create()
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.FAILED
    assert "Akamai refuses the rules: Invalid: caching" in service.errors[0]


def test_unsupported_documents_are_refused_by_the_api(poppy, akamai):
    origin = {"origin": "2001:db8::1"}
    with pytest.raises(errors.InvalidRequest, match="names and IPv4 addresses|IPv6 origins"):
        poppy.create(origins=[origin])
    rule = {"name": "r", "request_url": "/a?b=c"}
    caching = [{"name": "c", "ttl": 1, "rules": [rule]}]
    with pytest.raises(errors.InvalidRequest, match="does not match queries"):
        poppy.create(caching=caching)
    assert akamai.calls == []
