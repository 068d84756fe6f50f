# SPDX-License-Identifier: Apache-2.0
"""Certificates that Fastly orders, and those that the operator has uploaded."""

import logging
from dataclasses import replace

import pytest

from poppy.common.errors import PermanentError
from poppy.model.certificates import Certificate
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.base import Capability, Issuance
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.builders import PROJECT_ID, make_service
from poppy.testing.provider import known_from
from tests.integration.fastly.conftest import make_provider
from tests.real.fastly import NONE, Fastly, Request
from tests.real.fastly_tls import DEFAULT, Subscription

NAME = "secure.a.example.com"


def service_of(*domains: Domain) -> Service:
    service = make_service()
    return replace(service, spec=replace(service.spec, domains=domains))


@pytest.fixture
def service() -> Service:
    return service_of(Domain(NAME, "https", "sni"))


def ordered(domain: str = NAME) -> Certificate:
    return Certificate(PROJECT_ID, domain, "sni", "standard")


def test_the_message_names_the_required_record(
    fastly: Fastly, provider: FastlyProvider, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deployment = provider.ensure(service, None)

    assert f"{service.service_id}: {deployment.message}" in caplog.text
    assert deployment.in_progress
    assert deployment.poll_after == 60
    assert deployment.certificates == {NAME: "create_in_progress"}
    record = f"the CNAME record _acme-challenge.{NAME} with the value SUB1.fastly-valid"
    assert record in deployment.message
    name, value = f"_acme-challenge.{NAME}", "SUB1.fastly-validations.com"
    assert deployment.records == [
        DNSRecord(NAME, Purpose.CERTIFICATE, RecordType.CNAME, name, value)
    ]
    assert deployment.access_urls == {NAME: "j.sni.global.fastly.net"}
    before = fastly.changes
    assert provider.ensure(service, known_from(deployment)) == deployment
    assert fastly.changes == before, "to ask again costs no write"


@pytest.mark.parametrize(
    ("state", "status", "in_progress"),
    [
        ("pending", "create_in_progress", True),
        ("processing", "create_in_progress", True),
        ("issued", "deployed", False),
        ("renewing", "deployed", False),
        ("failed", "failed", False),
        ("unheard of", "create_in_progress", True),
    ],
)
def test_each_state_has_a_status(
    fastly: Fastly,
    provider: FastlyProvider,
    service: Service,
    state: str,
    status: str,
    in_progress: bool,
) -> None:
    provider.ensure(service, None)
    fastly.tls.set_state(NAME, state)

    deployment = provider.ensure(service, None)

    assert deployment.certificates == {NAME: status}
    assert deployment.in_progress is in_progress


def test_a_failed_order_is_retried_by_the_next_call(
    fastly: Fastly, provider: FastlyProvider, service: Service
) -> None:
    provider.ensure(service, None)
    fastly.tls.set_state(NAME, "failed")
    failed = provider.ensure(service, None)

    again = provider.ensure(service, known_from(failed))

    assert again.certificates == {NAME: "create_in_progress"}
    assert len(fastly.tls.of(NAME)) == 1


def test_a_domain_without_certificate_has_no_orders_left(
    fastly: Fastly, provider: FastlyProvider, service: Service
) -> None:
    fastly_known = known_from(provider.ensure(service, None))
    fastly.tls.set_state(NAME, "issued")
    plain = replace(service, spec=service_of(Domain(NAME)).spec)

    deployment = provider.ensure(plain, fastly_known)

    assert fastly.tls.of(NAME) == []
    assert deployment.certificates == {}
    assert deployment.access_urls == {NAME: "dualstack.nonssl.global.fastly.net"}


def test_an_order_for_several_domains_is_used_but_not_deleted(
    fastly: Fastly, provider: FastlyProvider, service: Service
) -> None:
    by_hand = Subscription("SUB999", (NAME, "other.example.com"), DEFAULT, "certainly", "issued")
    fastly.tls.subscriptions["SUB999"] = by_hand

    assert provider.ensure(service, None).certificates == {NAME: "deployed"}
    fastly.tls.subscriptions["SUB998"] = Subscription("SUB998", (NAME,), DEFAULT, "certainly")
    provider.remove(service, None)

    assert list(fastly.tls.subscriptions) == ["SUB999"]


def test_options_for_orders_and_access_names(fastly: Fastly, service: Service) -> None:
    fastly.tls.configurations["TLSown"] = [("k.sni.global.fastly.net", "CNAME", "global")]
    provider = make_provider(
        fastly,
        tls_configuration="TLSown",
        certificate_authority="lets-encrypt",
        http_access_name="{domain}.global.prod.fastly.net",
    )
    both = service_of(*service.spec.domains, Domain("www.a.example.com"))

    deployment = provider.ensure(both, None)

    (order,) = fastly.tls.of(NAME)
    assert (order.configuration, order.authority) == ("TLSown", "lets-encrypt")
    assert deployment.access_urls == {
        NAME: "k.sni.global.fastly.net",
        "www.a.example.com": "www.a.example.com.global.prod.fastly.net",
    }


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"shared_access_name": "shared.example.net"}, "shared.example.net"),
        ({"shared_tls_configuration": DEFAULT}, "j.sni.global.fastly.net"),
    ],
)
def test_shared_certificates_are_deployed_at_once(
    fastly: Fastly, options: dict[str, str], name: str
) -> None:
    provider = make_provider(fastly, **options)
    service = service_of(Domain("label.shard.example.net", "https", "shared"))

    deployment = provider.ensure(service, None)

    assert Capability.SHARED_CERTIFICATE in provider.supports
    assert not deployment.in_progress
    assert deployment.certificates == {"label.shard.example.net": "deployed"}
    assert deployment.access_urls == {"label.shard.example.net": name}
    assert fastly.tls.subscriptions == {}


