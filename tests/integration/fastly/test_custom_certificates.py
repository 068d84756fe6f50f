# SPDX-License-Identifier: Apache-2.0
"""Certificates that tenants bring are uploaded to Fastly and activated."""

import datetime
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from poppy.common.errors import (
    DriverError,
    PermanentError,
    RetryableError,
    Unavailable,
)
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.base import Capability, Deployment
from poppy.provider.fastly.api import API
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.certificates import Signed
from tests.integration.fastly.conftest import make_provider
from tests.real.fastly import LOST_ANSWER, LOST_REQUEST, NONE, TOKEN, Fastly, Request
from tests.real.fastly_tls import DEFAULT

A, B = "a.brought.example.com", "b.brought.example.com"
ROOT = Signed("root")


def site(*names: str) -> Signed:
    return Signed("site", issuer=ROOT, names=names)


def brought(*names: str, kind: str | None = "custom") -> Service:
    service = make_service()
    protocol = "http" if kind is None else "https"
    domains = tuple(Domain(name, protocol, kind) for name in names)
    return replace(service, spec=replace(service.spec, domains=domains))


def changed(service: Service, *names: str, kind: str | None = "custom") -> Service:
    return replace(service, spec=brought(*names, kind=kind).spec)


def keep(provider: FastlyProvider, service: Service, domain: str, found: Signed) -> None:
    provider.keep_certificate(service, domain, found.pem + ROOT.pem, found.key_pem)


def served(fastly: Fastly, domain: str) -> str | None:
    """Return the certificate with which a domain is served, in PEM."""
    found = fastly.uploads.active(domain)
    return None if found is None else Signed.text(found.chain[0])


def is_empty(fastly: Fastly) -> bool:
    own = fastly.uploads
    return not (own.keys or own.certificates or own.activations)


