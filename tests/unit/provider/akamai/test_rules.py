# SPDX-License-Identifier: Apache-2.0
"""Service documents as rule trees."""

from dataclasses import replace
from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model import headers
from poppy.model.document.delivery import Delivery
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
    ServiceSpec,
)
from poppy.provider.akamai import rules
from poppy.provider.akamai.parts import duration
from poppy.provider.akamai.rules import Settings, difference
from poppy.testing.builders import make_spec
from tests.real.akamai_interpreter import Client, outcome
from tests.real.akamai_rules import errors

SETTINGS = Settings()


def spec(**fields: Any) -> ServiceSpec:
    origins = (Origin("one.example", rules=(Rule("all", "/*"),)),)
    return replace(make_spec(), **{"origins": origins, "caching": (), **fields})


def served(document: ServiceSpec, client: Client, settings: Settings = SETTINGS) -> dict[str, Any]:
    rules.check(document, settings)
    return outcome(rules.tree(document, 17, settings), client)


def denied(document: ServiceSpec, client: Client) -> bool:
    found = served(document, client).get("denyAccess", {"enabled": False})
    return bool(found["enabled"])


def test_the_most_specific_rule_selects_the_origin() -> None:
    document = spec(
        origins=(
            Origin("one.example", rules=(Rule("all", "/*"), Rule("deep", "/images/raw/*"))),
            Origin("two.example", rules=(Rule("images", "/images/*"),)),
        )
    )
    hosts = {
        path: served(document, Client(path))["origin"]["hostname"]
        for path in ("/", "/images/a", "/images/raw/a")
    }
    assert hosts == {
        "/": "one.example",
        "/images/a": "two.example",
        "/images/raw/a": "one.example",
    }


@pytest.mark.parametrize(
    ("kind", "value", "header"),
    [
        ("domain", None, "REQUEST_HOST_HEADER"),
        ("origin", None, "ORIGIN_HOSTNAME"),
        ("custom", "www.two.example", "CUSTOM"),
    ],
)
def test_the_host_header(kind: str, value: str | None, header: str) -> None:
    origin = Origin("one.example", hostheadertype=kind, hostheadervalue=value)
    found = served(spec(origins=(origin,)), Client("/"))["origin"]
    assert found["forwardHostHeader"] == header
    assert found.get("customForwardHostHeader") == value


def test_only_origins_with_ssl_use_tls() -> None:
    document = spec(
        origins=(
            Origin("tls.example", port=443, ssl=True, rules=(Rule("all", "/*"),)),
            Origin("plain.example", port=443, rules=(Rule("images", "/images/*"),)),
        )
    )
    assert "httpToHttpsUpgrade" in served(document, Client("/a"))
    plain = served(document, Client("/images/a"))
    assert "httpToHttpsUpgrade" not in plain
    assert plain["origin"]["httpPort"] == 443


