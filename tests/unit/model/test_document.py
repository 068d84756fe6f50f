# SPDX-License-Identifier: Apache-2.0
"""The optional fields of a service document."""

from typing import Any

import pytest

from poppy.model import schemas, validation
from poppy.model.limits import DocumentLimits
from poppy.model.specs import ServiceSpec
from tests.unit.model.documents import MINIMAL, TTL, accepted, breaches, refusal, variant

SECURE: dict[str, Any] = {
    **MINIMAL,
    "domains": [{"domain": "www.mywebsite.com", "protocol": "https", "certificate": "sni"}],
}
RULES = [{"name": "r", "request_url": "/a/*"}]
FIELDS: dict[str, Any] = {
    "delivery": {
        "https_redirect": True,
        "redirect_status": 308,
        "hsts": {"max_age": 63072000, "include_subdomains": True, "preload": False},
        "min_tls": "1.3",
        "http3": False,
        "compression": "gzip",
        "websockets": True,
    },
    "redirects": [
        {"name": "r", "request_url": "/a/*/b/*", "location": "/$2/$1"},
        {"name": "s", "request_url": "/x", "location": "https://a.example:8443/$", "status": 302},
    ],
    "headers": [
        {
            "name": "h",
            "rules": RULES,
            "request": {"set": {"X-A": "1 2"}, "remove": ["Cookie"]},
            "response": {"set": {"X-B": ""}, "add": {"Link": "</a>"}, "remove": ["Server"]},
        }
    ],
    "cors": {
        "allow_origins": ["https://app.example.com", "http://localhost:8080"],
        "allow_methods": ["PUT"],
        "allow_headers": ["X-A"],
        "expose_headers": ["X-B"],
        "max_age": 600,
        "allow_credentials": True,
    },
    "error_pages": [{"name": "e", "status": [404, 503], "path": "/e.html", "ttl": 60}],
    "waf": {"policy": "arn:aws:wafv2:us-east-1:1234:global/webacl/a/5e0c"},
    "tags": ["prod", "Île 1"],
}
CACHING: list[dict[str, Any]] = [
    {
        "name": "c",
        "ttl": 60,
        "rules": [{"name": "r", "request_url": "/a/*"}],
        "mode": "respect_origin",
        "browser_ttl": 5,
        "stale_while_revalidate": 10,
        "stale_if_error": 600,
        "status_ttl": [{"status": 404, "ttl": 1}],
        "key": {
            "query": {"except": ["utm_*", "ref"]},
            "headers": ["Accept-Language", "X-Tier"],
            "cookies": ["lang", "Lang"],
        },
    },
    {"name": "d", "ttl": 60, "rules": [{"name": "r", "request_url": "/"}], "mode": "bypass"},
]
ALL = {**SECURE, **FIELDS, "caching": CACHING}


def _many(pages: int, statuses: int, path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": "e",
            "status": list(range(400 + number * statuses, 400 + (number + 1) * statuses)),
            "path": path,
        }
        for number in range(pages)
    ]


def test_fields_are_returned_as_they_were_set() -> None:
    document = accepted(ALL).to_dict()
    assert {name: document[name] for name in FIELDS} == FIELDS
    assert document["caching"] == CACHING


def test_fields_that_are_not_set_are_missing() -> None:
    assert FIELDS.keys().isdisjoint(accepted(MINIMAL).to_dict())
    set_to_nothing = {"delivery": {}, "redirects": [], "headers": [], "tags": []}
    document = accepted({**MINIMAL, **set_to_nothing}).to_dict()
    assert document == {**accepted(MINIMAL).to_dict(), **set_to_nothing}


def test_integers_may_be_written_as_floats() -> None:
    document = variant(variant(ALL, "cors.max_age", 600.0), "delivery.redirect_status", 308.0)
    spec = accepted(document)
    assert spec == accepted(ALL)
    assert validation.compact(spec.to_dict()) == validation.compact(accepted(ALL).to_dict())


