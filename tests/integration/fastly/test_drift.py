# SPDX-License-Identifier: Apache-2.0
"""The next ``ensure`` reverts what was changed at Fastly by hand."""

import pytest

from poppy.model.services import Service
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.provider import known_from
from tests.real.fastly import Fastly
from tests.real.fastly_account import Version
from tests.unit.provider.fastly.services import (
    HTTPS,
    assert_serves,
    whole_service,
    with_https,
)

KINDS = ["domain", "condition", "backend", "response_object", "snippet"]
EXTRA = {
    "domain": {"name": "other.example.com"},
    "condition": {"name": "by hand", "type": "CACHE", "statement": "beresp.status == 200"},
    "backend": {"name": "by hand", "address": "192.0.2.1"},
    "cache_settings": {"name": "by hand", "action": "pass"},
    "response_object": {"name": "by hand", "status": "200"},
    "snippet": {"name": "by hand", "type": "recv", "dynamic": "0", "content": ""},
}


def other(value: str) -> str:
    """Return another value of the same type."""
    if value in ("0", "1"):
        return "1" if value == "0" else "0"
    return str(int(value) + 1) if value.isdigit() else f"{value}x"


def active(fastly: Fastly) -> Version:
    (service,) = fastly.account.living()
    assert service.active is not None
    return service.active


@pytest.fixture
def service(provider: FastlyProvider) -> Service:
    made = whole_service()
    provider.ensure(made, None)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_changed_fields(
    fastly: Fastly, provider: FastlyProvider, service: Service, kind: str
) -> None:
    changed = 0
    for name, fields in list(active(fastly).objects[kind].items()):
        for field, value in fields.items():
            if field == "name":
                continue
            active(fastly).objects[kind][name][field] = other(value)
            provider.ensure(service, None)
            assert_serves(fastly, service)
            changed += 1
    assert changed


@pytest.mark.parametrize("kind", KINDS)
def test_missing_objects(
    fastly: Fastly, provider: FastlyProvider, service: Service, kind: str
) -> None:
    for name in list(active(fastly).objects[kind]):
        del active(fastly).objects[kind][name]
        provider.ensure(service, None)
        assert_serves(fastly, service)


@pytest.mark.parametrize("kind", list(EXTRA))
def test_additional_objects(
    fastly: Fastly, provider: FastlyProvider, service: Service, kind: str
) -> None:
    active(fastly).objects[kind][EXTRA[kind]["name"]] = dict(EXTRA[kind])

    provider.ensure(service, None)

    assert_serves(fastly, service)


def test_a_deleted_service(fastly: Fastly, provider: FastlyProvider) -> None:
    service = with_https(whole_service())
    known = known_from(provider.ensure(service, None))
    (first,) = fastly.account.living()
    first.deleted = True

    again = provider.ensure(service, known)

    assert again.provider_service_id != first.service_id
    assert_serves(fastly, service)


def test_a_deleted_certificate_order(fastly: Fastly, provider: FastlyProvider) -> None:
    service = with_https(whole_service())
    known = known_from(provider.ensure(service, None))
    fastly.tls.subscriptions.clear()

    provider.ensure(service, known)

    assert_serves(fastly, service)
    assert len(fastly.tls.of(HTTPS)) == 1
