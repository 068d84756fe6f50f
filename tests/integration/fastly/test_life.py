# SPDX-License-Identifier: Apache-2.0
"""The life cycle of a service at Fastly, without refusals."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model.operations import Purge
from poppy.model.specs import Domain
from poppy.provider.fastly.configuration import Settings
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.provider import known_from
from tests.integration.fastly.conftest import make_provider
from tests.real.fastly import TOKEN, Fastly, Seen
from tests.unit.provider.fastly.services import (
    HTTP,
    HTTPS,
    assert_serves,
    whole_service,
    with_https,
    with_ttl,
)


def refused(fastly: Fastly) -> list[Seen]:
    """Return the requests that Fastly refused; "not found" does not count."""
    return [entry for entry in fastly.refused if (entry.method, entry.status) != ("GET", 404)]


def test_create_patch_purge_delete(
    fastly: Fastly, provider: FastlyProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service = with_https(whole_service())

    first = provider.ensure(service, None)
    assert (first.in_progress, first.certificates) == (True, {HTTPS: "create_in_progress"})
    fastly.tls.set_state(HTTPS, "issued")
    deployed = provider.ensure(service, known_from(first))
    assert not deployed.in_progress
    assert deployed.certificates == {HTTPS: "deployed"}
    assert deployed.access_urls == {
        HTTP: "dualstack.nonssl.global.fastly.net",
        HTTPS: "j.sni.global.fastly.net",
    }
    assert_serves(fastly, service)

    spec = replace(
        with_ttl(service, 60).spec,
        domains=(Domain(HTTP), Domain("new.a.example.com")),
        origins=service.spec.origins[:1],
        restrictions=service.spec.restrictions[1:],
    )
    patched = replace(service, spec=spec)
    updated = provider.ensure(patched, known_from(deployed))
    assert updated.provider_service_id == deployed.provider_service_id
    assert_serves(fastly, patched)
    assert fastly.tls.of(HTTPS) == []

    for url in (None, "/page", "/page?q=1", "/images/*"):
        for hard in (True, False):
            provider.purge(patched, known_from(updated), Purge(url, hard))
    assert len(fastly.account.purges) == 8

    provider.remove(patched, known_from(updated))
    assert fastly.account.living() == []
    assert refused(fastly) == []
    assert TOKEN not in caplog.text


def test_ensure_again_writes_nothing(fastly: Fastly, provider: FastlyProvider) -> None:
    service = with_https(whole_service())
    provider.ensure(service, None)
    before = fastly.changes

    provider.ensure(service, None)

    assert fastly.changes == before


def test_a_small_change_is_few_writes(fastly: Fastly, provider: FastlyProvider) -> None:
    service = whole_service()
    provider.ensure(service, None)
    before = len(fastly.changes)

    provider.ensure(with_ttl(service, 7200), None)

    assert [(entry.method, entry.path.split("/")[-1]) for entry in fastly.changes[before:]] == [
        ("PUT", "clone"),
        ("PUT", "2"),
        ("PUT", "poppy%20answer"),
        ("PUT", "activate"),
    ]


def test_a_changed_order_of_entries_is_detected(fastly: Fastly, provider: FastlyProvider) -> None:
    service = whole_service()
    provider.ensure(service, None)
    caching = tuple(reversed(service.spec.caching))
    turned = replace(service, spec=replace(service.spec, caching=caching))

    provider.ensure(turned, None)

    assert_serves(fastly, turned)


@pytest.mark.parametrize(
    ("url", "hard", "expected"),
    [
        (None, True, ("*", False)),
        ("/*", True, ("*", False)),
        (None, False, ("poppy", True)),
        ("/*", False, ("poppy", True)),
    ],
)
def test_a_purge_of_everything_uses_the_right_call(
    fastly: Fastly,
    provider: FastlyProvider,
    url: str | None,
    hard: bool,
    expected: tuple[str, bool],
) -> None:
    service = whole_service()
    deployment = provider.ensure(service, None)

    provider.purge(service, None, Purge(url, hard))

    assert fastly.account.purges == [(deployment.provider_service_id, *expected)]


def test_many_keys_are_one_request(fastly: Fastly, provider: FastlyProvider) -> None:
    service = whole_service()
    known = known_from(provider.ensure(service, None))
    before = len(fastly.seen)
    tags = tuple(f"tag-{number}" for number in range(100))

    provider.purge(service, known, Purge(None, False, tags=tags))

    purges = [call for call in fastly.seen[before:] if call.method == "POST"]
    assert len(purges) == 1
    assert [(key, soft) for _service, key, soft in fastly.account.purges] == [
        (tag, True) for tag in tags
    ]
    with pytest.raises(PermanentError, match="1 to 256"):
        provider._api.purge_keys(known.provider_service_id or "", ["a"] * 257, soft=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Settings(grace=300, stale_if_error=300)),
        ({"grace": 7}, Settings(grace=7, stale_if_error=7)),
        ({"grace": 7, "stale_if_error": 43200}, Settings(grace=7, stale_if_error=43200)),
        ({"stale_if_error": 0}, Settings(stale_if_error=0)),
        ({"segmented_caching": False}, Settings(segmented_caching=False)),
    ],
)
def test_options_reach_the_service(
    fastly: Fastly, options: dict[str, Any], expected: Settings
) -> None:
    service = whole_service()

    make_provider(fastly, **options).ensure(service, None)

    assert_serves(fastly, service, expected)
    snippets = fastly.account.activated[-1][1]["snippet"]
    answer, request = (snippets[f"poppy {name}"]["content"] for name in ("answer", "request"))
    assert f"stale_if_error = {expected.stale_if_error}s" in answer
    assert ("req.enable_segmented_caching" in request) == expected.segmented_caching
