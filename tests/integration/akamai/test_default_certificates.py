# SPDX-License-Identifier: Apache-2.0
"""Default DV certificates, which Akamai issues with the property."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poppy.common.errors import PermanentError, RetryableError, Scope, Unauthorized
from poppy.model.certificates import Certificate
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.base import Deployment
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.akamai.conftest import make_provider, template
from tests.integration.akamai.test_convergence import changed, distinct, settle, take_away
from tests.real.akamai import Akamai
from tests.real.akamai_default import challenge, target

OLD, NEW = "www.a.example", "www.b.example"


def with_domains(service: Service, kinds: Mapping[str, str | None]) -> Service:
    """Return the service with domains of these kinds of certificates; None is for http."""
    domains = tuple(
        Domain(name, "https", kind) if kind else Domain(name) for name, kind in kinds.items()
    )
    return replace(service, spec=replace(service.spec, domains=domains))


def site(*names: str) -> Service:
    return with_domains(make_service(), dict.fromkeys(names or (OLD,), "sni"))


def make(akamai: Akamai, **options: Any) -> AkamaiProvider:
    return make_provider(
        akamai, **{"default_certificates": True, "allow_https_downgrade": True, **options}
    )


def cname(name: str) -> DNSRecord:
    return DNSRecord(name, Purpose.CERTIFICATE, RecordType.CNAME, challenge(name), target(name))


def types(akamai: Akamai) -> dict[str, str]:
    """Return the types of the certificates of active hostnames."""
    return {
        entry["cnameFrom"]: entry["certProvisioningType"]
        for key, found in akamai.papi.properties.items()
        if found["active"].get("PRODUCTION")
        for entry in akamai.papi.version(key, found["active"]["PRODUCTION"])["hostnames"]
    }


def called(akamai: Akamai, method: str, part: str) -> int:
    return sum(it.startswith(method) and part in it for it in akamai.calls)


def test_the_tenant_creates_a_cname_and_keeps_it(akamai: Akamai) -> None:
    akamai.papi.default.automatic = False
    provider, service = make(akamai), site()
    known: Deployment | None = None
    for _ in range(6):
        known = provider.ensure(service, known_from(known) if known else None)
        assert known.in_progress and cname(OLD) in known.records
        assert known.certificates == {OLD: "create_in_progress"}
    assert known is not None
    assert f"create the CNAME record {challenge(OLD)} with the target {target(OLD)}" in (
        known.message
    )

    akamai.papi.default.publish(OLD)
    found = settle(provider, service, known)

    assert found.certificates == {OLD: "deployed"}
    assert found.message == ""
    # Renewals need the record.
    assert found.records == (cname(OLD),)
    assert found.access_urls == {OLD: f"{OLD}.edgekey.net"}
    assert types(akamai) == {OLD: "DEFAULT"}
    assert akamai.cps.enrollments == {}
    assert called(akamai, "", "/cps/") == called(akamai, "POST", "/edgehostnames") == 0
    assert [it["edgeHostnameDomain"] for it in akamai.papi.edge_hostnames.values()] == [
        f"{OLD}.edgekey.net"
    ]
    take_away(provider, service)
    assert akamai.papi.default.active["PRODUCTION"] == set()
    assert called(akamai, "", "/cps/") == 0


def test_the_cname_also_proves_ownership(akamai: Akamai) -> None:
    akamai.dom.automatic = False
    akamai.papi.default.automatic = False
    provider, service = make(akamai), with_domains(make_service(), {OLD: "sni", NEW: None})
    first = provider.ensure(service, None)
    found = provider.ensure(service, known_from(first))
    for one in (first, found):
        assert [record.purpose for record in one.records] == ["ownership", "certificate"]
        assert [record.domain for record in one.records] == [NEW, OLD]
        assert one.records[1] == cname(OLD)
    akamai.dom.publish()
    # The TXT record of the other domain does not count: Poppy has asked for its CNAME.
    for _ in range(3):
        found = provider.ensure(service, known_from(found))
    assert akamai.papi.serving() == {}
    assert akamai.dom.status(NEW) == "VALIDATED" and akamai.dom.status(OLD) != "VALIDATED"
    assert [record.purpose for record in found.records] == ["certificate"]

    akamai.papi.default.publish(OLD)
    settle(provider, service, found)

    assert set(akamai.papi.serving()) == {OLD, NEW}
    take_away(provider, service)
    assert akamai.dom.claims == {}


def test_the_property_of_a_validated_domain_does_not_wait_for_the_cname(akamai: Akamai) -> None:
    akamai.dom.own("a.example")
    akamai.papi.default.automatic = False
    provider, service = make(akamai), site()
    known = provider.ensure(service, None)
    for _ in range(4):
        known = provider.ensure(service, known_from(known))
    assert set(akamai.papi.serving()) == {OLD}
    assert known.in_progress and known.certificates == {OLD: "create_in_progress"}
    akamai.papi.default.publish(OLD)
    assert settle(provider, service, known).certificates == {OLD: "deployed"}


def test_nothing_is_written_without_a_difference(akamai: Akamai) -> None:
    provider, service = make(akamai), site()
    known = settle(provider, service)
    akamai.restart()
    assert provider.ensure(service, known_from(known)) == known
    assert {call.split()[0] for call in akamai.calls} == {"GET"}
    assert len(akamai.calls) <= 7


def test_services_keep_their_certificates_of_cps(akamai: Akamai, tmp_path: Path) -> None:
    file = template(tmp_path)
    service = site(OLD)
    known = settle(make(akamai, default_certificates=False, enrollment_template=file), service)
    (number,) = akamai.cps.enrollments
    provider = make(akamai, enrollment_template=file)
    akamai.restart()

    assert provider.ensure(service, known_from(known)) == known
    assert {call.split()[0] for call in akamai.calls} == {"GET"}
    both = changed(with_domains(service, {OLD: "sni", NEW: "sni"}))
    known = settle(provider, both, known)

    assert types(akamai) == {OLD: "CPS_MANAGED", NEW: "DEFAULT"}
    assert known.certificates == {OLD: "deployed", NEW: "deployed"}
    assert set(akamai.cps.enrollments) == {number}
    one = with_domains(both, {NEW: "sni"})
    settle(provider, one, settle(provider, one, known))
    assert akamai.cps.enrollments == {}
    take_away(provider, one)


def test_default_certificates_stay_after_the_option_is_turned_off(
    akamai: Akamai, tmp_path: Path
) -> None:
    service = site(OLD)
    known = settle(make(akamai), service)
    provider = make(akamai, default_certificates=False, enrollment_template=template(tmp_path))

    both = with_domains(service, {OLD: "sni", NEW: "sni"})
    known = settle(provider, both, known)

    assert types(akamai) == {OLD: "DEFAULT", NEW: "CPS_MANAGED"}
    assert known.certificates == {OLD: "deployed", NEW: "deployed"}
    assert len(akamai.cps.enrollments) == 1
    take_away(provider, both)
    assert akamai.cps.enrollments == {}
    assert akamai.papi.default.active["PRODUCTION"] == set()


def test_an_enrollment_from_before_the_property_is_used(akamai: Akamai, tmp_path: Path) -> None:
    file = template(tmp_path)
    before = make(akamai, default_certificates=False, enrollment_template=file)
    before.ensure_certificate(Certificate("p", OLD, "sni", "f"), None)
    service = site(OLD)

    settle(make(akamai, enrollment_template=file), service)

    assert types(akamai) == {OLD: "CPS_MANAGED"}
    assert len(akamai.cps.enrollments) == 1


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ({OLD: "sni", NEW: "sni"}, {OLD: "DEFAULT", NEW: "DEFAULT"}),
        ({NEW: "sni"}, {NEW: "DEFAULT"}),
        ({OLD: None}, {OLD: "CPS_MANAGED"}),
        ({OLD: "san"}, {OLD: "CPS_MANAGED"}),
        ({OLD: "shared"}, {OLD: "CPS_MANAGED"}),
    ],
)
def test_domains_change(
    akamai: Akamai, kinds: dict[str, str | None], expected: dict[str, str]
) -> None:
    """A service changes to other domains and back, and Akamai has what it needs, no more."""
    san = akamai.cps.add("san.cdn.example")
    shared = "wild.cdn.example.edgekey.net"
    akamai.papi.add_edge_hostname(shared, secure=True)
    provider, service = make(akamai, san_certs=[san], shared_edge_hostname=shared), site(OLD)
    other = with_domains(service, kinds)
    known = settle(provider, service)

    known = settle(provider, other, known)
    assert types(akamai) == expected
    assert set(known.certificates) == {name for name, kind in kinds.items() if kind}
    provider.ensure(other, known_from(known))
    assert akamai.papi.default.active["PRODUCTION"] == {
        name for name, kind in expected.items() if kind == "DEFAULT"
    }
    known = settle(provider, service, known)
    assert types(akamai) == {OLD: "DEFAULT"}
    assert known.certificates == {OLD: "deployed"}
    assert set(akamai.cps.enrollments) == {san}


@pytest.mark.parametrize(
    ("state", "status", "message"),
    [
        ("DEPLOYING", "create_in_progress", "waiting for Akamai to issue"),
        ("NEEDS_ACTIVATION", "create_in_progress", "waiting for Akamai to issue"),
        ("CAA_MISMATCH_RETRYING", "create_in_progress", "must allow Let's Encrypt"),
        ("EXPIRED_NEEDS_VALIDATION", "create_in_progress", "create the CNAME record"),
        ("EXPIRING_SOON_NEEDS_VALIDATION", "deployed", ""),
        ("STALLED", "failed", ""),
        ("PROHIBITED_DOMAIN_FAILURE", "failed", ""),
        ("CAA_MISMATCH_FAILURE", "failed", ""),
        ("CNAME_MISSING_FAILURE", "failed", ""),
        ("UNKNOWN_FAILURE", "failed", ""),
    ],
)
def test_statuses_of_akamai(akamai: Akamai, state: str, status: str, message: str) -> None:
    provider, service = make(akamai), site()
    known = settle(provider, service)
    akamai.papi.default.outcomes = {OLD: state}

    found = provider.ensure(service, known_from(known))

    assert found.certificates == {OLD: status}
    assert found.in_progress == (status == "create_in_progress")
    assert message in found.message and bool(message) == bool(found.message)
    assert found.records == (cname(OLD),)


def test_renewals_need_the_cname(akamai: Akamai) -> None:
    provider, service = make(akamai), site(OLD, NEW)
    known = settle(provider, service)
    del akamai.papi.default.cnames[challenge(OLD)]
    akamai.papi.default.renew()
    assert akamai.papi.default.shown(OLD)["production"] == [
        {"status": "EXPIRING_SOON_NEEDS_VALIDATION"}
    ]
    assert akamai.papi.default.shown(NEW)["production"] == [{"status": "DEPLOYED"}]
    assert provider.ensure(service, known_from(known)).records == (cname(OLD), cname(NEW))


def test_each_network_has_its_own_status(akamai: Akamai) -> None:
    found = settle(make(akamai, network="STAGING"), site())
    assert found.certificates == {OLD: "deployed"}
    assert akamai.papi.default.shown(OLD)["production"] == [{"status": "PENDING"}]


def test_the_limit_of_the_contract_is_an_error_of_the_service(akamai: Akamai) -> None:
    akamai.papi.default.limit = 1
    provider = make(akamai)
    settle(provider, site(OLD))
    assert provider.quota["default-certs-per-contract"].limit == 1
    message = r"no default certificates left \(limit 1\): .*The limit of default certificates"
    with pytest.raises(PermanentError, match=message):
        settle(provider, with_domains(make_service(), {NEW: "sni"}))
    assert set(akamai.papi.serving()) == {OLD}


def test_a_contract_without_default_certificates_is_named(akamai: Akamai) -> None:
    akamai.papi.default.enabled = False
    with pytest.raises(Unauthorized, match="the option default_certificates needs") as caught:
        settle_once(make(akamai))
    # Services without such domains go on.
    assert caught.value.scope is Scope.SERVICE


def test_the_rate_limit_of_changes_of_hostnames_stays_retryable(akamai: Akamai) -> None:
    def limited(_call: int) -> str | int:
        return 429 if akamai.calls[-1].startswith("PUT") else "ok"

    akamai.restart(limited)
    with pytest.raises(RetryableError, match="429: Problem 429") as caught:
        settle_once(make(akamai))
    assert caught.value.scope is Scope.PROVIDER


def settle_once(provider: AkamaiProvider) -> None:
    provider.ensure(site(), None)


def test_jobs_for_cps_do_not_change_default_certificates(akamai: Akamai) -> None:
    provider, service = make(akamai), site()
    known = settle(provider, service)
    with pytest.raises(PermanentError, match=f"Domain {OLD} has a default certificate"):
        provider.migrate(service, known_from(known), OLD, "new.cdn.example")
    assert not provider.update_property(service, known_from(known)).in_progress
    assert types(akamai) == {OLD: "DEFAULT"}


def test_certificates_without_a_service_are_those_of_cps(akamai: Akamai, tmp_path: Path) -> None:
    order = Certificate("p", OLD, "sni", "f")
    with pytest.raises(
        PermanentError, match="akamai has no sni certificates to order without a service"
    ):
        make(akamai).ensure_certificate(order, None)
    make(akamai, enrollment_template=template(tmp_path)).ensure_certificate(order, None)
    assert len(akamai.cps.named(OLD)) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("fate", ["lost", 429])
def test_a_failure_of_any_call_is_recovered_by_later_attempts(fate: str | int) -> None:
    service = site(OLD, NEW)
    one = with_domains(service, {OLD: "sni"})
    numbers = [0]  # In the first turn, no call fails.
    for turn, number in enumerate(numbers):
        with Akamai() as akamai:
            akamai.papi.takes = 1
            akamai.restart(lambda call, number=number: fate if call == number else "ok")
            provider = make(akamai)
            known = settle(provider, service)
            assert known.certificates == {OLD: "deployed", NEW: "deployed"}, number
            # In each second turn, simulate the loss of the first answers.
            settle(provider, one, known if turn % 2 else None)
            assert types(akamai) == {OLD: "DEFAULT"}, number
            take_away(provider, one)
            assert akamai.papi.properties == {} and akamai.dom.claims == {}, number
            assert akamai.papi.default.active["PRODUCTION"] == set(), number
            if not number:
                numbers += distinct(akamai.calls)
    assert len(numbers) > 30


def test_the_double_refuses_what_akamai_refuses(akamai: Akamai) -> None:
    provider, service = make(akamai), site()
    known = settle(provider, service)
    session, papi = provider._session, provider._quick_papi
    (shown,) = papi.hostnames(known.provider_service_id, 1)
    assert "certStatus" not in shown
    made = provider._properties.make(with_domains(make_service(), {}))
    path = f"/papi/v1/properties/{made.property_id}"
    etag = papi.rules(made.property_id, 1)[1]
    wrong = {
        "cnameType": "EDGE_HOSTNAME",
        "cnameFrom": NEW,
        "cnameTo": f"{NEW}.akamaized.net",
        "certProvisioningType": "DEFAULT",
    }
    with pytest.raises(PermanentError, match="no default certificate on"):
        papi.put_hostnames(made.property_id, 1, etag, [wrong])
    right = {**wrong, "cnameTo": f"{NEW}.edgekey.net"}
    papi.put_hostnames(made.property_id, 1, etag, [right])
    akamai.dom.own("b.example")
    body = {
        "propertyVersion": 1,
        "network": "PRODUCTION",
        "activationType": "ACTIVATE",
        "notifyEmails": ["ops@example.com"],
    }
    with pytest.raises(PermanentError, match="needs a secure property"):
        session.json("POST", f"{path}/activations", json=body)
