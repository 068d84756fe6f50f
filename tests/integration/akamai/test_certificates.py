# SPDX-License-Identifier: Apache-2.0
"""Certificates of single and of many domains, and operators' jobs."""

import concurrent.futures
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from poppy.common.errors import DriverError, InProgressError, PermanentError
from poppy.model.certificates import Certificate
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.akamai.jobs import CertificateJobs
from poppy.provider.base import Capability, Issuance
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.akamai.conftest import make_provider, template
from tests.integration.akamai.test_convergence import settle, take_away
from tests.real.akamai import Akamai

DOMAIN = "www.a.example"


def order(kind: str, domain: str = DOMAIN) -> Certificate:
    return Certificate("p", domain, kind, "f")


def secured(kind: str, *names: str) -> Service:
    service = make_service(domains=names or (DOMAIN,))
    domains = tuple(Domain(one.domain, "https", kind) for one in service.spec.domains)
    return replace(service, spec=replace(service.spec, domains=domains))


@pytest.fixture
def sni(akamai: Akamai, tmp_path: Path) -> AkamaiProvider:
    return make_provider(
        akamai, enrollment_template=template(tmp_path), allow_https_downgrade=True
    )


@pytest.fixture
def shared(akamai: Akamai) -> list[int]:
    return [akamai.cps.add("san1.cdn.example"), akamai.cps.add("san2.cdn.example")]


@pytest.fixture
def san(akamai: Akamai, shared: list[int]) -> AkamaiProvider:
    return make_provider(
        akamai, san_certs=shared, san_cert_hostname_limit=3, allow_https_downgrade=True
    )


def names(akamai: Akamai, number: int) -> set[str]:
    return set(akamai.cps.enrollments[number]["document"]["csr"]["sans"])


def test_kinds_without_configuration_are_not_supported(akamai: Akamai, tmp_path: Path) -> None:
    kinds = {
        Capability.SAN_CERTIFICATE: {"san_certs": [1]},
        Capability.SNI_CERTIFICATE: {"enrollment_template": template(tmp_path)},
        Capability.SHARED_CERTIFICATE: {"shared_edge_hostname": "w.example.edgekey.net"},
    }
    plain = make_provider(akamai)
    for kind, options in kinds.items():
        assert kind not in plain.supports
        assert make_provider(akamai, **options).supports == plain.supports | {kind}
    assert Capability.CUSTOM_CERTIFICATE not in plain.supports
    for kind in ("san", "sni", "custom"):
        with pytest.raises(PermanentError, match=f"akamai has no {kind} certificates"):
            plain.ensure_certificate(order(kind), None)


def test_an_order_has_validation_records(akamai: Akamai, sni: AkamaiProvider) -> None:
    akamai.cps.automatic = False
    first = sni.ensure_certificate(order("sni"), None)
    found = sni.ensure_certificate(order("sni"), first)
    assert found.status == "create_in_progress" and found.in_progress
    assert found.details["validation"] == [
        {
            "domain": DOMAIN,
            "name": f"_acme-challenge.{DOMAIN}",
            "value": f"proof-of-{DOMAIN}",
        }
    ]
    akamai.cps.validate()
    for _ in range(4):
        found = sni.ensure_certificate(order("sni"), found)
    assert (found.status, found.in_progress) == ("deployed", False)
    assert len(akamai.cps.enrollments) == 1
    assert found.details["edge_hostname"] == f"{DOMAIN}.edgekey.net"


@pytest.mark.parametrize(("state", "status"), [("error", "failed"), ("cancelled", "cancelled")])
def test_a_failed_order_reports_the_reason(
    akamai: Akamai, sni: AkamaiProvider, state: str, status: str
) -> None:
    sni.ensure_certificate(order("sni"), None)
    (number,) = akamai.cps.enrollments
    akamai.cps.end_change(number, state)
    found = sni.ensure_certificate(order("sni"), None)
    assert (found.status, found.in_progress) == (status, False)
    assert DOMAIN in str(found.details["waits_for"])


@pytest.mark.parametrize("fate", ["lost", "dead", 503])
def test_a_failure_of_any_call_leaves_one_enrollment(
    akamai: Akamai, tmp_path: Path, fate: str | int
) -> None:
    for number in range(1, 8):
        domain = f"www.n{number}.example"
        provider = make_provider(akamai, enrollment_template=template(tmp_path))
        akamai.restart(lambda call, number=number: fate if call == number else "ok")
        found: Issuance | None = None
        for _ in range(12):
            try:
                found = provider.ensure_certificate(order("sni", domain), None)
            except DriverError:
                continue
        assert found is not None and found.status == "deployed"
        assert len(akamai.cps.named(domain)) == 1