def test_shared_certificates_are_not_supported_by_default(
    provider: FastlyProvider,
) -> None:
    assert Capability.SHARED_CERTIFICATE not in provider.supports


def test_a_tls_configuration_without_a_name_is_an_error(
    fastly: Fastly, provider: FastlyProvider, service: Service
) -> None:
    fastly.tls.configurations[DEFAULT] = [("151.101.2.132", "A", "global")]

    with pytest.raises(PermanentError, match=f"{DEFAULT} has no CNAME"):
        provider.ensure(service, None)


def test_an_order_without_a_service_change(fastly: Fastly, provider: FastlyProvider) -> None:
    provider.ensure(service_of(Domain(NAME)), None)

    pending = provider.ensure_certificate(ordered(), None)
    again = provider.ensure_certificate(ordered(), pending)
    fastly.tls.set_state(NAME, "issued")
    issued = provider.ensure_certificate(ordered(), pending)

    assert (pending.status, pending.in_progress) == ("create_in_progress", True)
    assert pending.details["validation"] == [
        {
            "kind": "managed-dns",
            "record_type": "CNAME",
            "name": f"_acme-challenge.{NAME}",
            "values": ("SUB1.fastly-validations.com",),
        },
        {
            "kind": "managed-http-cname",
            "record_type": "CNAME",
            "name": NAME,
            "values": ("j.sni.global.fastly.net",),
        },
    ]
    assert again == pending
    assert (issued.status, issued.in_progress) == ("deployed", False)
    assert len(fastly.tls.of(NAME)) == 1


def test_an_order_for_an_inactive_domain_is_refused_with_fastlys_message(
    provider: FastlyProvider,
) -> None:
    with pytest.raises(PermanentError, match=f"Please add {NAME} to an active service"):
        provider.ensure_certificate(ordered(), None)


def test_an_order_is_deleted_unless_it_is_in_use(fastly: Fastly, provider: FastlyProvider) -> None:
    provider.ensure(service_of(Domain(NAME)), None)
    provider.ensure_certificate(ordered(), None)
    fastly.tls.set_state(NAME, "issued")

    with pytest.raises(PermanentError, match="TLS enabled"):
        provider.remove_certificate(ordered(), None)
    fastly.tls.set_state(NAME, "pending")
    provider.remove_certificate(ordered(), None)
    provider.remove_certificate(ordered(), None)

    assert fastly.tls.subscriptions == {}


def test_a_known_failed_order_is_retried(fastly: Fastly, provider: FastlyProvider) -> None:
    provider.ensure(service_of(Domain(NAME)), None)
    provider.ensure_certificate(ordered(), None)
    fastly.tls.set_state(NAME, "failed")

    assert provider.ensure_certificate(ordered(), None).status == "failed"
    retried = provider.ensure_certificate(ordered(), Issuance("failed"))

    assert retried.status == "create_in_progress"


@pytest.mark.parametrize("unique", [True, False])
def test_two_workers_order_once(
    fastly: Fastly, provider: FastlyProvider, service: Service, unique: bool
) -> None:
    provider.ensure(replace(service, spec=service_of(Domain(NAME)).spec), None)
    other = make_provider(fastly)

    def overtake(request: Request) -> str:
        if request.method == "POST" and request.path == "/tls/subscriptions":
            fastly.fault = lambda _: NONE
            other.ensure_certificate(ordered(), None)
        return NONE

    fastly.fault = overtake
    fastly.tls.unique = unique
    issuance = provider.ensure_certificate(ordered(), None)

    assert issuance.status == "create_in_progress"
    assert [entry.subscription_id for entry in fastly.tls.of(NAME)] == ["SUB1"]
