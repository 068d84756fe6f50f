# SPDX-License-Identifier: Apache-2.0
"""What Akamai keeps under the driver's rules, and for how long."""

from collections.abc import Mapping
from typing import Any

import pytest

from poppy.model.specs import Caching, Rule
from tests.real import akamai_rules
from tests.real.akamai_caching import kept
from tests.real.akamai_interpreter import Client
from tests.unit.provider.akamai.test_rules import served, spec

DATE = "Mon, 30 Nov 2026 08:00:00 GMT"
LATER = "Mon, 30 Nov 2026 08:05:00 GMT"
#: TTLs of a caching rule; None: the path has no rule.
TTLS = (None, 0, 60, 3600)


def lifetime(
    ttl: int | None, response: Mapping[str, str], *, authorization: str | None = None
) -> float:
    """Return the seconds for which a response is kept under a caching rule with this TTL."""
    caching = () if ttl is None else (Caching("rule", ttl, (Rule("rule", "/a/*"),)),)
    client = Client("/a/b", authorization=authorization, response=response)
    return kept(served(spec(caching=caching), client), response)


@pytest.mark.parametrize("ttl", TTLS)
def test_a_compressed_response_that_varies_by_more_is_never_kept(ttl: int | None) -> None:
    response = {"Vary": "Accept-Encoding, User-Agent", "Content-Encoding": "gzip"}
    assert lifetime(ttl, response) == 0


@pytest.mark.parametrize("ttl", [0, 60, 3600])
@pytest.mark.parametrize(
    "response",
    [
        {},
        {"Cache-Control": "max-age=10"},
        {"Cache-Control": "max-age=86400"},
        {"Cache-Control": "public, max-age=10, s-maxage=86400"},
        {"Cache-Control": "max-age=600, must-revalidate"},
        {"Expires": LATER, "Date": DATE},
        {"Vary": "Accept-Encoding", "Content-Encoding": "gzip"},
    ],
)
def test_the_ttl_of_a_rule_replaces_the_origins(ttl: int, response: Mapping[str, str]) -> None:
    assert lifetime(ttl, response) == ttl


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        ({}, 120),
        ({"Cache-Control": "max-age=10"}, 10),
        ({"Cache-Control": "max-age=86400"}, 86400),
        ({"Cache-Control": "max-age=10, s-maxage=30"}, 30),
        ({"Expires": LATER, "Date": DATE}, 300),
    ],
)
def test_a_path_without_a_rule_has_the_ttl_of_the_origin(
    response: Mapping[str, str], seconds: int
) -> None:
    assert lifetime(None, response) == seconds


@pytest.mark.parametrize(
    "caching",
    [
        {"behavior": "MAX_AGE", "ttl": "1h"},
        {"behavior": "CACHE_CONTROL", "defaultTtl": "1h"},
        {"behavior": "CACHE_CONTROL", "defaultTtl": "1h", "enhancedRfcSupport": True},
    ],
)
def test_akamai_keeps_private_responses_unless_told_otherwise(caching: dict[str, Any]) -> None:
    assert kept({"caching": caching}, {"Cache-Control": "private"}) == 3600


def test_removal_of_vary_would_share_responses() -> None:
    behaviors = {"caching": {"behavior": "MAX_AGE", "ttl": "1h"}}
    assert kept(behaviors, {"Vary": "Cookie"}) == 3600
    assert kept({**behaviors, "removeVary": {"enabled": False}}, {"Vary": "Cookie"}) == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("caching", {"behavior": "FOREVER"}),
        ("caching", {"behavior": "MAX_AGE"}),
        ("caching", {"behavior": "MAX_AGE", "ttl": "1 hour"}),
        ("caching", {"behavior": "MAX_AGE", "ttl": "1h", "honorPrivate": True}),
        ("caching", {"behavior": "NO_STORE", "ttl": "1h"}),
        ("caching", {"behavior": "CACHE_CONTROL", "ttl": "1h", "defaultTtl": "1h"}),
        ("caching", {"behavior": "CACHE_CONTROL", "defaultTtl": "1h", "honorMaxAge": False}),
        ("caching", {"behavior": "CACHE_CONTROL", "defaultTtl": "1h", "honorPrivate": "true"}),
        ("http2", {}),
        ("http3", {"enable": True}),
        ("largeFileOptimization", {"enabled": True}),
        (
            "largeFileOptimization",
            {
                "enablePartialObjectCaching": "NON_PARTIAL_OBJECT_CACHING",
                "minimumSize": "100MB",
                "maximumSize": "2GB",
            },
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(name: str, options: dict[str, Any]) -> None:
    """Show that the double refuses what Property Manager refuses."""
    assert any(name in wrong for wrong in errors_of({"name": name, "options": options}))


def test_only_caching_can_depend_on_the_response() -> None:
    criteria = [
        {"name": "responseHeader", "options": {"headerName": "A", "matchOperator": "EXISTS"}}
    ]
    caching = {"name": "caching", "options": {"behavior": "NO_STORE"}}
    assert errors_of(caching, criteria) == []
    denial = {"name": "denyAccess", "options": {"enabled": True}}
    assert errors_of(denial, criteria)
    criteria[0]["options"]["values"] = ["b"]
    assert errors_of(caching, criteria)


def errors_of(behavior: dict[str, Any], criteria: list[dict[str, Any]] | None = None) -> list[str]:
    """Return the errors of a rule tree whose second rule has this behaviour."""
    first = [{"name": "origin", "options": {}}, {"name": "cpCode", "options": {}}]
    child = {"behaviors": [behavior], "criteria": criteria or []}
    tree = {"behaviors": first, "options": {"is_secure": False}, "children": [child]}
    return akamai_rules.errors(tree, {})