def test_two_workers_order_one(akamai: Akamai, tmp_path: Path) -> None:
    barrier = threading.Barrier(2)
    file = template(tmp_path)

    def worker() -> Callable[[], Issuance]:
        provider = make_provider(akamai, enrollment_template=file)
        create = provider._certificates._cps.create

        def together(document: dict[str, object]) -> int:
            barrier.wait(timeout=60)
            return create(document)

        provider._certificates._cps.create = together  # type: ignore[method-assign]
        return lambda: provider.ensure_certificate(order("sni"), None)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = [one.result() for one in [pool.submit(worker()) for _ in range(2)]]

    assert len(akamai.cps.named(DOMAIN)) == 1
    assert len({str(one.details["enrollment_id"]) for one in found}) == 1


def test_only_poppys_enrollments_are_deleted(akamai: Akamai, sni: AkamaiProvider) -> None:
    akamai.cps.add(DOMAIN)
    found = sni.ensure_certificate(order("sni"), None)
    assert found.status == "deployed"
    sni.remove_certificate(order("sni"), found)
    assert len(akamai.cps.named(DOMAIN)) == 1


def test_a_domain_is_added_to_the_first_certificate_with_room(
    akamai: Akamai, san: AkamaiProvider, shared: list[int]
) -> None:
    found = san.ensure_certificate(order("san", "www.one.example"), None)
    assert found.details["edge_hostname"] == "san1.cdn.example.edgekey.net"
    # Its change is pending, so the next domain goes to the second; then none is left.
    san.ensure_certificate(order("san", "www.two.example"), None)
    waiting = san.ensure_certificate(order("san", "www.three.example"), None)
    assert "www.one.example" in names(akamai, shared[0])
    assert "www.two.example" in names(akamai, shared[1])
    assert (waiting.status, waiting.in_progress) == ("create_in_progress", True)
    assert "waiting for another change" in str(waiting.details["waits_for"])

    akamai.cps.end_change(shared[0])
    san.ensure_certificate(order("san", "www.three.example"), waiting)
    assert "www.three.example" in names(akamai, shared[0])
    for number in shared:
        if akamai.cps.enrollments[number]["change"]:
            akamai.cps.end_change(number)
    san.ensure_certificate(order("san", "www.four.example"), None)
    akamai.cps.end_change(shared[1])
    with pytest.raises(PermanentError, match="has room for www.five.example: 3 names"):
        san.ensure_certificate(order("san", "www.five.example"), None)


def test_a_tenant_does_not_see_the_challenges_of_others(
    akamai: Akamai, san: AkamaiProvider, shared: list[int]
) -> None:
    akamai.cps.enrollments[shared[0]]["document"]["csr"]["sans"].append("www.other.example")
    akamai.cps.automatic = False
    for _ in range(3):
        found = san.ensure_certificate(order("san"), None)
    assert found.details["validation"]
    assert "other" not in str(found.details)


def test_a_concurrent_change_is_waited_for(
    akamai: Akamai, san: AkamaiProvider, shared: list[int]
) -> None:
    def interfere(call: int) -> str:
        if akamai.calls[-1].startswith("PUT"):
            for number in shared:
                if not akamai.cps.enrollments[number]["change"]:
                    akamai.cps.begin_change(number)
        return "ok"

    akamai.restart(interfere)
    found = san.ensure_certificate(order("san"), None)
    assert found.in_progress
    assert not names(akamai, shared[0]) & {DOMAIN}


def test_a_san_certificate_without_the_domain_is_not_deployed(
    akamai: Akamai, san: AkamaiProvider, shared: list[int]
) -> None:
    san.ensure_certificate(order("san"), None)
    akamai.cps.end_change(shared[0], "dropped")
    found = san.ensure_certificate(order("san"), None)
    assert (found.status, found.in_progress) == ("cancelled", False)
    assert f"was not issued for {DOMAIN}" in str(found.details["waits_for"])


def test_removal_from_a_san_certificate_waits_for_pending_changes(
    akamai: Akamai, san: AkamaiProvider, shared: list[int]
) -> None:
    for _ in range(4):
        found = san.ensure_certificate(order("san"), None)
    assert found.status == "deployed"
    akamai.cps.begin_change(shared[0])
    with pytest.raises(InProgressError):
        san.remove_certificate(order("san"), found)
    akamai.cps.end_change(shared[0])
    san.remove_certificate(order("san"), found)
    san.remove_certificate(order("san"), found)
    assert names(akamai, shared[0]) == {"san1.cdn.example"}


def test_certificates_of_removed_domains_are_deleted_after_activation(
    akamai: Akamai, sni: AkamaiProvider
) -> None:
    service = secured("sni", DOMAIN, "www.b.example")
    known = settle(sni, service)
    assert len(akamai.cps.enrollments) == 2
    spec = replace(service.spec, domains=service.spec.domains[:1])
    dropped = replace(service, spec=spec)

    waiting = sni.ensure(dropped, known_from(known))
    assert waiting.in_progress and len(akamai.cps.enrollments) == 2
    found = settle(sni, dropped, waiting)

    assert set(found.certificates) == {DOMAIN}
    assert len(akamai.cps.enrollments) == 1