def test_an_origin_without_tls_behind_https_needs_allow_https_downgrade() -> None:
    document = spec(domains=(Domain("www.a.example", "https", "sni"),))
    with pytest.raises(PermanentError, match="one.example needs ssl"):
        rules.check(document, SETTINGS)
    found = served(document, Client("/"), SETTINGS._replace(downgrade=True))
    assert found["allowHTTPSDowngrade"] == {"enabled": True}
    assert rules.tree(document, 17, SETTINGS)["options"] == {"is_secure": True}


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (Origin("2001:db8::1"), "2001:db8::1: Akamai supports names and IPv4"),
        (Origin("one.example", ssl=True), "TLS on port 443 only"),
    ],
)
def test_unsupported_origins(origin: Origin, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        rules.check(spec(origins=(origin,)), SETTINGS)


def test_the_most_specific_rule_sets_the_ttl() -> None:
    document = spec(
        caching=(
            Caching("live", 0, (Rule("live", "/images/live/*"),)),
            Caching("images", 5400, (Rule("images", "/images/*"),)),
        )
    )
    assert served(document, Client("/images/a"))["caching"]["defaultTtl"] == "90m"
    assert served(document, Client("/images/live/a"))["caching"] == {"behavior": "NO_STORE"}
    other = served(document, Client("/a"))["caching"]
    assert other["behavior"] == "CACHE_CONTROL_AND_EXPIRES"


@pytest.mark.parametrize(
    ("seconds", "written"), [(1, "1s"), (90, "90s"), (120, "2m"), (7200, "2h"), (31536000, "365d")]
)
def test_times_have_the_largest_unit(seconds: int, written: str) -> None:
    assert duration(seconds) == written


def test_traffic_is_counted_by_the_cp_code() -> None:
    tree = rules.tree(spec(), 17, SETTINGS)
    assert served(spec(), Client("/"))["cpCode"] == {"value": {"id": 17}}
    assert rules.cp_code(tree) == (17, "")
    assert rules.cp_code({"behaviors": [{"name": "cpCode", "options": {}}]}) is None


def test_methods_are_configurable() -> None:
    found = served(spec(), Client("/"), SETTINGS._replace(methods=("PUT",)))
    assert "allowPut" in found and "allowPost" not in found


def restriction(access: str, *entries: Rule) -> Restriction:
    return Restriction("r", access, entries)


def test_a_whitelist_denies_other_clients_on_its_paths() -> None:
    document = spec(
        restrictions=(restriction("whitelist", Rule("r", "/a/*", client_ip="192.0.2.0/24")),)
    )
    assert denied(document, Client("/a/x"))
    assert not denied(document, Client("/a/x", ip="192.0.2.9"))
    assert not denied(document, Client("/b"))


def test_whitelists_of_one_kind_add_up() -> None:
    document = spec(
        restrictions=(
            restriction("whitelist", Rule("r", "/*", geography="Germany")),
            restriction("whitelist", Rule("r", "/a/*", geography="France")),
        )
    )
    found = {
        (path, country): denied(document, Client(path, country=country))
        for path in ("/x", "/a/x")
        for country in ("DE", "FR", "US")
    }
    assert found == {
        ("/x", "DE"): False,
        ("/x", "FR"): True,
        ("/x", "US"): True,
        ("/a/x", "DE"): False,
        ("/a/x", "FR"): False,
        ("/a/x", "US"): True,
    }


def test_kinds_are_independent() -> None:
    document = spec(
        restrictions=(
            restriction("whitelist", Rule("r", "/*", geography="Germany")),
            restriction("whitelist", Rule("r", "/*", client_ip="192.0.2.1")),
            restriction("blacklist", Rule("r", "/*", referrer="spam.example")),
        )
    )
    assert not denied(document, Client("/", ip="192.0.2.1"))
    assert denied(document, Client("/", ip="192.0.2.1", country="FR"))
    assert denied(document, Client("/"))
    spam = Client("/", ip="192.0.2.1", referrer="https://a.spam.example/x")
    assert denied(document, spam)


def test_a_blacklist_denies_its_clients() -> None:
    document = spec(
        restrictions=(restriction("blacklist", Rule("r", "/a/*", geography="Europe")),)
    )
    assert denied(document, Client("/a/x"))
    assert not denied(document, Client("/a/x", country="US"))
    assert not denied(document, Client("/x"))


@pytest.mark.parametrize(
    ("referrer", "allowed"),
    [
        ("https://www.good.example/page", True),
        ("http://www.good.example", True),
        (None, False),
        ("https://evil.example/?www.good.example/", False),
        # A subdomain: a pattern that allows it would also allow the next one.
        ("https://a.www.good.example/", False),
        ("https://evil.example/a.www.good.example/", False),
    ],
)
def test_a_whitelist_of_referrers_allows_exactly_the_host(
    referrer: str | None, allowed: bool
) -> None:
    document = spec(
        restrictions=(restriction("whitelist", Rule("r", "/*", referrer="www.Good.example")),)
    )
    assert denied(document, Client("/", referrer=referrer)) is not allowed


def test_restrictions_apply_only_between_client_and_edge() -> None:
    document = spec(
        restrictions=(restriction("whitelist", Rule("r", "/*", client_ip="192.0.2.1")),)
    )
    assert not denied(document, Client("/", kind="ICP"))


def test_overlapping_whitelists_are_refused() -> None:
    document = spec(
        restrictions=(
            restriction("whitelist", Rule("r", "/a/*", geography="Germany")),
            restriction("whitelist", Rule("r", "/*.jpg", geography="France")),
        )
    )
    with pytest.raises(PermanentError, match=r"whitelists by geography for /a/.* and /.*jpg"):
        rules.check(document, SETTINGS)


def test_an_unknown_country_is_refused() -> None:
    document = spec(
        restrictions=(restriction("blacklist", Rule("r", "/*", geography="Atlantis")),)
    )
    with pytest.raises(PermanentError, match="Atlantis"):
        rules.check(document, SETTINGS)


@pytest.mark.parametrize(
    ("found", "wanted", "where"),
    [
        ({"a": 1, "more": 2}, {"a": 1}, None),
        ({"a": [{"b": 1, "id": 7}]}, {"a": [{"b": 1}]}, None),
        ({}, {"a": []}, None),
        ({"a": 2}, {"a": 1}, "rules.a"),
        ({}, {"a": 1}, "rules.a"),
        ({"a": [1, 2]}, {"a": [1]}, "rules.a"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "rules.a[0].b"),
        ({"a": "x"}, {"a": {"b": 1}}, "rules.a"),
    ],
)
def test_akamais_additions_are_not_differences(found: Any, wanted: Any, where: str | None) -> None:
    assert difference(found, wanted) == where


def test_untrusted_header_fields_of_clients_are_removed_on_every_path() -> None:
    tree = rules.tree(spec(), 17, SETTINGS)
    (rule,) = [one for one in tree["children"] if one["name"] == "Untrusted request headers"]

    assert rule["criteria"] == []
    assert {one["name"] for one in rule["behaviors"]} == {"modifyIncomingRequestHeader"}
    removed = [one["options"] for one in rule["behaviors"]]
    assert {it["customHeaderName"] for it in removed} == set(headers.UNTRUSTED)
    assert {it["action"] for it in removed} == {"DELETE"}


def test_a_redirect_to_https_is_for_requests_over_http() -> None:
    document = spec(delivery=Delivery(https_redirect=True, redirect_status=302))

    redirect = served(document, Client("/a", scheme="http"))["redirect"]
    assert (redirect["destinationProtocol"], redirect["responseCode"]) == ("HTTPS", 302)
    assert "redirect" not in served(document, Client("/a", scheme="https"))
    assert not errors(rules.tree(document, 17, SETTINGS), [17])
    with pytest.raises(PermanentError, match="delivery.redirect_status 308"):
        rules.check(spec(delivery=Delivery(https_redirect=True, redirect_status=308)), SETTINGS)


@pytest.mark.parametrize(
    "change", [{"responseCode": 308}, {"destinationProtocol": "FTP"}, {"novelty": 1}]
)
def test_the_double_refuses_other_redirects(change: dict[str, Any]) -> None:
    tree = rules.tree(spec(delivery=Delivery(https_redirect=True)), 17, SETTINGS)
    tree["children"][-1]["behaviors"][0]["options"].update(change)

    (error,) = errors(tree, [17])
    assert error.startswith("redirect ")


@pytest.mark.parametrize(("wanted", "has_it"), [(None, True), (True, True), (False, False)])
def test_a_service_can_turn_http_3_off(wanted: bool | None, has_it: bool) -> None:
    secure = (Domain("www.example.com", "https", "sni"),)
    origins = (Origin("one.example", 443, True),)
    document = spec(domains=secure, origins=origins, delivery=Delivery(http3=wanted))

    found = served(document, Client("/"), SETTINGS._replace(http3=True))
    assert ("http3" in found) == has_it
    assert "http3" not in served(document, Client("/"))
