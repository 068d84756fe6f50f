# SPDX-License-Identifier: Apache-2.0
"""The compiler of the provider ``varnish``: services as VCL."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppy.common.errors import PermanentError
from poppy.model import paths
from poppy.model.specs import (
    Caching,
    Origin,
    Restriction,
    Rule,
    ServiceSpec,
)
from poppy.provider import patterns
from poppy.provider.geography import country_codes
from poppy.provider.varnish.access import Settings
from poppy.provider.varnish.metadata import Metadata, SoftPurge
from poppy.provider.varnish.vcl import router_vcl, service_vcl
from poppy.testing.builders import make_spec

METADATA = Metadata("service", ("www.a.example.com",), 7)
KEY = "k" * 32


def compiled(
    spec: ServiceSpec, settings: Settings | None = None, metadata: Metadata = METADATA
) -> str:
    addresses = {origin.origin: ["192.0.2.1"] for origin in spec.origins}
    return service_vcl(metadata, KEY, spec, addresses, settings or Settings())


def matches(pattern: str, url: str) -> bool:
    return re.search(patterns.url_regex(pattern), url, re.ASCII) is not None


@pytest.mark.parametrize(
    ("pattern", "url", "expected"),
    [
        ("/", "/", True),
        ("/", "/x", False),
        ("/a", "/a", True),
        ("/a", "/a?query", True),
        ("/a", "/ab", False),
        ("/a", "/A", False),
        ("a", "/a", True),
        ("/*", "/", True),
        ("/*", "/anything?at=all", True),
        ("/a/*", "/a", False),
        ("/a/*", "/a/", True),
        ("/a/*", "/a/b/c", True),
        ("*.jpg", "/x/y.jpg", True),
        ("/*.jpg", "/x.jpg?v=2", True),
        ("/*.jpg", "/x.jpgx", False),
        ("/*.jpg", "/x?y=.jpg", False),
        ("/a*b*c", "/a1b2c", True),
        ("/a*b*c", "/abc", True),
        ("/a*b*c", "/a1c2b", False),
        ("/a*bc*bc", "/abcbcbc", True),
        ("/*a", "/aaaa", True),
        ("/a.b", "/axb", False),
        ("/a b", "/a%20b", True),
        ("/a%20b", "/a%20b", True),
        ("/a%2Ab", "/a*b", True),
        ("/a%2Ab", "/axb", False),
        ("/private/*", "/%70riv%61te/x", True),
        ("/private/*", "//private//x", True),
        ("/private/*", "/private%2Fx", True),
        ("/private/*", "/private%2fx", True),
        ("/é", "/%C3%A9", True),
        ("/é", "/%c3%a9", True),
        ("/s?q=1", "/s?q=1", True),
        ("/s?q=1", "/s?q=12", False),
        ("/s?q=1", "/s", False),
        ("/s?q=*", "/s?q=a?b", True),
        ("/*?q=1", "/x/y?q=1", True),
        ("/*?q=1", "/x?y?q=1", False),
        ("/s?", "/s?", True),
    ],
)
def test_a_pattern_matches_as_documented(pattern: str, url: str, expected: bool) -> None:
    assert matches(pattern, url) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/a/../b", True),
        ("/a/%2e%2E/b", True),
        ("/a/.", True),
        ("/a/..?q", True),
        ("/a%2f..%2fb", True),
        ("/.well-known/x", False),
        ("/a..b/...", False),
        ("/a?../x", False),
        ("/a/b.", False),
    ],
)
def test_dot_segments_are_found(url: str, expected: bool) -> None:
    assert bool(re.search(paths.DOT_SEGMENTS, url)) is expected


@given(st.text(alphabet="ab/*", max_size=8), st.text(alphabet="ab/", max_size=10))
def test_the_expression_agrees_with_the_plain_meaning_of_a_pattern(pattern: str, url: str) -> None:
    url = re.sub("/+", "/", f"/{url}")
    pattern = re.sub("/+", "/", f"/{pattern}")
    plain = ".*".join(re.escape(part) for part in pattern.split("*"))

    assert matches(pattern, url) is (re.fullmatch(plain, url) is not None)


@given(st.text(max_size=60))
def test_an_expression_cannot_end_its_string(text: str) -> None:
    for regex in (patterns.url_regex(text), patterns.referrer_regex(text)):
        assert regex.isascii()
        assert regex.isprintable()
        assert '"' not in regex
        assert re.compile(regex)


@given(st.text(max_size=60))
def test_a_pattern_matches_itself(text: str) -> None:
    literal = "/" + re.sub("/+", "/", text.replace("*", "x").replace("%", "x").lstrip("/"))
    assert matches(literal, literal.encode("utf-8", "surrogatepass").decode("latin-1"))


@given(st.text(max_size=40), st.text(max_size=40))
def test_tenant_text_adds_no_line_or_statement(one: str, other: str) -> None:
    def spec(text: str) -> ServiceSpec:
        return replace(
            make_spec(["www.a.example.com"]),
            name=text,
            origins=(Origin("o.test", rules=(Rule(text, f"/x{text}"),)),),
            caching=(Caching(text, 5, (Rule(text, f"/x{text}"),)),),
            restrictions=(
                Restriction(text, "whitelist", (Rule(text, f"/x{text}", referrer=text),)),
            ),
        )

    def outline(text: str) -> list[str]:
        metadata = Metadata(text, (text,)).purged(f"/x{text}", 5)
        vcl = compiled(spec(text), metadata=metadata)
        assert vcl.isascii()
        assert Metadata.from_vcl(vcl) == metadata
        first, *lines = vcl.splitlines()
        assert first.startswith("# poppy {")
        return [re.sub('"[^"]*"', '""', line) for line in lines]

    # Decoded JSON has no surrogates, but they must not cause a crash.
    assert outline(one) == outline(other)


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("http://friend.org", True),
        ("https://a.b.friend.org/x", True),
        ("HTTP://FRIEND.ORG:8080/", True),
        ("http://user:secret@friend.org/", True),
        ("http://friend.org./", True),
        ("http://friend.org.evil.com/", False),
        ("http://evilfriend.org/", False),
        ("http://friend.org@evil.com/", False),
        ("http://friend.org:80@evil.com/", False),
        ("http://evil.com/friend.org/", False),
        ("http://evil.com#friend.org/", False),
        ("http://evil.com\\@friend.org/", False),
        ("http://friendxorg/", False),
        ("friend.org", False),
        ("", False),
    ],
)
def test_a_referrer_matches_a_host_and_its_subdomains(referrer: str, expected: bool) -> None:
    assert bool(re.search(patterns.referrer_regex("friend.org"), referrer)) is expected


def test_the_most_specific_rule_comes_first() -> None:
    rules = ("/*", "/a/*", "/a/b", "/aaaaaaaaa", "/*.js")
    caching = tuple(Caching(f"c{n}", n, (Rule("r", rule),)) for n, rule in enumerate(rules, 1))

    vcl = compiled(make_spec(caching=caching))

    found = re.findall(r'set beresp.http.x-poppy-ttl = "(\d)s";', vcl)
    assert found == ["4", "5", "3", "2", "1"]


def test_an_invalid_host_name_is_refused() -> None:
    bad = 'evil"; } sub vcl_recv { '
    with pytest.raises(PermanentError, match="not a host name"):
        compiled(make_spec(origins=(Origin("o", hostheadertype="custom", hostheadervalue=bad),)))
    with pytest.raises(PermanentError, match="not a host name"):
        router_vcl({bad: "label"})


def test_an_invalid_address_is_refused_by_name() -> None:
    rules = (Rule("r", client_ip="10.0.0.300"),)
    with pytest.raises(PermanentError, match=r"10\.0\.0\.300"):
        compiled(make_spec(restrictions=(Restriction("r", "blacklist", rules),)))


def test_an_unknown_country_is_refused_by_name() -> None:
    rules = (Rule("r", geography="Atlantis"),)
    spec = make_spec(restrictions=(Restriction("r", "blacklist", rules),))
    with pytest.raises(PermanentError, match="Atlantis"):
        compiled(spec, Settings(geography_header="X-Country", trusted_proxies=("::1",)))


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("United States", {"US"}),
        ("us", {"US"}),
        ("The Netherlands", {"NL"}),
        ("Côte d'Ivoire", {"CI"}),
        ("St. Lucia", {"LC"}),
        ("Antarctica", {"AQ"}),
        ("Trinidad & Tobago", {"TT"}),
    ],
)
def test_a_country_is_known_by_its_common_names(name: str, codes: set[str]) -> None:
    assert country_codes(name) == codes


def test_a_continent_stands_for_its_countries() -> None:
    europe = country_codes("europe")

    assert {"FR", "DE", "UA"} <= europe
    assert not {"US", "TR", "JP"} & europe


def test_the_same_input_gives_the_same_text() -> None:
    spec = make_spec(["www.b.test", "www.a.test"])

    assert compiled(spec) == compiled(spec)
    routes = {"www.b.test": "poppy_b", "www.a.test": "poppy_a"}
    assert router_vcl(routes) == router_vcl(dict(reversed(routes.items())))


def test_metadata_can_be_read_from_the_text() -> None:
    metadata = METADATA.purged('/a"\n*/', 100).purged("/b", 50)

    vcl = compiled(make_spec(), metadata=metadata)

    assert Metadata.from_vcl(vcl) == metadata
    assert metadata.purges == (SoftPurge(100, '/a"\n*/'), SoftPurge(101, "/b"))
    with pytest.raises(ValueError, match="does not name its service"):
        Metadata.from_vcl("vcl 4.1;")


def test_the_number_of_soft_purges_is_bounded() -> None:
    metadata = METADATA
    for number in range(200):
        metadata = metadata.purged(f"/{number}", 0)
        assert len(metadata.purges) <= 50

    assert metadata.purged("/199", 0).purges[-1].url == "/199"
    assert metadata.purged(None, 0).purges == (SoftPurge(metadata.generation + 1, None),)


def test_excess_soft_purges_are_folded_into_one() -> None:
    metadata = METADATA.purged("/a", 0)
    for number in range(60):
        metadata = metadata.purged(f"/{number}", 0)

    # Older purges were replaced by one for all paths.
    assert any(purge.url is None for purge in metadata.purges)