def test_a_shared_domain_uses_the_operators_edge_hostname(akamai: Akamai) -> None:
    name = "wild.cdn.example.edgekey.net"
    akamai.papi.add_edge_hostname(name, secure=True)
    provider = make_provider(akamai, shared_edge_hostname=name, allow_https_downgrade=True)
    found = settle(provider, secured("shared"))
    assert found.access_urls == {DOMAIN: name}
    assert found.certificates == {DOMAIN: "deployed"}
    assert akamai.cps.enrollments == {}


@pytest.mark.parametrize("kind", ["san", "sni"])
def test_a_shared_domain_gets_its_own_certificate(
    akamai: Akamai, shared: list[int], tmp_path: Path, kind: str
) -> None:
    name = "wild.cdn.example.edgekey.net"
    akamai.papi.add_edge_hostname(name, secure=True)
    provider = make_provider(
        akamai,
        san_certs=shared,
        enrollment_template=template(tmp_path),
        shared_edge_hostname=name,
        allow_https_downgrade=True,
    )
    before = secured("shared")
    known = settle(provider, before)
    after = replace(before, spec=secured(kind).spec)

    found = settle(provider, after, known)

    own = {"san": "san1.cdn.example.edgekey.net", "sni": f"{DOMAIN}.edgekey.net"}
    assert found.access_urls == {DOMAIN: own[kind]}


def test_the_driver_implements_the_jobs(san: AkamaiProvider) -> None:
    assert isinstance(san, CertificateJobs)


def test_a_certificate_that_was_never_ordered_has_no_status(
    akamai: Akamai, sni: AkamaiProvider
) -> None:
    assert sni.certificate_status(order("sni")) is None
    sni.ensure_certificate(order("sni"), None)
    found = sni.certificate_status(order("sni"))
    assert found is not None and found.in_progress
    assert len(akamai.cps.enrollments) == 1


def test_a_san_mapping_is_read_from_the_certificates(akamai: Akamai, san: AkamaiProvider) -> None:
    service = secured("san", DOMAIN, "www.b.example")
    san.ensure_certificate(order("san"), None)
    assert san.san_mapping(service) == {
        DOMAIN: "san1.cdn.example.edgekey.net",
        "www.b.example": None,
    }


def test_a_migrated_domain_keeps_its_edge_hostname(akamai: Akamai, san: AkamaiProvider) -> None:
    service = secured("san")
    known = settle(san, service)
    akamai.cps.add("new.cdn.example", DOMAIN)

    for _ in range(5):
        moved = san.migrate(service, known_from(known), DOMAIN, "new.cdn.example")
    assert not moved.in_progress
    assert moved.access_urls == {DOMAIN: "new.cdn.example.edgekey.net"}
    assert akamai.papi.serving()[DOMAIN][1] == "new.cdn.example.edgekey.net"
    assert settle(san, service, moved).access_urls == moved.access_urls

    for _ in range(5):
        back = san.update_property(service, known_from(moved))
    assert back.access_urls == known.access_urls
    assert akamai.papi.serving()[DOMAIN][1] == known.access_urls[DOMAIN]
    take_away(san, service)


@pytest.mark.parametrize(
    ("domain", "target", "message"),
    [
        ("www.not.example", "new.cdn.example", "has no domain www.not.example"),
        (DOMAIN, "none.cdn.example", "no edge hostname none.cdn.example.edgekey.net"),
    ],
)
def test_a_migration_to_an_unknown_certificate_is_refused(
    akamai: Akamai, san: AkamaiProvider, domain: str, target: str, message: str
) -> None:
    service = secured("san")
    known = settle(san, service)
    with pytest.raises(PermanentError, match=message):
        san.migrate(service, known_from(known), domain, target)
    assert akamai.papi.serving()[DOMAIN][1] == known.access_urls[DOMAIN]


def test_a_domain_follows_a_change_of_its_certificate_kind(
    akamai: Akamai, shared: list[int], tmp_path: Path
) -> None:
    provider = make_provider(
        akamai,
        san_certs=shared,
        enrollment_template=template(tmp_path),
        allow_https_downgrade=True,
    )
    service = secured("san")
    known = settle(provider, service)
    for kind, name in (("sni", f"{DOMAIN}.edgekey.net"), ("san", "san1.cdn.example.edgekey.net")):
        spec = replace(service.spec, domains=(Domain(DOMAIN, "https", kind),))
        service = replace(service, spec=spec)
        known = settle(provider, service, known)
        assert known.access_urls == {DOMAIN: name}
    take_away(provider, service)
    assert akamai.cps.named(DOMAIN) == []
    assert names(akamai, shared[0]) == {"san1.cdn.example"}
