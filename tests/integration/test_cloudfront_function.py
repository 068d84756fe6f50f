# SPDX-License-Identifier: Apache-2.0
"""What the function of a CloudFront distribution does with requests, run by Node.js."""

from collections.abc import Sequence
from typing import Any

import pytest

from poppy.model import headers
from poppy.model.specs import Restriction, Rule
from poppy.provider.cloudfront.distribution import plan
from poppy.provider.cloudfront.programs import LONGEST_CODE
from poppy.testing.builders import make_spec
from tests.real.node import run_function

pytestmark = pytest.mark.real

PASSED, REFUSED, BAD = 200, 403, 400


def request(uri: str = "/", ip: str = "198.51.100.1", **headers: str) -> dict[str, Any]:
    """Return a request as a function sees it (event structure of CloudFront Functions)."""
    return {
        "version": "1.0",
        "context": {"eventType": "viewer-request"},
        "viewer": {"ip": ip},
        "request": {
            "method": "GET",
            "uri": uri,
            "querystring": {},
            "headers": {
                name.replace("_", "-"): {"value": value} for name, value in headers.items()
            },
            "cookies": {},
        },
    }


def restrictions(*entries: tuple[str, Sequence[Rule]]) -> tuple[Restriction, ...]:
    return tuple(
        Restriction(f"r{number}", kind, tuple(rules))
        for number, (kind, rules) in enumerate(entries)
    )


def statuses(code: str, requests: Sequence[dict[str, Any]]) -> list[int]:
    """Return the status of each request; check that passed requests are unchanged."""
    answers = run_function(code, requests)
    found = []
    for sent, answer in zip(requests, answers, strict=True):
        status = answer["result"].get("statusCode", PASSED)
        if status == PASSED:
            assert answer["result"] == sent["request"]
        found.append(status)
    return found


def check(entries: tuple[Restriction, ...], cases: Sequence[tuple[dict[str, Any], int]]) -> None:
    code = plan(make_spec(restrictions=entries)).codes[0]
    found = statuses(code, [case[0] for case in cases])
    for (sent, expected), status in zip(cases, found, strict=True):
        assert status == expected, sent


def test_blacklisted_networks_are_refused() -> None:
    check(
        restrictions(
            (
                "blacklist",
                [
                    Rule("a", client_ip="192.0.2.0/25"),
                    Rule("b", client_ip="203.0.113.7"),
                    Rule("c", client_ip="2001:db8:1:8000::/49"),
                    Rule("d", client_ip="::1"),
                ],
            )
        ),
        [
            (request(ip="192.0.2.127"), REFUSED),
            (request(ip="192.0.2.128"), PASSED),
            (request(ip="192.0.3.1"), PASSED),
            (request(ip="203.0.113.7"), REFUSED),
            (request(ip="::ffff:203.0.113.7"), REFUSED),
            (request(ip="203.0.113.8"), PASSED),
            (request(ip="2001:db8:1:8000::"), REFUSED),
            (request(ip="2001:db8:1:ffff:1:2:3:4"), REFUSED),
            (request(ip="2001:db8:1:7fff::1"), PASSED),
            (request(ip="2001:0db8:0001:9000:0000:0000:0000:0001"), REFUSED),
            (request(ip="::1"), REFUSED),
            (request(ip="::2"), PASSED),
            (request(ip="1::"), PASSED),
        ],
    )


def test_rule_for_every_ipv4_address() -> None:
    check(
        restrictions(("whitelist", [Rule("a", client_ip="0.0.0.0/0")])),
        [(request(ip="255.255.255.255"), PASSED), (request(ip="2001:db8::1"), REFUSED)],
    )


