# SPDX-License-Identifier: Apache-2.0
"""The optional fields of a service in a distribution and its functions.

The edge contract runs the functions; see ``tests/integration/test_edge_contract.py``.
"""

from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model.document.caching import CacheKey, StatusTTL
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import HSTS, Delivery
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.paths import PathRule
from poppy.model.document.redirects import Redirect
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.secrets import Secret
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.cloudfront.distribution import Plan, Settings, Viewer, config, plan
from poppy.provider.cloudfront.merging import Config
from poppy.provider.cloudfront.paths import LONGEST_TTL
from poppy.provider.cloudfront.programs import LONGEST_CODE
from poppy.provider.cloudfront.steps import steps
from poppy.testing.builders import make_spec
from tests.real import cloudfront_events

ALL = (Rule("all", "/*"),)


def tables(direction: str = "request", **fields: Any) -> dict[str, Any]:
    """Return the tables of the function for requests or responses."""
    found = steps(make_spec(**fields), lambda secret: secret.sealed)
    listed = (*found.before, *found.after) if direction == "request" else found.responses
    return {name: value for step in listed for name, value in step.tables.items()}


def default(compiled: Plan) -> Config:
    made: Config = config(compiled, Viewer(), ("arn:1", "arn:2"), Settings())
    return made["DefaultCacheBehavior"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("mode", "ttls"),
    [
        (None, (60, 60)),
        ("override", (60, 60)),
        ("respect_origin", (60, LONGEST_TTL)),
        ("bypass", (0, 0)),
    ],
)
def test_the_mode_sets_the_maximum_ttl_and_never_a_minimum(
    mode: Any, ttls: tuple[int, int]
) -> None:
    made = default(plan(make_spec(caching=(Caching("c", 60, ALL, mode=mode),))))

    assert (made["MinTTL"], made["DefaultTTL"], made["MaxTTL"]) == (0, *ttls)


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("none", (True, ())),
        ({"only": ["id"]}, (True, ("id",))),
        ({"except": ["utm_*"]}, (False, ("utm_*",))),
    ],
)
def test_parameters_that_make_no_difference_are_removed(query: Any, rule: Any) -> None:
    entry = Caching("c", 60, (Rule("c", "/a/*"),), key=CacheKey(query))

    assert tables(caching=(entry,)) == {"KEYS": [("/a/*", rule), ("*", None)]}
    assert not tables(caching=(Caching("c", 60, ALL, key=CacheKey("all")),))


def test_browsers_have_a_table_of_their_own() -> None:
    entries = (Caching("c", 60, ALL), Caching("b", 60, (Rule("b", "/b/*"),), browser_ttl=0))

    assert tables("response", caching=entries) == {"BROWSERS": [("/b/*", 0), ("*", None)]}


def test_the_scheme_is_in_the_cache_key_only_if_it_is_needed() -> None:
    def headers(**delivery: Any) -> list[str]:
        made = default(plan(make_spec(delivery=Delivery(**delivery))))
        return [it for it in made["ForwardedValues"]["Headers"]["Items"] if "Proto" in it]

    hsts = HSTS(600)
    assert headers(hsts=hsts) == ["CloudFront-Forwarded-Proto"]
    assert not headers(hsts=hsts, https_redirect=True)
    assert headers(https_redirect=True, redirect_status=302) == ["CloudFront-Forwarded-Proto"]
    assert not headers(https_redirect=True)


def test_hsts_is_sent_with_answers_of_the_function_too() -> None:
    spec = make_spec(delivery=Delivery(https_redirect=True, hsts=HSTS(600, True, True)))
    codes = plan(spec).codes

    for code in codes:
        assert 'var HSTS = "max-age=600; includeSubDomains; preload";' in code
        assert "var BY_SCHEME = false;" in code
        assert "var LATER = [secure];" in code


def test_a_service_without_responses_to_change_has_one_function() -> None:
    made = default(plan(make_spec()))
    assert plan(make_spec()).codes[1] == ""
    compiled = plan(make_spec(cors=CORS(("*",))))
    assert compiled.codes[1]
    assert not compiled.is_shared
    assert [it["EventType"] for it in made["FunctionAssociations"]["Items"]] == [
        "viewer-request",
        "viewer-response",
    ]
    only = config(compiled, Viewer(), ("arn:1", None), Settings())["DefaultCacheBehavior"]
    assert only["FunctionAssociations"]["Quantity"] == 1


def test_with_cors_the_origin_of_a_request_is_not_in_the_cache_key() -> None:
    made = default(plan(make_spec(cors=CORS(("*",)))))

    assert made["ForwardedValues"]["Headers"]["Items"] == ["Authorization", "Host"]


def test_the_most_specific_redirect_is_first_and_paths_are_decoded() -> None:
    found = tables(
        redirects=(
            Redirect("a", "/a*", "/b"),
            Redirect("b", "/a%62c//d*?q=%20*", "/c", 308),
        )
    )

    assert found["REDIRECTS"] == [(["/abc/d*", "q= *"], "/c", 308), (["/a*"], "/b", 301)]


def test_changes_of_headers_have_lower_case_names() -> None:
    changes = (
        HeaderRules(
            "h",
            (PathRule("r", "/%61"),),
            RequestChanges({"X-A": "1"}, ("Cookie",)),
            ResponseChanges({"X-B": "2"}, {"X-C": "3"}, ("Server",)),
        ),
    )

    assert tables(headers=changes) == {"CHANGES": [([["/a"]], ["cookie"], {"x-a": "1"}, {})]}
    assert tables("response", headers=changes) == {
        "CHANGES": [([["/a"]], ["server"], {"x-b": "2"}, {"x-c": "3"})]
    }