def test_a_field_of_a_newer_version_in_the_store_is_ignored() -> None:
    stored = accepted(ALL).to_dict()
    newer = variant(variant(stored, "delivery.http9", True), "novelty", {"a": 1})
    assert ServiceSpec.from_dict(newer) == accepted(ALL)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("delivery.min_tls", "1.1", "[delivery][min_tls]-'1.1' is not one of ['1.2', '1.3']"),
        ("delivery.hsts", {}, "[delivery][hsts]-'max_age' is a required property"),
        ("delivery.hsts.max_age", 63072001, "is greater than the maximum of 63072000"),
        ("delivery.brotli", True, "Additional properties are not allowed"),
        ("redirects.0.status", 304, "[redirects][0][status]-304 is not one of"),
        ("redirects.0.location", "/a b", "[redirects][0][location]-'/a b' has characters other"),
        ("headers.0.request.set", {"X-A": 1}, "[headers][0][request][set][X-A]-1 is not of type"),
        ("headers.0.request.add", {}, "Additional properties are not allowed"),
        ("headers.0.response.remove", ["X"] * 51, "may have 50 entries or fewer, has 51"),
        ("cors.max_age", -1, "[cors][max_age]-"),
        ("cors.allow_origins", [], "[cors][allow_origins]-needs 1 entry or more"),
        ("error_pages.0.status", [302], "[error_pages][0][status][0]-302 is less than"),
        ("caching.0.mode", "never", "[caching][0][mode]-'never' is not one of"),
        ("caching.0.browser_ttl", -1, "[caching][0][browser_ttl]--1 is less than the minimum"),
        ("caching.0.status_ttl.0.status", 99, "[status_ttl][0][status]-99 is less than"),
        ("caching.0.key.query", "some", "[caching][0][key][query]-'some' is not valid under"),
        ("caching.0.key.query", {"only": ["a+b"]}, "[caching][0][key][query]-"),
        ("caching.0.key.query", {"only": []}, "[caching][0][key][query]-"),
        ("caching.0.key.host", True, "Additional properties are not allowed"),
        ("caching.0.key.headers", [], "[caching][0][key][headers]-needs 1 entry or more"),
        ("caching.0.key.headers", ["X A"], "[key][headers][0]-'X A' is not a token (RFC 9110"),
        ("caching.0.key.headers", ["X-A\n"], "[key][headers][0]-'X-A\\n' is not a token"),
        ("caching.0.key.headers", ["X" * 65], "is longer than 64 characters"),
        ("caching.0.key.cookies", ["a=b"], "[key][cookies][0]-'a=b' is not a token"),
        ("caching.0.key.cookies", list("abcdefghijk"), "may have 10 entries or fewer, has 11"),
        ("waf", {}, "[waf]-'policy' is a required property"),
        ("waf.policy", "a b", "[waf][policy]-'a b' has characters other than printable ASCII"),
        ("waf.policy", "a" * 257, "is longer than 256 characters"),
        ("tags", [""], "[tags][0]-'' is shorter than 1 character"),
        ("tags", ["a" * 65], "is longer than 64 characters"),
        ("tags", ["a\tb"], "[tags][0]-'a\\tb' has a control character"),
        ("tags", ["a", "b", "a"], "[tags]-has an entry more than once"),
        ("tags", [str(n) for n in range(21)], "may have 20 entries or fewer, has 21"),
        ("tags", [1], "[tags][0]-1 is not of type 'string'"),
    ],
)
def test_the_schema_refuses_other_values(path: str, value: object, message: str) -> None:
    (found,) = breaches(variant(ALL, path, value))
    assert message in found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("delivery.https_redirect", False, "redirect_status needs delivery.https_redirect"),
        ("domains", [*SECURE["domains"], {"domain": "www.a.com"}], "; www.a.com has http"),
        ("redirects.0.request_url", "old", "redirects[0].request_url: it does not begin with"),
        ("redirects.0.request_url", "/%78", "redirects[1].request_url has the same path as"),
        ("redirects.0.location", "/$3", "redirects[0].location '/$3': $3 has no wildcard"),
        ("redirects.0.location", "/$1" * 10, "refers to wildcards more than 9 times"),
        ("redirects.0.location", "//evil.example/$1", 'it begins with "//"'),
        ("redirects.0.location", "/\\evil.example/$1", "it has a backslash"),
        ("redirects.0.location", "https://$1.example/", "neither a path nor a URL with http"),
        ("redirects.0.location", "https://a.example@evil.example/", "neither a path nor a URL"),
        ("redirects.0.location", "javascript:alert(1)", "neither a path nor a URL with http"),
        ("redirects.0.location", "https://a.example:0/", "there is no port 0"),
        ("redirects.0.location", "https://-/", "redirects[0].location 'https://-/'"),
        ("headers.0.rules.0.request_url", "/a/../b", "headers[0].rules[0].request_url"),
        ("headers.0.request.set", {"X A": "1"}, "request.set: the field 'X A' is not a name"),
        ("headers.0.request.set", {"X-A": "1\r\nX-B: 2"}, "'X-A' has a value that is not"),
        ("headers.0.request.set", {"X-A": "é"}, "'X-A' has a value that is not printable"),
        (
            "headers.0.request.set",
            {"cookie": "1"},
            "headers[0].request.remove: the field 'Cookie'",
        ),
        ("headers.0.response.set", {f"X-{n}": "a" * 1024 for n in range(5)}, "the limit is 4096"),
        ("cors.allow_origins", ["*"], "cors.allow_origins can't be * with"),
        ("cors.allow_origins", ["https://a.example/"], "'https://a.example/' is not an origin"),
        ("cors.allow_headers", ["a b"], "cors.allow_headers: 'a b' is not a name"),
        ("error_pages.0.path", "/e/*", "error_pages[0].path can't have *"),
        ("error_pages", _many(2, 16, "/e"), "error_pages has 32 statuses; the limit is 30"),
        ("error_pages", _many(1, 5, "/" * 900), "have 4500 characters; the limit is 4096"),
        ("error_pages.0.status", [404, 404], "error_pages[0].status: 404 has a page already"),
        ("caching.0.status_ttl", [{"status": 404, "ttl": 1}] * 2, "caching[0].status_ttl has a"),
        ("caching.1.stale_if_error", 5, "caching[1].stale_if_error is not allowed with mode"),
        ("caching.1.key", {"headers": ["X"]}, "caching[1].key is not allowed with mode bypass"),
        ("caching.0.key.headers", ["cookie"], "key.headers can't have 'cookie': list names in"),
        ("caching.0.key.headers", ["AUTHORIZATION"], "'AUTHORIZATION': requests with it are"),
        ("caching.0.key.headers", ["Connection"], "'Connection': it belongs to the edge or to"),
        ("caching.0.key.headers", ["X_Forwarded-For"], "'X_Forwarded-For': it belongs to the"),
        ("caching.0.key.headers", ["X-A", "x-a"], "caching[0].key.headers has 'x-a' more than"),
        ("caching.0.key.cookies", ["a", "a"], "caching[0].key.cookies has 'a' more than once"),
    ],
)
def test_other_rules_name_the_field(path: str, value: object, message: str) -> None:
    assert message in refusal(variant(ALL, path, value))


