# SPDX-License-Identifier: Apache-2.0
"""``delivery`` as rules of Property Manager."""

from typing import Any

import pytest

from poppy.model.document.delivery import HSTS, Delivery
from poppy.provider.akamai import rules
from tests.real.akamai_interpreter import Client
from tests.real.akamai_rules import errors
from tests.unit.provider.akamai.test_rules import SETTINGS, served, spec


def applied(delivery: Delivery, **about: Any) -> dict[str, Any]:
    document = spec(delivery=delivery)
    assert errors(rules.tree(document, 17, SETTINGS), [17]) == []
    return served(document, Client("/", **about))


@pytest.mark.parametrize(
    ("hsts", "value"),
    [
        (HSTS(0), "max-age=0"),
        (HSTS(60, preload=True), "max-age=60; preload"),
        (HSTS(60, True, True), "max-age=60; includeSubDomains; preload"),
    ],
)
def test_hsts_is_sent_over_https(hsts: HSTS, value: str) -> None:
    for scheme, sent in (("https", [value]), ("http", [])):
        found = applied(Delivery(hsts=hsts), scheme=scheme)["modifyOutgoingResponseHeader"]
        assert [it["newHeaderValue"] for it in found if it["action"] == "MODIFY"] == sent


@pytest.mark.parametrize(
    ("compression", "kind", "behavior"),
    [
        ("gzip", "text/html; charset=utf-8", "ALWAYS"),
        ("gzip", "Application/JSON", "ALWAYS"),
        ("gzip", "image/png", None),
        ("off", "text/html", "NEVER"),
        (None, "text/html", None),
    ],
)
def test_compression_is_for_text(compression: Any, kind: str, behavior: str | None) -> None:
    found = applied(Delivery(compression=compression), response={"Content-Type": kind})
    assert found.get("gzipResponse", {}).get("behavior") == behavior


@pytest.mark.parametrize("allowed", [None, True, False])
def test_websockets_are_allowed_or_refused(allowed: bool | None) -> None:
    found = applied(Delivery(websockets=allowed))
    assert found.get("webSockets", {}).get("enabled") == allowed
    removed = [it["customHeaderName"] for it in found["modifyIncomingRequestHeader"]]
    assert ("Upgrade" in removed) == (allowed is False)