@pytest.mark.parametrize(
    ("request_", "response", "offender"),
    [
        (RequestChanges({"User-Agent": "x"}), None, "User-Agent"),
        (RequestChanges({"Cookie": "x"}), None, "only remove Cookie"),
        (RequestChanges(remove=("X-Edge-A",)), None, "X-Edge-A"),
        (None, ResponseChanges({"Warning": "x"}), "Warning"),
        (None, ResponseChanges(add={"Set-Cookie": "x"}), "only remove Set-Cookie"),
    ],
)
def test_fields_that_functions_cannot_change_are_refused_by_name(
    request_: Any, response: Any, offender: str
) -> None:
    with pytest.raises(PermanentError, match=rf"headers\[0\]\.re.*{offender}"):
        plan(make_spec(headers=(HeaderRules("h", None, request_, response),)))


def test_secrets_are_in_the_code_but_not_in_the_plan_as_text() -> None:
    secret = Secret("00000000", "s" * 32)
    signed = SignedURLs((SigningKey("k", secret),), (PathRule("r", "/%C3%A4/*"),))
    compiled = plan(make_spec(signed_urls=signed), lambda it: it.sealed)

    assert "s" * 32 in compiled.codes[0]
    assert "s" * 32 not in repr(compiled)
    assert tables(signed_urls=signed)["TOKENS"]["patterns"] == ["/\u00c3\u00a4/*"]


def test_the_longest_secrets_count_before_they_are_known() -> None:
    keys = tuple(SigningKey(f"k{n}", Secret(f"{n:08}")) for n in range(10))
    paths = tuple(PathRule("r", f"/{n}{'a' * 200}/*") for n in range(10))

    assert len(plan(make_spec(signed_urls=SignedURLs(keys))).codes[0]) < LONGEST_CODE
    with pytest.raises(PermanentError, match=str(LONGEST_CODE)):
        plan(make_spec(signed_urls=SignedURLs(keys, paths * 2)))


@pytest.mark.parametrize(
    ("field", "kind", "reason"),
    [
        ("X-Edge-A", "viewer-request", "lower case"),
        ("x-edge-a", "viewer-response", "can't add x-edge-a"),
        ("upgrade", "viewer-request", "can't add upgrade"),
        ("via", "viewer-response", "via is read-only"),
        ("host", "viewer-request", "host is read-only"),
    ],
)
def test_the_double_refuses_fields_that_functions_cannot_change(
    field: str, kind: str, reason: str
) -> None:
    with pytest.raises(AssertionError, match=f"502.*{reason}"):
        cloudfront_events.check({}, {field: {"value": "x"}}, kind)


ERRORS: dict[str, Any] = {
    "410": {"error_pages": (ErrorPage("e", (410,), "/e"),)},
    "Host header 'host.example.org'": {
        "origins": (Origin("a.example.com", 80, False, "custom", "host.example.org"),),
        "error_pages": (ErrorPage("e", (404,), "/e"),),
    },
    "'error_pages'": {"error_pages": (ErrorPage("e", (404,), "/%20"),)},
    "'c': status_ttl 200": {"caching": (Caching("c", 1, ALL, status_ttl=(StatusTTL(200, 1),)),)},
    "'c': status_ttl 403": {"caching": (Caching("c", 1, ALL, status_ttl=(StatusTTL(403, 1),)),)},
    "'c': status_ttl: .*all paths": {
        "caching": (Caching("c", 1, (Rule("c", "/c"),), status_ttl=(StatusTTL(404, 1),)),)
    },
    "'c'.* Pragma": {"caching": (Caching("c", 1, ALL, key=CacheKey(headers=("Pragma",))),)},
    "12 headers": {
        "caching": (Caching("c", 1, ALL, key=CacheKey(headers=tuple(f"X-{n}" for n in range(9)))),)
    },
}


@pytest.mark.parametrize("offender", ERRORS)
def test_settings_that_cloudfront_does_not_have_are_refused_by_name(offender: str) -> None:
    with pytest.raises(PermanentError, match=offender):
        plan(make_spec(**ERRORS[offender]))


def test_errors_have_their_ttls_and_pages() -> None:
    entry = Caching("c", 1, ALL, status_ttl=(StatusTTL(500, 30), StatusTTL(403, 0)))
    pages = (ErrorPage("e", (404, 500), "/e"),)
    made = plan(make_spec(caching=(entry,), error_pages=pages)).errors

    assert {it["ErrorCode"]: it["ErrorCachingMinTTL"] for it in made} == {
        **dict.fromkeys((400, 403, 405, 501, 502, 503, 504), 0),
        404: 10,
        500: 30,
    }
    assert [it for it in made if it["ResponsePagePath"]] == [
        {
            "ErrorCode": code,
            "ErrorCachingMinTTL": ttl,
            "ResponsePagePath": "/e",
            "ResponseCode": str(code),
        }
        for code, ttl in ((404, 10), (500, 30))
    ]


def test_a_page_needs_a_behaviour_only_if_the_function_would_choose_its_origin() -> None:
    origins = (Origin("a.example.com"), Origin("b.example.com", rules=(Rule("b", "/b/*"),)))
    caching = (Caching("c", 60, (Rule("b", "/b/*"),)),)

    def patterns(path: str) -> list[str]:
        pages = (ErrorPage("e", (404,), path),)
        compiled = plan(make_spec(origins=origins, caching=caching, error_pages=pages))
        return [it.pattern for it in compiled.behaviours]

    assert patterns("/a/404.html") == ["/b/*", "*"]
    assert patterns("/b/404.html") == ["/b/404.html", "/b/*", "*"]