@pytest.mark.parametrize("unique", [True, False])
def test_a_certificate_is_deployed_replaced_and_deleted(
    fastly: Fastly, provider: FastlyProvider, caplog: pytest.LogCaptureFixture, unique: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    fastly.uploads.unique = unique
    service, first, second = brought(A), site(A), site(A, "other.example.com")

    waiting = provider.ensure(service, None)
    known = known_from(waiting)

    assert Capability.CUSTOM_CERTIFICATE in provider.supports
    assert waiting.certificates == {A: "create_in_progress"}
    assert waiting.certificate_messages == {A: "upload a certificate and its key for the domain"}
    assert not waiting.in_progress
    assert waiting.access_urls == {A: "j.sni.global.fastly.net"}
    assert provider.kept_certificate(service, A) is None

    for one in (first, second):
        keep(provider, service, A, one)
        assert provider.inspect(service, known).differences != ()
        done = provider.ensure(service, known)
        assert done.certificates == {A: "deployed"}
        assert not done.certificate_messages
        assert served(fastly, A) == one.pem
        found = provider.kept_certificate(service, A)
        assert found is not None
        assert (found.domain, found.fingerprint) == (A, one.fingerprint)
        assert found.names == tuple(sorted(one.names))
        assert found.expires_at == one.certificate.not_valid_after_utc
        before = fastly.changes
        keep(provider, service, A, one)
        assert provider.ensure(service, known) == done
        assert fastly.changes == before, "to repeat it costs no write"
        assert provider.inspect(service, known).differences == ()
        assert len(fastly.uploads.certificates) == len(fastly.uploads.keys) == 1
        assert one.key_pem[40:60] not in caplog.text

    provider.drop_certificate(service, A)
    assert provider.kept_certificate(service, A) is None
    assert provider.ensure(service, known).certificates == {A: "create_in_progress"}
    assert is_empty(fastly)

    keep(provider, service, A, first)
    provider.ensure(service, known)
    provider.remove(service, known)
    provider.remove(service, None)
    assert is_empty(fastly)


def test_certificates_with_one_key_belong_to_their_services(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    first = site(A)
    second = Signed("second", issuer=ROOT, names=[B], key=first.key)
    one, two = brought(A), brought(B)
    for service, domain, found in ((one, A, first), (two, B, second)):
        keep(provider, service, domain, found)
        provider.ensure(service, None)
    assert len(fastly.uploads.keys) == 1
    assert provider.kept_certificate(two, A) is None

    provider.remove(one, None)

    assert served(fastly, B) == second.pem
    assert len(fastly.uploads.certificates) == 1
    provider.remove(two, None)
    assert is_empty(fastly)


def test_one_certificate_for_several_domains(fastly: Fastly, provider: FastlyProvider) -> None:
    both, service = site(A, B), brought(A, B)
    keep(provider, service, A, both)
    known = known_from(provider.ensure(service, None))

    assert served(fastly, A) == served(fastly, B) == both.pem
    provider.ensure(changed(service, A), known)
    assert (served(fastly, A), served(fastly, B)) == (both.pem, None)
    assert provider.ensure(changed(service, A, kind=None), known).certificates == {}
    assert is_empty(fastly)


def test_an_older_certificate_is_brought_again(fastly: Fastly, provider: FastlyProvider) -> None:
    service, first, second = brought(A), site(A), site(A)
    keep(provider, service, A, first)
    known = known_from(provider.ensure(service, None))
    keep(provider, service, A, second)
    keep(provider, service, A, first)

    provider.ensure(service, known)

    assert served(fastly, A) == first.pem
    assert len(fastly.uploads.certificates) == 1


def test_an_order_and_a_brought_certificate_replace_each_other(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = brought(A, kind="sni")
    provider.ensure(service, None)
    fastly.tls.set_state(A, "issued")
    known = known_from(provider.ensure(service, None))
    custom, one = changed(service, A), site(A)

    assert provider.ensure(custom, known).certificates == {A: "create_in_progress"}
    assert fastly.tls.of(A), "the ordered certificate stays until the tenant has brought one"
    keep(provider, custom, A, one)
    assert provider.ensure(custom, known).certificates == {A: "deployed"}
    assert fastly.tls.of(A) == []

    assert provider.ensure(service, known).certificates == {A: "create_in_progress"}
    assert served(fastly, A) == one.pem
    fastly.tls.set_state(A, "issued")
    assert provider.ensure(service, known).certificates == {A: "deployed"}
    assert is_empty(fastly)


def test_foreign_keys_and_certificates_stay(fastly: Fastly, provider: FastlyProvider) -> None:
    foreign, service, own = site(A), brought(A), site(A)
    provider.ensure(service, None)
    uploads = fastly.uploads
    key = {"name": "by hand", "key": foreign.key_pem}
    uploads.add_key({"data": {"type": "tls_private_key", "attributes": key}})
    blob = {"name": "by hand", "cert_blob": foreign.pem}
    made = uploads.add_certificate({"data": {"type": "tls_certificate", "attributes": blob}})
    unused = {"name": "by hand too", "key": site(B).key_pem}
    uploads.add_key({"data": {"type": "tls_private_key", "attributes": unused}})
    values = {
        "tls_domain": A,
        "tls_certificate": made["data"]["id"],
        "tls_configuration": DEFAULT,
    }
    related = {name: {"data": {"type": name, "id": value}} for name, value in values.items()}
    uploads.activate({"data": {"type": "tls_activation", "relationships": related}})

    assert provider.ensure(service, None).certificates == {A: "create_in_progress"}
    assert served(fastly, A) == foreign.pem
    keep(provider, service, A, own)
    provider.ensure(service, None)
    assert served(fastly, A) == own.pem
    provider.remove(service, None)

    assert [it.name for it in uploads.certificates.values()] == ["by hand"]
    assert [it.name for it in uploads.keys.values()] == ["by hand", "by hand too"]


def test_certificates_that_fastly_cannot_use_are_refused(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = brought(A)
    wild, long = site("*.brought.example.com"), rsa.generate_private_key(65537, 3072)
    large = Signed("large", issuer=ROOT, names=[A], key=long)
    for one, reason in ((wild, f"list {A} itself"), (large, "not RSA 3072")):
        with pytest.raises(PermanentError, match=reason) as caught:
            keep(provider, service, A, one)
        assert one.key_pem[40:60] not in str(caught.value)
    assert fastly.changes == []


def test_refusals_of_fastly_are_shown(fastly: Fastly, provider: FastlyProvider) -> None:
    one = site(A, B)
    keep(provider, brought(A), A, one)
    with pytest.raises(PermanentError, match="and its key: .*already been taken"):
        keep(provider, brought(B), B, one)

    fastly.tls.configurations.clear()
    with pytest.raises(PermanentError, match="no default TLS configuration: set tls_config"):
        provider.ensure(brought(B), None)


def test_a_key_deleted_before_its_use_is_uploaded_again(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    def sweep(request: Request) -> str:
        if (request.method, request.path) == ("POST", "/tls/certificates"):
            fastly.fault = lambda _: NONE
            make_provider(fastly).remove(brought(B), None)
        return NONE

    fastly.fault = sweep
    service, one = brought(A), site(A)
    keep(provider, service, A, one)

    assert len(fastly.uploads.certificates) == len(fastly.uploads.keys) == 1


def test_two_workers_activate_once(fastly: Fastly, provider: FastlyProvider) -> None:
    service, one = brought(A), site(A)
    keep(provider, service, A, one)

    def overtake(request: Request) -> str:
        if (request.method, request.path) == ("POST", "/tls/activations"):
            fastly.fault = lambda _: NONE
            make_provider(fastly).ensure(service, None)
        return NONE

    fastly.fault = overtake
    assert provider.ensure(service, None).certificates == {A: "deployed"}
    assert len(fastly.uploads.activations) == 1


def test_a_certificate_activated_during_its_deletion_is_deleted_later(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service, one = brought(A), site(A)
    keep(provider, service, A, one)
    known = known_from(provider.ensure(service, None))

    def activate(request: Request) -> str:
        if request.method == "DELETE" and request.path.startswith("/tls/certificates/"):
            fastly.fault = lambda _: NONE
            make_provider(fastly).ensure(service, known)
        return NONE

    fastly.fault = activate
    with pytest.raises(RetryableError, match="enabled for a domain"):
        provider.drop_certificate(service, A)
    provider.drop_certificate(service, A)
    assert is_empty(fastly)


def test_names_by_hand_are_no_certificates_of_a_service(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = brought(A)
    keep(provider, service, A, site(A))
    (made,) = fastly.uploads.certificates.values()
    for name in ("", f"poppy {service.service_id} soon x", made.name.upper()):
        made.name = name
        assert provider.kept_certificate(service, A) is None


def test_more_certificates_than_a_page(fastly: Fastly, provider: FastlyProvider) -> None:
    service, one = brought(A), site(A)
    keep(provider, service, A, one)
    (made,) = fastly.uploads.certificates.values()
    others = {f"X{it}": replace(made, certificate_id=f"X{it}", name="x") for it in range(150)}
    fastly.uploads.certificates = {**others, made.certificate_id: made}

    assert provider.kept_certificate(service, A) is not None


def test_the_double_refuses_uploads_as_fastly_does(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    api = API("fastly", fastly.url, TOKEN, 5)
    one, late = site(A), Signed("late", issuer=ROOT, names=[A], end=datetime.timedelta(minutes=-1))
    large = Signed("large", key=rsa.generate_private_key(65537, 3072))

    def refused(reason: str, call: Callable[..., None], *arguments: str) -> None:
        with pytest.raises(PermanentError, match=reason):
            call(*arguments)

    refused("no uploaded key matches", api.upload_certificate, "x", one.pem)
    refused("Key must be in PEM", api.upload_key, "x", one.encrypted_key("secret"))
    refused("Key type or length", api.upload_key, "x", large.key_pem)
    for it in (one, late):
        api.upload_key("x", it.key_pem)
    refused("already been taken", api.upload_key, "x", one.key_pem)
    refused("not valid now", api.upload_certificate, "x", late.pem)
    refused("not in order", api.upload_certificate, "x", one.pem + late.pem)
    refused("must be in PEM", api.upload_certificate, "x", "nothing")
    api.upload_certificate("x", one.pem)
    refused("already been taken", api.upload_certificate, "x", one.pem)
    (made,) = api.certificates(A)
    certificate = made["id"]
    (key,) = [it for it in fastly.uploads.list_keys({})["data"] if it not in api.unused_keys()]
    refused("matched to a certificate", api.delete_key, key["id"])
    assert "key" not in key["attributes"]

    refused("not on a service of yours", api.activate_certificate, A, certificate, DEFAULT)
    provider.ensure(brought(A, B), None)
    refused(f"does not list {B}", api.activate_certificate, B, certificate, DEFAULT)
    refused("no such tls_configuration", api.activate_certificate, A, certificate, "other")
    refused("no such tls_certificate", api.activate_certificate, A, "other", DEFAULT)
    api.activate_certificate(A, certificate, DEFAULT)
    refused("already activated", api.activate_certificate, A, certificate, DEFAULT)
    refused("enabled for a domain", api.delete_certificate, certificate)


@pytest.mark.parametrize("fault", [LOST_REQUEST, LOST_ANSWER])
def test_a_renewal_continues_after_each_call(fastly: Fastly, fault: str) -> None:
    provider, service, first, second = make_provider(fastly), brought(A), site(A), site(A)
    known = known_from(provider.ensure(service, None))
    steps: dict[str, Callable[[], Deployment | None]] = {
        "keep": lambda: keep(provider, service, A, second),
        "ensure": lambda: provider.ensure(service, known),
        "remove": lambda: provider.drop_certificate(service, A),
    }
    stopped = 0
    for name in steps:
        for number in range(1, 60):
            keep(provider, service, A, first)
            provider.ensure(service, known)
            calls = _calls(fastly, number, fault, gapless=name != "remove")
            is_stopped = False
            for step, act in steps.items():
                if step == name:
                    fastly.fault = lambda _, calls=calls: next(calls)
                try:
                    act()
                except (DriverError, Unavailable):
                    fastly.fault = lambda _: NONE
                    is_stopped = True
                    act()
                fastly.fault = lambda _: NONE
                if step == "ensure":
                    assert served(fastly, A) == second.pem
                    assert len(fastly.uploads.certificates) == 1
            provider.remove(service, known)
            assert is_empty(fastly)
            known = known_from(provider.ensure(service, None))
            if not is_stopped:
                break
            stopped += 1
    assert stopped > 15


def _calls(fastly: Fastly, number: int, fault: str, *, gapless: bool) -> Iterator[str]:
    """Yield the fate of each request: from the n-th on, none is answered."""
    for call in range(1, 1000):
        assert not gapless or served(fastly, A), "the domain is served all the time"
        if call < number:
            yield NONE
        else:
            yield fault if call == number else LOST_REQUEST