def test_referrers_are_matched_by_host() -> None:
    check(
        restrictions(("whitelist", [Rule("a", referrer="Example.com")])),
        [
            (request(referer="https://example.com/page"), PASSED),
            (request(referer="http://WWW.example.com:8080"), PASSED),
            (request(referer="https://example.com."), PASSED),
            (request(referer="https://user@example.com/?q"), PASSED),
            (request(referer="https://badexample.com/"), REFUSED),
            (request(referer="https://example.com.evil.test/"), REFUSED),
            (request(referer="https://evil.test/?https://example.com/"), REFUSED),
            (request(referer="https://example.com@evil.test/"), REFUSED),
            (request(referer="example.com"), REFUSED),
            (request(), REFUSED),
        ],
    )


def test_countries_are_matched_per_path() -> None:
    check(
        restrictions(
            ("whitelist", [Rule("a", geography="US"), Rule("b", "/de/*", geography="Germany")]),
            ("blacklist", [Rule("c", "/eu/*", geography="Europe")]),
        ),
        [
            (request("/", cloudfront_viewer_country="US"), PASSED),
            (request("/", cloudfront_viewer_country="DE"), REFUSED),
            (request("/de/a", cloudfront_viewer_country="DE"), PASSED),
            (request("/de/a", cloudfront_viewer_country="FR"), REFUSED),
            (request("/eu/a", cloudfront_viewer_country="FR"), REFUSED),
            (request("/"), REFUSED),
        ],
    )


def test_encoded_paths_do_not_bypass_a_rule() -> None:
    check(
        restrictions(("blacklist", [Rule("a", "/secret dir/*", client_ip="0.0.0.0/0")])),
        [
            (request("/secret%20dir/x"), REFUSED),
            (request("/s%65cret%20dir/x"), REFUSED),
            (request("//secret%20dir///x"), REFUSED),
            (request("/secret%20dir%2Fx"), REFUSED),
            (request("/secret%20dir"), PASSED),
            (request("/x/../secret%20dir/x"), BAD),
            (request("/x/%2e%2e/secret%20dir/x"), BAD),
            (request("/%zz"), BAD),
            (request("/.well-known/x"), PASSED),
            (request("/a..b/..c"), PASSED),
        ],
    )


@pytest.mark.parametrize(
    ("pattern", "paths", "others"),
    [
        ("/a*b*c", ["/abc", "/axbxc", "/abbcc"], ["/ab", "/acb", "/abcx"]),
        ("/*.jpg", ["/.jpg", "/x/y.jpg"], ["/x.jpgx", "/jpg"]),
        ("/a", ["/a"], ["/a/", "/ab", "/"]),
        ("/ab*bc", ["/abbc", "/abxbc"], ["/abc"]),
    ],
)
def test_pattern_matches_the_whole_path(pattern: str, paths: list[str], others: list[str]) -> None:
    check(
        restrictions(("blacklist", [Rule("a", pattern, client_ip="0.0.0.0/0")])),
        [(request(path), REFUSED) for path in paths]
        + [(request(path), PASSED) for path in others],
    )


def test_rule_kinds_are_independent_and_whitelists_add_up() -> None:
    check(
        restrictions(
            ("whitelist", [Rule("a", "/x/*", client_ip="192.0.2.1")]),
            ("whitelist", [Rule("b", "/x/*", client_ip="192.0.2.2")]),
            ("whitelist", [Rule("c", referrer="example.com")]),
        ),
        [
            (request("/x/1", "192.0.2.1", referer="http://example.com"), PASSED),
            (request("/x/1", "192.0.2.2", referer="http://example.com"), PASSED),
            (request("/x/1", "192.0.2.3", referer="http://example.com"), REFUSED),
            (request("/x/1", "192.0.2.1"), REFUSED),
            (request("/y", "192.0.2.3", referer="http://example.com"), PASSED),
        ],
    )


