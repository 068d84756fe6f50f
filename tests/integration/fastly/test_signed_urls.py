# SPDX-License-Identifier: Apache-2.0
"""Secrets of signed URLs are items of private dictionaries."""

import base64
from dataclasses import replace

import pytest

from poppy.common import vault
from poppy.common.errors import DriverError
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.secrets import Secret, purpose
from poppy.model.services import Service
from poppy.provider.fastly.driver import FastlyProvider
from tests.real.fastly import LOST_REQUEST, NONE, Fastly
from tests.unit.provider.fastly.services import whole_service

_KEYS = [base64.b64encode(b"k" * 32).decode()]


@pytest.fixture(autouse=True)
def _keys(provider: FastlyProvider) -> None:
    provider.conf.set_override("encryption_keys", _KEYS, group=vault.GROUP)


def signed(service: Service, **secrets: str) -> Service:
    sealer, what = vault.Vault(_KEYS, vault.GROUP), purpose(service.service_id)
    keys = tuple(
        SigningKey(
            key,
            Secret(sealer.fingerprint(it.encode(), what), sealer.seal(it.encode(), what)),
        )
        for key, it in secrets.items()
    )
    return replace(service, spec=replace(service.spec, signed_urls=SignedURLs(keys)))


def test_secrets_are_in_a_private_dictionary_only(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = signed(whole_service(), old="o" * 32, new="n" * 32)
    provider.ensure(service, None)

    (_, objects) = fastly.account.activated[-1]
    (entry,) = objects["dictionary"].values()
    assert entry["write_only"] == "1"
    assert fastly.account.dictionaries.items == {entry["id"]: {"old": "o" * 32, "new": "n" * 32}}
    assert "o" * 32 not in repr(fastly.account.services)
    number = len(fastly.changes)
    provider.ensure(service, None)
    assert len(fastly.changes) == number


def test_a_replaced_key_does_not_change_the_dictionary_that_is_served(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = whole_service()
    provider.ensure(signed(service, old="o" * 32), None)
    provider.ensure(signed(service, new="n" * 32), None)

    (_, first), (_, second) = fastly.account.activated
    (before,), (after,) = first["dictionary"].values(), second["dictionary"].values()
    assert fastly.account.dictionaries.items == {
        before["id"]: {"old": "o" * 32},
        after["id"]: {"new": "n" * 32},
    }

    provider.ensure(service, None)
    assert fastly.account.activated[-1][1]["dictionary"] == {}


def test_a_version_is_activated_only_with_its_items(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = signed(whole_service(), old="o" * 32)
    fastly.fault = lambda it: LOST_REQUEST if it.path.endswith("/items") else NONE
    with pytest.raises(DriverError):
        provider.ensure(service, None)
    assert fastly.account.activated == []

    fastly.fault = lambda _: NONE
    provider.ensure(service, None)
    (items,) = fastly.account.dictionaries.items.values()
    assert items == {"old": "o" * 32}
    assert len(fastly.account.activated) == 1


def test_dictionaries_made_by_hand_stay(fastly: Fastly, provider: FastlyProvider) -> None:
    service = whole_service()
    provider.ensure(service, None)
    (found,) = fastly.account.living()
    assert found.active is not None
    found.active.objects["dictionary"]["mine"] = {"name": "mine", "id": "DI9"}

    provider.ensure(signed(service, old="o" * 32), None)
    assert "mine" in fastly.account.activated[-1][1]["dictionary"]
