# SPDX-License-Identifier: Apache-2.0
"""Akamai activates a hostname once the tenant has proven that it owns the domain."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from poppy.common.errors import PermanentError, Scope, Unauthorized
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.model.document.redirects import Redirect
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.akamai.dom import DOM, MOST_DOMAINS
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.base import Deployment
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.akamai.conftest import make_provider, template
from tests.integration.akamai.test_convergence import changed, settle, take_away
from tests.real.akamai import Akamai

OLD, NEW = "www.a.example", "www.b.example"


@pytest.fixture(autouse=True)
def _tenants_have_to_act(akamai: Akamai) -> None:
    akamai.dom.automatic = False


def with_domains(service: Service, *names: str) -> Service:
    return replace(service, spec=replace(service.spec, domains=tuple(map(Domain, names))))


def deployed(akamai: Akamai, provider: AkamaiProvider, service: Service) -> Deployment:
    """Deploy a service whose tenant publishes the records, and return the result."""
    first = provider.ensure(service, None)
    akamai.dom.publish()
    return settle(provider, service, first)


def domain_calls(akamai: Akamai) -> list[str]:
    return [call for call in akamai.calls if "/domain-validation/" in call]


def test_the_tenant_publishes_a_record_for_each_new_domain(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=(OLD, NEW))
    first = provider.ensure(service, None)
    again = provider.ensure(service, known_from(first))
    for found in (first, again):
        assert found.in_progress
        for name in (OLD, NEW):
            token = akamai.dom.claims[name, "HOST"]["token"]
            assert (
                f"create the TXT record _akamai-host-challenge.{name} with the value {token}"
                in found.message
            )
            record = f"_akamai-host-challenge.{name}"
            assert (
                DNSRecord(name, Purpose.OWNERSHIP, RecordType.TXT, record, token) in found.records
            )
        assert len(found.records) == 2
    assert akamai.papi.properties[first.provider_service_id]["activations"] == []

    akamai.dom.publish()
    known = settle(provider, service, again)

    assert known.message == ""
    assert known.records == ()
    assert set(akamai.papi.serving()) == {OLD, NEW}


def test_only_unproven_domains_are_waited_for(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service(domains=(OLD, NEW))
    first = provider.ensure(service, None)
    token = akamai.dom.claims[OLD, "HOST"]["token"]
    akamai.dom.records[f"_akamai-host-challenge.{OLD}"] = token
    akamai.dom.records[f"_akamai-host-challenge.{NEW}"] = token

    found = provider.ensure(service, known_from(first))

    assert found.in_progress
    assert OLD not in found.message and NEW in found.message
    assert akamai.dom.status(OLD) == "VALIDATED"
    assert akamai.dom.status(NEW) == "REQUEST_ACCEPTED"


@pytest.mark.parametrize(
    ("name", "scope"),
    [(OLD, "HOST"), (OLD, "DOMAIN"), ("a.example", "WILDCARD"), ("a.example", "DOMAIN")],
)
def test_a_domain_that_the_operator_has_validated_needs_nothing(
    akamai: Akamai, provider: AkamaiProvider, name: str, scope: str
) -> None:
    akamai.dom.own(name, scope)
    service = make_service(domains=(OLD,))
    settle(provider, service)
    take_away(provider, service)
    assert akamai.dom.status(name, scope) == "VALIDATED"
    assert len(akamai.dom.claims) == 1


@pytest.mark.parametrize(
    ("name", "scope"),
    [("a.example", "HOST"), (OLD, "WILDCARD"), ("example", "WILDCARD"), ("b.example", "DOMAIN")],
)
def test_a_claim_of_another_name_is_not_enough(
    akamai: Akamai, provider: AkamaiProvider, name: str, scope: str
) -> None:
    akamai.dom.own(name, scope)
    found = provider.ensure(make_service(domains=(OLD,)), None)
    assert f"_akamai-host-challenge.{OLD}" in found.message


def test_the_operator_can_validate_a_parent_while_the_tenant_is_waited_for(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=(OLD,))
    first = provider.ensure(service, None)
    akamai.dom.own("a.example", "DOMAIN")
    settle(provider, service, first)
    assert akamai.dom.status(OLD) == "REQUEST_ACCEPTED"


def test_deployed_domains_are_served_while_a_new_one_is_waited_for(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=(OLD,))
    known = deployed(akamai, provider, service)
    service = with_domains(service, OLD, NEW)

    found = provider.ensure(service, known_from(known))

    assert found.in_progress
    assert OLD not in found.message and NEW in found.message
    assert set(akamai.papi.serving()) == {OLD}
    akamai.dom.publish()
    settle(provider, service, found)
    assert set(akamai.papi.serving()) == {OLD, NEW}


def test_services_from_before_the_rule_change_without_a_claim(akamai: Akamai) -> None:
    akamai.dom.enforced = False
    service = make_service(domains=(OLD,))
    known = settle(make_provider(akamai, domain_validation=False), service)
    akamai.dom.enforced = True
    akamai.dom.permitted = False
    akamai.restart()

    settle(make_provider(akamai), changed(service), known)

    assert domain_calls(akamai) == []
    take_away(make_provider(akamai), service)
    assert akamai.papi.properties == {}


def test_a_missing_permission_names_the_option(akamai: Akamai, provider: AkamaiProvider) -> None:
    akamai.dom.permitted = False
    with pytest.raises(
        Unauthorized, match=r"\[drivers:provider:akamai\] domain_validation = false"
    ) as caught:
        provider.ensure(make_service(domains=(OLD,)), None)
    # Services that need no new domain go on.
    assert caught.value.scope is Scope.SERVICE


def test_the_operator_can_validate_all_domains_without_poppy(akamai: Akamai) -> None:
    akamai.dom.permitted = False
    provider = make_provider(akamai, domain_validation=False)
    service = make_service(domains=(OLD,))
    with pytest.raises(PermanentError, match=f"ownership is not validated: {OLD}"):
        provider.ensure(service, None)
    akamai.dom.own("a.example", "DOMAIN")
    settle(provider, service)
    take_away(provider, service)
    assert domain_calls(akamai) == []


def test_expired_tokens_are_requested_again(akamai: Akamai, provider: AkamaiProvider) -> None:
    service = make_service(domains=(OLD,))
    first = provider.ensure(service, None)
    before = akamai.dom.claims[OLD, "HOST"]["token"]
    akamai.dom.expire()

    found = provider.ensure(service, known_from(first))

    token = akamai.dom.claims[OLD, "HOST"]["token"]
    assert token != before
    assert found.in_progress and token in found.message and before not in found.message
    akamai.dom.publish()
    settle(provider, service, found)


def test_a_validation_in_progress_is_waited_for(akamai: Akamai, provider: AkamaiProvider) -> None:
    akamai.dom.takes = 2
    service = make_service(domains=(OLD,))
    first = provider.ensure(service, None)
    akamai.dom.publish()
    found = provider.ensure(service, known_from(first))
    assert found.in_progress and akamai.dom.status(OLD) == "VALIDATION_IN_PROGRESS"
    settle(provider, service, found)


def test_a_domain_of_another_account_is_refused(akamai: Akamai, provider: AkamaiProvider) -> None:
    akamai.dom.taken = {NEW}
    service = make_service(domains=(OLD, NEW))
    with pytest.raises(PermanentError, match=f"claim of domain {NEW}: .*already in use"):
        provider.ensure(service, None)


def test_removal_releases_poppys_claims_only(akamai: Akamai, provider: AkamaiProvider) -> None:
    akamai.dom.own(OLD, "HOST")
    service = make_service(domains=(OLD, NEW))
    known = deployed(akamai, provider, service)
    settle(provider, changed(service), known)
    assert akamai.dom.status(NEW) == "VALIDATED"

    take_away(provider, service)

    assert akamai.papi.properties == {}
    assert akamai.dom.status(OLD) == "VALIDATED"
    assert akamai.dom.status(NEW) is None


@pytest.mark.parametrize("lenient", [True, False])
def test_a_service_is_removed_while_the_tenant_is_waited_for(
    akamai: Akamai, provider: AkamaiProvider, lenient: bool
) -> None:
    akamai.dom.lenient = lenient
    service = make_service(domains=(OLD,))
    provider.ensure(service, None)

    take_away(provider, service)

    assert akamai.papi.properties == {}
    # The reference does not let a pending claim be deleted. The next service uses it.
    assert akamai.dom.status(OLD) == (None if lenient else "REQUEST_ACCEPTED")
    deployed(akamai, provider, service)


def test_the_claim_of_a_dropped_domain_is_released(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=(OLD, NEW))
    known = deployed(akamai, provider, service)
    dropped = with_domains(service, OLD)

    waiting = provider.ensure(dropped, known_from(known))
    assert waiting.in_progress and akamai.dom.status(NEW) == "VALIDATED"
    # Poppy keeps the names of a dropped domain until its DNS records are gone.
    known = replace(known, in_progress=waiting.in_progress)
    known = settle(provider, dropped, known)
    provider.ensure(dropped, known_from(replace(known, access_urls={OLD: "x", NEW: "y"})))

    assert akamai.dom.status(NEW) is None
    assert akamai.dom.status(OLD) == "VALIDATED"


def test_a_released_domain_that_the_operator_claims_stays_the_operators(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    both = make_service(domains=(OLD, NEW))
    one = with_domains(both, OLD)
    first = deployed(akamai, provider, both)
    second = settle(provider, one)
    provider.ensure(one, known_from(first))
    assert akamai.dom.status(NEW) is None
    akamai.dom.own(NEW, "HOST")

    settle(provider, both, second)
    take_away(provider, both)

    assert akamai.dom.status(NEW) == "VALIDATED"
    assert akamai.dom.status(OLD) is None


def test_a_claim_is_noted_in_a_new_version_if_the_last_one_is_locked(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    akamai.dom.own(OLD, "HOST")
    akamai.papi.outcomes = ["FAILED"]
    akamai.papi.takes = 0
    service = make_service(domains=(OLD,))
    first = provider.ensure(service, None)
    del akamai.dom.claims[OLD, "HOST"]

    second = provider.ensure(service, known_from(first))
    assert f"_akamai-host-challenge.{OLD}" in second.message
    akamai.dom.publish()
    settle(provider, service, second)

    assert len(akamai.papi.properties[first.provider_service_id]["versions"]) == 2
    take_away(provider, service)
    assert akamai.dom.claims == {}


def test_records_for_the_certificate_and_for_ownership_are_shown_together(
    akamai: Akamai, tmp_path: Path
) -> None:
    akamai.cps.automatic = False
    file = template(tmp_path)
    provider = make_provider(akamai, enrollment_template=file, allow_https_downgrade=True)
    service = make_service(domains=(OLD,))
    domains = (Domain(OLD, "https", "sni"),)
    service = replace(service, spec=replace(service.spec, domains=domains))
    for _ in range(3):
        found = provider.ensure(service, None)
    assert f"_acme-challenge.{OLD}" in found.message
    assert f"_akamai-host-challenge.{OLD}" in found.message
    assert {(one.purpose, one.type, one.name) for one in found.records} == {
        ("ownership", "TXT", f"_akamai-host-challenge.{OLD}"),
        ("certificate", "TXT", f"_acme-challenge.{OLD}"),
    }


def test_a_domain_that_is_too_long_to_validate_is_refused(akamai: Akamai) -> None:
    name = ".".join(["a" * 60] * 3 + ["b" * 18, "example.com"])
    service = make_service(domains=(name,))
    options = {"http_edge_hostname": "cdn.example.edgesuite.net"}
    with pytest.raises(PermanentError, match="too long to be validated by Akamai: 200"):
        make_provider(akamai, **options).check(service.spec)
    make_provider(akamai, **options, domain_validation=False).check(service.spec)


def test_requests_have_a_bounded_number_of_domains(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    akamai.dom.automatic = True
    dom = DOM(provider._session, "drivers:provider:akamai")
    names = [f"www{number}.example.com" for number in range(2 * MOST_DOMAINS + 1)]

    assert dom.add(names) == {}
    assert dom.validate(names) == set(names)
    assert len(dom.search((name, "HOST") for name in names)) == len(names)

    sizes = [len(json.loads(body)["domains"]) for body in akamai.bodies]
    assert sizes == 3 * [MOST_DOMAINS, MOST_DOMAINS, 1]


def test_the_double_refuses_what_akamai_refuses(akamai: Akamai, provider: AkamaiProvider) -> None:
    """A double that accepts more than Akamai would hide errors of the driver."""
    dom = DOM(provider._session, "drivers:provider:akamai")
    assert "already exists" not in str(dom.add([OLD]))
    assert "already exists" in dom.add([OLD])[OLD]
    with pytest.raises(PermanentError, match="invalidated for the current state"):
        dom.invalidate(OLD)
    with pytest.raises(PermanentError, match="deleted for the current state"):
        dom.delete(OLD)
    akamai.dom.own("b.example")
    assert "Supernet" in dom.add([NEW])[NEW]
    with pytest.raises(PermanentError, match="101 domains"):
        body = [{"domainName": OLD, "validationScope": "HOST"}] * 101
        provider._session.json(
            "POST", "/domain-validation/v1/domains/validate-now", json={"domains": body}
        )
    with pytest.raises(PermanentError, match="Invalid domainName"):
        dom.add(["*.a.example"])
    dom.invalidate("missing.example")
    dom.delete("missing.example")


def test_claims_and_variables_of_rules_are_kept_apart(
    akamai: Akamai, provider: AkamaiProvider
) -> None:
    service = make_service(domains=(OLD,))
    moved = (Redirect("r", "/old/*", "/new/$1"),)
    service = replace(service, spec=replace(service.spec, redirects=moved))
    known = deployed(akamai, provider, service)
    key = known.provider_service_id

    def variables() -> set[str]:
        return {one["name"] for one in akamai.papi.version(key)["rules"].get("variables", ())}

    assert {"PMUSER_POPPY_CLAIM_1", "PMUSER_POPPY_MATCH1"} <= variables()
    count = len(akamai.papi.properties[key]["versions"])
    settle(provider, service, known)
    assert len(akamai.papi.properties[key]["versions"]) == count

    settle(provider, replace(service, spec=replace(service.spec, redirects=None)), known)
    assert "PMUSER_POPPY_CLAIM_1" in variables()
    assert "PMUSER_POPPY_MATCH1" not in variables()