def test_untrusted_header_fields_are_removed() -> None:
    names = [n.lower() for n in headers.UNTRUSTED]
    names += [other.lower() for name in headers.UNTRUSTED for other in headers.respellings(name)]
    names += ["x-forwarded-anything", "x_forwarded-any_thing"]
    forged = request()
    kept = {"host": {"value": "www.a.example.com"}, "x-request-id": {"value": "1"}}
    forged["request"]["headers"] = {**{name: {"value": "evil"} for name in names}, **kept}

    for entries in ((), restrictions(("blacklist", [Rule("a", client_ip="192.0.2.1")]))):
        (answer,) = run_function(plan(make_spec(restrictions=entries)).codes[0], [forged])
        assert answer["result"]["headers"] == kept


def test_ambiguous_paths_do_not_bypass_a_rule() -> None:
    check(
        restrictions(("blacklist", [Rule("a", "/secret/*", client_ip="0.0.0.0/0")])),
        [
            (request("/secret;a=b/x"), REFUSED),
            (request("/secret;a/x;b"), REFUSED),
            (request("/%73ecret%2Fx"), REFUSED),
            (request("//secret//x"), REFUSED),
            (request("/open/..;/secret/x"), BAD),
            (request("/secret%5Cx"), BAD),
            (request("/secret\\x"), BAD),
            (request("/secret%00/x"), BAD),
            (request("secret/x"), BAD),
            (request("*"), BAD),
            (request("/secret%"), BAD),
            (request("/open;a=b/x"), PASSED),
        ],
    )


def test_tenant_input_does_not_become_code() -> None:
    nasty = "/');throw 1;//\\\"\u2028\u00e4`${1}\n</script>*"
    entries = restrictions(("blacklist", [Rule("a", nasty, client_ip="0.0.0.0/0")]))
    code = plan(make_spec(restrictions=entries)).codes[0]

    assert code.isascii()
    assert statuses(code, [request("/x")]) == [PASSED]


def test_long_rule_list_fits_the_size_limit() -> None:
    rules = [Rule(f"r{n}", client_ip=f"10.{n}.0.0/16") for n in range(200)]
    code = plan(make_spec(restrictions=restrictions(("blacklist", rules)))).codes[0]

    assert len(code) <= LONGEST_CODE
    assert statuses(code, [request(ip="10.199.1.1"), request(ip="10.200.1.1")]) == [
        REFUSED,
        PASSED,
    ]


def test_fifty_geography_rules_by_path_fit_the_size_limit() -> None:
    zones = ["Europe", "Asia", "Africa", "North America", "Canada", "Brazil", "Oceania"]
    rules = [
        Rule(f"r{n}", f"/videos/season-{n}/*", geography=zones[n % len(zones)]) for n in range(50)
    ]
    code = plan(make_spec(restrictions=restrictions(("whitelist", rules)))).codes[0]

    assert len(code) <= LONGEST_CODE
    germany, canada = ({"cloudfront_viewer_country": code} for code in ("DE", "CA"))
    assert statuses(
        code,
        [
            request("/videos/season-7/1.mp4", **germany),
            request("/videos/season-7/1.mp4", **canada),
            request("/videos/season-49/1.mp4", **germany),
            request("/videos/season-4/1.mp4", **canada),
            request("/videos/season-4/1.mp4", **germany),
            request("/videos/season-50/1.mp4", **germany),
            request("/videos/season-1/1.mp4"),
        ],
    ) == [PASSED, REFUSED, PASSED, PASSED, REFUSED, PASSED, REFUSED]


def test_country_codes_are_matched_as_a_whole() -> None:
    # The codes of Belgium and Saudi Arabia, one after the other, contain Spain's.
    rules = [Rule("r1", "/a/*", geography="Belgium"), Rule("r2", "/a/*", geography="Saudi Arabia")]
    code = plan(make_spec(restrictions=restrictions(("blacklist", rules)))).codes[0]
    requests = [
        request("/a/1", cloudfront_viewer_country=country) for country in ("BE", "ES", "SA")
    ]
    assert "BESA" in code
    assert statuses(code, requests) == [REFUSED, PASSED, REFUSED]