@pytest.mark.parametrize("name", ["https_redirect", "hsts", "min_tls"])
def test_settings_of_https_need_it(name: str) -> None:
    value = FIELDS["delivery"][name]
    accepted({**SECURE, "delivery": {name: value}})
    assert f"delivery.{name} needs" in refusal({**MINIMAL, "delivery": {name: value}})


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "X-P-Service", "x_forwarded_for", "Upgrade"],
)
def test_fields_of_the_edge_are_protected(direction: str, name: str) -> None:
    for change in ({"set": {name: "1"}}, {"remove": [name]}):
        document = variant(ALL, f"headers.0.{direction}", change)
        assert f"the field '{name}' belongs to the edge" in refusal(document)


def test_the_limits_of_rules_apply() -> None:
    limits = DocumentLimits(redirects=1, header_rules=2, error_pages=3, signed_url_rules=4)
    document = variant(ALL, "headers.0.rules", [*RULES, *RULES, *RULES])
    key = {"id": "k", "secret": "0" * 32}
    document = {**document, "signed_urls": {"keys": [key], "rules": RULES * 5}}
    assert breaches(document, lambda it: validation.service(it, TTL, limits=limits)) == (
        "[redirects]-may have 1 rule or fewer in all entries together, has 2",
        "[headers]-may have 2 rules or fewer in all entries together, has 3",
        "[signed_urls]-may have 4 rules or fewer in all entries together, has 5",
    )
    properties = schemas.service(limits)["properties"]
    assert [properties[name]["maxItems"] for name in limits.by_optional_list] == [1, 2, 3]
    assert properties["signed_urls"]["properties"]["rules"]["maxItems"] == 4
    assert properties["headers"]["items"]["properties"]["rules"]["maxItems"] == 2
