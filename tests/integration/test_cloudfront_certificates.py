# SPDX-License-Identifier: Apache-2.0
"""The provider ``cloudfront`` and the certificates of its services."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from poppy.common.errors import (
    PermanentError,
)
from poppy.model.certificates import Certificate
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.base import Capability
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.testing.builders import make_service, make_spec
from poppy.testing.provider import known_from
from tests.certificates import Signed
from tests.real.cloudfront import (  # noqa: F401
    Account,
    account,
    changed,
    make_provider,
    moto,
    one_account,
    one_provider,
    provider,
    rich_service,
    server,
    settle,
    take_away,
)
from tests.real.moto import Moto

pytestmark = pytest.mark.real


def test_service_waits_for_its_certificate_and_shows_the_records(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    moto.validate("PENDING_VALIDATION")
    service = rich_service()

    waiting = provider.ensure(service, None)
    known = known_from(waiting)

    assert waiting.in_progress
    assert waiting.poll_after >= 60
    assert set(waiting.certificates.values()) == {"create_in_progress"}
    for domain in service.spec.domain_names:
        assert f".{domain} CNAME _" in waiting.message
        (record,) = [one for one in waiting.records if one.domain == domain]
        assert (record.purpose, record.type) == ("certificate", "CNAME")
        assert f"{record.name} CNAME {record.value}" in waiting.message
    assert account.config(service)["Aliases"]["Quantity"] == 0
    assert provider.ensure(service, known).provider_service_id == waiting.provider_service_id

    moto.validate("ISSUED")
    done = settle(provider, service, known)

    assert set(done.certificates.values()) == {"deployed"}
    assert done.message == ""
    assert done.records == waiting.records
    assert set(account.config(service)["Aliases"]["Items"]) == service.spec.domain_names


def test_kept_domains_are_served_while_a_new_one_waits(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()
    known = known_from(settle(provider, service))
    moto.validate("PENDING_VALIDATION")

    for _ in range(3):
        assert provider.ensure(changed(service), known).in_progress

    assert account.config(service)["Aliases"]["Items"] == ["www.rich.example.com"]
    assert len(account.certificates(service)) == 2
    moto.validate("ISSUED")
    settle(provider, changed(service), known)
    assert account.names(service) == [changed(service).spec.domain_names]


def test_failed_certificate_is_reported_and_requested_again(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    moto.validate("FAILED")
    service = rich_service()

    with pytest.raises(PermanentError, match=r"certificate for .*www\.rich.* failed"):
        for _ in range(3):
            provider.ensure(service, None)
    moto.validate("ISSUED")

    assert settle(provider, service).certificates["www.rich.example.com"] == "deployed"
    assert account.count(service) == (1, 1, 1)


def test_certificate_with_a_delayed_tag_is_not_requested_twice(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()
    moto.find_tags("off")
    for _ in range(3):
        provider.ensure(service, None)
    moto.find_tags("on")

    assert account.count(service) == (1, 1, 1)


def test_plain_http_domain_needs_a_certificate(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = make_service(domains=["www.plain.example.com"])

    deployment = settle(provider, service)

    assert deployment.certificates == {}
    assert account.names(service) == [{"www.plain.example.com"}]


def test_shared_domains_use_the_operators_certificate(moto: Moto, account: Account) -> None:
    arn = account.acm.request_certificate(DomainName="*.scdn0.secure.example.net")
    provider = make_provider(moto, certificate_arn=arn["CertificateArn"])
    domains = (Domain("shop.scdn0.secure.example.net", "https", "shared"),)
    service = make_service(spec=make_spec(domains=[]))
    service = replace(service, spec=replace(service.spec, domains=domains))

    settle(provider, service)

    assert Capability.SHARED_CERTIFICATE in provider.supports
    assert account.certificates(service) == []
    viewer = account.config(service)["ViewerCertificate"]
    assert viewer["ACMCertificateArn"] == arn["CertificateArn"]
    take_away(provider, service)
    account.acm.describe_certificate(CertificateArn=arn["CertificateArn"])

    elsewhere = (Domain("shop.scdn1.secure.example.net", "https", "shared"),)
    with pytest.raises(PermanentError, match=r"shop\.scdn1"):
        provider.ensure(replace(service, spec=replace(service.spec, domains=elsewhere)), None)


def test_certificate_can_be_ordered_in_advance(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    order = Certificate("42", "www.ahead.example.com", "san", "standard")
    moto.validate("PENDING_VALIDATION")

    pending = provider.ensure_certificate(order, None)
    again = provider.ensure_certificate(order, None)

    assert pending == again
    assert (pending.status, pending.in_progress) == ("create_in_progress", True)
    (record,) = pending.details["validation"]  # type: ignore[misc, str-unpack]
    assert record["name"].endswith(".www.ahead.example.com")  # type: ignore[index]
    moto.validate("ISSUED")
    assert provider.ensure_certificate(order, pending).status == "deployed"
    provider.remove_certificate(order, pending)
    provider.remove_certificate(order, None)
    assert account.acm.list_certificates()["CertificateSummaryList"] == []


NAMES = ("a.brought.example.com", "b.brought.example.com")


def brought(names: Sequence[str] = NAMES, kind: str = "custom") -> Service:
    domains = tuple(Domain(name, "https", kind) for name in names)
    return make_service(spec=replace(make_spec(list(names)), domains=domains))


def test_a_tenants_certificate_is_deployed_replaced_and_deleted(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = brought()
    root = Signed("root")
    first, second = (Signed(str(it), issuer=root, names=NAMES) for it in range(2))

    waiting = provider.ensure(service, None)
    known = known_from(waiting)
    waiting = settle(provider, service, known)
    assert waiting.certificates == dict.fromkeys(NAMES, "create_in_progress")
    assert set(waiting.certificate_messages) == {*NAMES}
    assert account.config(service)["Aliases"]["Quantity"] == 0
    assert provider.kept_certificate(service, NAMES[0]) is None

    for site in (first, second):
        provider.keep_certificate(service, NAMES[0], site.pem + root.pem, site.key_pem)
        done = settle(provider, service, known)
        assert done.certificates == dict.fromkeys(NAMES, "deployed")
        assert not done.certificate_messages
        made = account.config(service)
        assert {*made["Aliases"]["Items"]} == {*NAMES}
        arn = made["ViewerCertificate"]["ACMCertificateArn"]
        held = account.acm.get_certificate(CertificateArn=arn)["Certificate"]
        assert held.strip() == site.pem.strip()
        for name in NAMES:
            found = provider.kept_certificate(service, name)
            assert found is not None
            assert (found.domain, found.names, found.fingerprint) == (
                name,
                NAMES,
                site.fingerprint,
            )
    # The previous one is no longer in use.
    settle(provider, service, known)
    assert uploaded(account, service) == [arn]

    provider.drop_certificate(service, NAMES[0])
    assert provider.kept_certificate(service, NAMES[0]) is None
    settle(provider, service, known)
    assert account.config(service)["Aliases"]["Quantity"] == 0
    settle(provider, service, known)
    assert uploaded(account, service) == []

    provider.keep_certificate(service, NAMES[1], first.pem + root.pem, first.key_pem)
    settle(provider, service, known)
    take_away(provider, service, known)
    assert uploaded(account, service) == []


def uploaded(account: Account, service: Service) -> list[str]:
    filters = [{"Key": "poppy-service", "Values": [f"{service.service_id}-upload"]}]
    found = account.tagging.get_resources(TagFilters=filters)["ResourceTagMappingList"]
    return [entry["ResourceARN"] for entry in found]


def test_domains_stay_until_the_tenant_has_brought_a_certificate(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = brought(kind="san")
    known = known_from(settle(provider, service))
    custom = replace(service, spec=brought().spec)

    settle(provider, custom, known)

    assert {*account.config(service)["Aliases"]["Items"]} == {*NAMES}
    assert account.names(service) == [{*NAMES}]

    site = Signed("site", names=["*.brought.example.com"])
    provider.keep_certificate(custom, NAMES[0], site.pem, site.key_pem)
    settle(provider, custom, known)
    settle(provider, custom, known)

    assert {*account.config(service)["Aliases"]["Items"]} == {*NAMES}
    assert account.names(service) == []


def test_certificates_that_cloudfront_cannot_use_are_refused(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = brought()
    part = Signed("part", names=NAMES[:1])
    long = Signed("long", names=NAMES, key=ec.generate_private_key(ec.SECP384R1()))
    for site, reason in ((part, f"not for {NAMES[1]}"), (long, "not EC secp384r1")):
        with pytest.raises(PermanentError, match=reason) as caught:
            provider.keep_certificate(service, NAMES[0], site.pem, site.key_pem)
        assert site.key_pem[40:60] not in str(caught.value)
    assert uploaded(account, service) == []

    domains = (Domain(NAMES[0], "https", "custom"), Domain(NAMES[1], "https", "san"))
    with pytest.raises(PermanentError, match="custom and other ones can't be mixed"):
        provider.check(replace(service.spec, domains=domains))


def test_a_certificate_for_fewer_domains_leaves_the_others_out(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = brought(NAMES[:1])
    known = known_from(settle(provider, service))
    site = Signed("site", names=NAMES[:1])
    provider.keep_certificate(service, NAMES[0], site.pem, site.key_pem)
    settle(provider, service, known)

    more = settle(provider, replace(service, spec=brought().spec), known)

    assert account.config(service)["Aliases"]["Items"] == [NAMES[0]]
    assert set(more.certificates.values()) == {"create_in_progress"}
    assert uploaded(account, service) != []
