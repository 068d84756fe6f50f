# SPDX-License-Identifier: Apache-2.0
"""What Akamai keeps under the driver's rules, and for how long."""

from collections.abc import Mapping
from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model.document.caching import CacheKey
from poppy.model.specs import Caching, Rule
from poppy.provider.akamai import rules
from tests.real import akamai_rules
from tests.real.akamai_caching import kept
from tests.real.akamai_interpreter import Client, outcome
from tests.unit.provider.akamai.test_rules import SETTINGS, served, spec

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


def options(path: str, *entries: Caching) -> dict[str, Any]:
    return served(spec(caching=entries), Client(path, query="id=1&utm_x=2", response={}))


def entry(path: str, ttl: int = 60, **more: Any) -> Caching:
    return Caching(path, ttl, (Rule(path, path),), **more)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (None, "CACHE_CONTROL"),
        ("override", "CACHE_CONTROL"),
        ("respect_origin", "CACHE_CONTROL_AND_EXPIRES"),
        ("bypass", "NO_STORE"),
    ],
)
def test_modes(mode: Any, kind: str) -> None:
    found = options("/a", entry("/*", mode=mode))["caching"]
    assert found["behavior"] == kind
    assert found.get("defaultTtl") == (None if mode == "bypass" else "1m")
    assert found.get("honorMaxAge") == (None if mode == "bypass" else mode == "respect_origin")


def test_the_time_in_which_a_response_is_stale_is_part_of_the_ttl() -> None:
    found = options("/a", entry("/*", 60, stale_while_revalidate=30))
    assert found["caching"]["defaultTtl"] == "90s"
    assert found["prefreshCache"] == {"enabled": True, "prefreshval": 66}
    assert "prefreshCache" not in options("/a", entry("/*", 0, stale_while_revalidate=30))
    with pytest.raises(PermanentError, match=r"caching\[0\].stale_while_revalidate"):
        options("/a", entry("/*", mode="respect_origin", stale_while_revalidate=30))


def test_options_of_a_path_do_not_reach_more_specific_paths() -> None:
    whole = entry("/*", browser_ttl=5, stale_while_revalidate=5, key=CacheKey("none"))
    names = {"downstreamCache", "prefreshCache", "rewriteUrl"}
    assert names <= set(options("/a", whole, entry("/api/*")))
    assert not names & set(options("/api/a", whole, entry("/api/*")))


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("none", ""),
        ({"only": ["id"]}, "?id=1"),
        ({"only": ["i"]}, ""),
        ({"only": ["i*"]}, "?id=1"),
        ({"except": ["id"]}, "?utm_x=2"),
    ],
)
def test_the_origin_gets_the_parameters_that_count(query: Any, left: str) -> None:
    tree = rules.tree(spec(caching=(entry("/*", key=CacheKey(query)),)), 17, SETTINGS)
    client = Client("/a", query="id=1&utm_x=2")
    assert akamai_rules.errors(tree, [17]) == []
    rewritten = outcome(tree, client)["rewriteUrl"]["targetUrl"]
    assert client.variables.filled(rewritten) == f"/a{left}"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("prefreshCache", {"enabled": True, "prefreshval": 100}),
        ("downstreamCache", {"behavior": "TUNNEL_ORIGIN", "ttl": "5s"}),
        ("gzipResponse", {"behavior": "SOMETIMES"}),
        ("rewriteUrl", {"behavior": "REWRITE", "targetUrl": "a b", "keepQueryString": False}),
        ("cacheId", {"rule": "INCLUDE_VARIABLE"}),
        ("redirectplus", {"enabled": True, "destination": "//x", "responseCode": 308}),
        (
            "constructResponse",
            {
                "enabled": True,
                "body": "x" * 2001,
                "responseCode": 200,
                "forceEviction": False,
                "ignorePurge": True,
            },
        ),
    ],
)
def test_values_that_no_option_has_are_refused(name: str, values: dict[str, Any]) -> None:
    """Show that the double refuses what Property Manager refuses."""
    assert errors_of({"name": name, "options": values})
