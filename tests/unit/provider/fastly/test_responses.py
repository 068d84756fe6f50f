# SPDX-License-Identifier: Apache-2.0
"""The mapping of redirects, header fields, CORS, compression, error pages and caching options."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.common.errors import PermanentError
from poppy.model.document.caching import CacheKey, StatusTTL
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import HSTS, Delivery
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.paths import PathRule
from poppy.model.document.redirects import Redirect
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.purges import Purge
from poppy.model.secrets import Secret
from poppy.model.specs import Caching, Rule, ServiceSpec
from poppy.provider import patterns
from poppy.provider.fastly import cache_keys, keys
from poppy.provider.fastly.configuration import Settings, wanted
from poppy.testing.builders import make_spec
from tests.real import fastly_vcl

_ALL = (Rule("all", "/*"),)


def whole_spec(**changes: Any) -> ServiceSpec:
    """Return a document with all optional fields that Fastly can do."""
    spec = make_spec(
        delivery=Delivery(https_redirect=True, hsts=HSTS(600), http3=True, compression="brotli"),
        caching=(
            Caching(
                "a",
                60,
                _ALL,
                mode="respect_origin",
                browser_ttl=5,
                stale_while_revalidate=1,
                stale_if_error=2,
                status_ttl=(StatusTTL(404, 0), StatusTTL(503, 7)),
                key=CacheKey({"only": ["id", "page_*"]}),
            ),
            Caching("b", 60, (Rule("b", "/b"),), key=CacheKey({"except": ["utm_*"]})),
            Caching("c", 60, (Rule("c", "/c"),), mode="bypass"),
            Caching(
                "d",
                60,
                (Rule("d", "/d"),),
                key=CacheKey("none", headers=("Accept-Language",), cookies=("lang", "a.b")),
            ),
        ),
        redirects=(Redirect("r", "/old/*/x*", "/new/$2/$1?from=$1#$2", 307),),
        headers=(
            HeaderRules(
                "h",
                (PathRule("h", "/h/*"),),
                RequestChanges({"X-A": "1"}, ("Cookie",)),
                ResponseChanges({"X-B": "2"}, {"Link": "<a>"}, ("Server",)),
            ),
        ),
        cors=CORS(("https://a.example",), ("PUT",), ("X-A",), ("ETag",), 60, True),
        error_pages=(ErrorPage("e", (404, 500), "/e.html", 60),),
        signed_urls=SignedURLs(
            (SigningKey("k", Secret("0" * 8, "sealed")),), (PathRule("s", "/s/*"),), "t_k"
        ),
    )
    return replace(spec, **changes)


def snippets(spec: ServiceSpec) -> Mapping[str, str]:
    found = wanted(spec, Settings())
    assert list(fastly_vcl.problems(found)) == []
    return {name: entry["content"] for name, entry in found["snippet"].items()}


def test_every_field_compiles_together() -> None:
    found = snippets(whole_spec())
    assert {"poppy redirect", "poppy preflight", "poppy response"} <= found.keys()


def test_documents_without_these_fields_have_no_snippets_for_them() -> None:
    assert (
        not {"poppy redirect", "poppy preflight", "poppy response"} & snippets(make_spec()).keys()
    )


_values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
# All origins of CORS, which is another snippet.
_values = _values.filter(lambda text: text != "*")
_hostile = st.sampled_from(['"} error 500; #', "%22", '"', "{{", "*/", "%", "\\", '")', '"}'])


@settings(deadline=None)
@given(text=_values | _hostile)
def test_tenant_text_cannot_inject_vcl(text: str) -> None:
    def spec(value: str) -> ServiceSpec:
        return whole_spec(
            headers=(HeaderRules("h", None, RequestChanges({"X-A": value})),),
            redirects=(Redirect("r", "/a", f"/x?{value.replace('$', '')}"),),
            error_pages=(ErrorPage("e", (404,), f"/{value}"),),
            cors=CORS((value,), (value,)),
        )

    hostile, plain = snippets(spec(text)), snippets(spec("x"))

    for name, content in hostile.items():
        if "#" not in text and "?" not in text:
            assert content.split('"')[::2] == plain[name].split('"')[::2]


def test_values_are_escaped() -> None:
    changes = ResponseChanges({"X-A": 'a "b" 100%'})
    spec = make_spec(headers=(HeaderRules("h", None, response=changes),))
    assert snippets(spec)["poppy response"] == 'set resp.http.X-A = "a %22b%22 100%25";'


@pytest.mark.parametrize(
    "name", ["X!", "1st", "X.Y", "Fastly-SSL", "fastly-ff", "Surrogate-Key", "X-Poppy-Page"]
)
def test_fields_that_fastly_cannot_change_are_refused(name: str) -> None:
    for changes in (ResponseChanges({name: "1"}), ResponseChanges(remove=(name,))):
        spec = make_spec(headers=(HeaderRules("h", None, response=changes),))
        with pytest.raises(PermanentError, match=re.escape(repr(name))):
            wanted(spec, Settings())


def test_entries_of_paths_apply_to_their_paths() -> None:
    found = snippets(whole_spec())
    assert (
        'set req.http.X-Poppy-Changes = req.http.X-Poppy-Changes + ":0:";'
        in found["poppy request"]
    )
    assert (
        'if (req.http.X-Poppy-Changes ~ ":0:") {\n  unset resp.http.Server;'
        in found["poppy response"]
    )


@pytest.mark.parametrize(("compression", "hint"), [("gzip", "gzip"), ("brotli", "on")])
def test_compression_is_a_hint_and_excludes_segments(compression: Any, hint: str) -> None:
    found = snippets(make_spec(delivery=Delivery(compression=compression)))

    assert f'set resp.http.X-Compress-Hint = "{hint}";' in found["poppy response"]
    (segments,) = re.findall(
        r"if \((.*)\) {\n  set req.enable_segmented_caching", found["poppy request"]
    )
    (regex,) = re.findall('"([^"]*)"$', segments)
    assert [bool(re.search(regex, url)) for url in ("/a.mp4?x", "/A.ZIP", "/a.js", "/a?.mp4")] == [
        True,
        True,
        False,
        False,
    ]


def test_without_compression_all_has_segments() -> None:
    found = snippets(make_spec(delivery=Delivery(compression="off")))
    assert "poppy response" not in found
    assert '"HEAD")) {\n  set req.enable_segmented_caching' in found["poppy request"]


def test_hsts_and_http3_are_of_responses() -> None:
    found = snippets(make_spec(delivery=Delivery(hsts=HSTS(5, preload=True), http3=True)))
    assert found["poppy response"] == (
        "if (req.http.Fastly-SSL) {\n"
        '  set resp.http.Strict-Transport-Security = "max-age=5;preload";\n}\nh3.alt_svc();'
    )


def test_cors_for_all_sites_does_not_vary() -> None:
    found = snippets(make_spec(cors=CORS(("*",))))
    assert "Vary" not in found["poppy response"]
    assert 'Access-Control-Allow-Origin = "*";' in found["poppy response"]


@pytest.mark.parametrize(
    ("pattern", "url", "captured"),
    [
        ("/old/*", "/old/a/b?c", ("a/b",)),
        ("/old/*", "/old/", ("",)),
        ("/*/of/*.html", "/a/of/b.html", ("a", "b")),
        ("/s?q=*", "/s?q=x", ("x",)),
        ("/exact", "/exact?x", ()),
        ("/old/*", "/older", None),
    ],
)
def test_wildcards_are_groups(pattern: str, url: str, captured: tuple[str, ...] | None) -> None:
    # Python and PCRE agree on these expressions.
    found = re.search(patterns.url_regex(pattern, captures=True), url)
    assert (found.groups() if found else None) == captured
    assert bool(re.search(patterns.url_regex(pattern), url)) == (captured is not None)


@pytest.mark.parametrize(
    ("name", "spelled", "expected"),
    [
        ("id", "id", True),
        ("id", "i%64", True),
        ("id", "ids", False),
        ("page_*", "page_2", True),
        ("page_*", "%70age_", True),
        ("a.b", "axb", False),
    ],
)
def test_names_of_parameters_are_expressions(name: str, spelled: str, expected: bool) -> None:
    caching = (Caching("a", 60, _ALL, key=CacheKey({"only": [name]})),)
    (regex,) = re.findall(r'regfilter_except\(req\.url, "(.*)"\)', cache_keys.filters(caching))
    assert bool(re.search(regex.replace(r"\x25", "%"), spelled)) is expected


def test_requests_that_are_not_kept_have_the_whole_query() -> None:
    key = CacheKey("none")
    assert cache_keys.filters((Caching("a", 60, _ALL, key=key),))
    assert not cache_keys.filters((Caching("a", 0, _ALL, key=key),))
    assert not cache_keys.filters((Caching("a", 60, _ALL, key=CacheKey("all")),))


def test_listed_fields_and_cookies_are_part_of_the_key() -> None:
    found = snippets(whole_spec())
    assert (
        'if (req.http.X-Poppy-Caching == "3") {\nif (req.http.Accept-Language) {\n'
        '  set req.hash += "accept-language:" + urlencode(req.http.Accept-Language) + ";";'
        in found["poppy key"]
    )
    assert '"(?:^|;) *a\\x2eb=([^;]*)"' in found["poppy request"]
    assert found["poppy key"].count("urlencode(req.http.Cookie)") == 1


def test_a_key_needs_a_name_that_vcl_can_have() -> None:
    caching = (Caching("a", 60, _ALL, key=CacheKey(headers=("X!",))),)
    with pytest.raises(PermanentError, match=r"caching\[0\]\.key\.headers.*'X!'"):
        wanted(make_spec(caching=caching), Settings())


def test_a_purge_covers_all_queries_where_some_are_removed() -> None:
    purge = Purge("/a?x=1", True, ("/b", "/a?x=2", "/dir/*"))
    assert keys.covered(purge, filtered=True) == [keys.key(url) for url in ("/a", "/b", "/dir/*")]
    assert keys.covered(purge) == [keys.key(url) for url in purge.urls]


def test_a_status_with_a_ttl_ends_the_subroutine() -> None:
    found = snippets(whole_spec())["poppy answer"]
    assert (
        "beresp.status == 503) {\n    set beresp.cacheable = true;\n"
        "    set beresp.ttl = 7s;\n    return(deliver);" in found
    )
    assert "beresp.status == 404) {\n    set beresp.cacheable" not in found


def test_tokens_are_checked_before_preflight_requests_and_redirects() -> None:
    found = snippets(whole_spec())["poppy request"]
    assert (
        found.index("digest.hmac_sha256_base64(table.lookup(poppy_")
        < found.index("req.http.X-Poppy-Preflight =")
        < found.index("urlencode(urldecode(")
    )
    assert "sealed" not in found


def test_each_set_of_keys_has_a_dictionary() -> None:
    def name(**secrets: str) -> str:
        keys = tuple(SigningKey(key, Secret(it)) for key, it in secrets.items())
        (found,) = wanted(make_spec(signed_urls=SignedURLs(keys)), Settings())["dictionary"]
        return found

    assert name(a="1", b="2") == name(b="2", a="1")
    assert len({name(a="1"), name(b="1"), name(a="2"), name(a="1", b="2")}) == 4


def test_the_double_refuses_a_table_that_is_missing() -> None:
    found = dict(wanted(whole_spec(), Settings()))
    found["dictionary"] = {}
    assert list(fastly_vcl.problems(found))


def test_an_error_page_restarts_once_with_the_page_only() -> None:
    found = snippets(make_spec(error_pages=(ErrorPage("e", (404, 410), "/e.html"),)))
    response = found["poppy response"]
    assert response.index("if (req.http.X-Poppy-Page)") < response.index("restart;")
    assert "resp.status == 404 || resp.status == 410" in response
    assert 'set req.url = "/e.html";' in response
    for name in ("Authorization", "Cookie", "Range"):
        assert f"unset req.http.{name};" in response


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("poppy response", "set resp.http.X = no.such(1);"),
        ("poppy response", "set resp.http.X = req.nothing;"),
        ("poppy response", "return(pass);"),
        ("poppy miss", "restart;"),
        ("poppy response", 'set resp.http.X = "100%";'),
    ],
)
def test_the_double_refuses_what_vcl_does_not_have(name: str, text: str) -> None:
    found = wanted(whole_spec(), Settings())
    found["snippet"][name]["content"] += text  # type: ignore[index]
    assert list(fastly_vcl.problems(found))
