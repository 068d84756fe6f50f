# SPDX-License-Identifier: Apache-2.0
"""Path rules as one ordered list of CloudFront behaviours."""

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poppy.common.errors import PermanentError
from poppy.model.lifetimes import DEFAULT_TTL
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.cloudfront.paths import (
    LONGEST_TTL,
    Behaviour,
    behaviours,
    path_pattern,
    routes,
)
from poppy.provider.patterns import covers, specificity

#: Short patterns of few letters, which overlap in many ways.
PATTERNS = st.text("ab*", max_size=6).map(lambda text: "/" + re.sub(r"\*+", "*", text))
PATHS = st.text("ab/", max_size=8).map(lambda text: "/" + text)


def matches(pattern: str, path: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), path) is not None


def origins(*rules: list[str]) -> list[Origin]:
    return [
        Origin(f"{number}.example.com", rules=tuple(Rule(url, url) for url in urls))
        for number, urls in enumerate(rules)
    ]


def caching(**rules: list[str]) -> list[Caching]:
    return [
        Caching(ttl, int(ttl.strip("t")), tuple(Rule(url, url) for url in urls))
        for ttl, urls in rules.items()
    ]


@given(PATTERNS, PATTERNS, PATHS)
def test_a_pattern_that_covers_another_matches_all_of_its_paths(
    first: str, second: str, path: str
) -> None:
    if covers(first, second) and matches(second, path):
        assert matches(first, path)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("*", "/a*", True),
        ("/a*", "/a*b", True),
        ("/a*b", "/a*", False),
        ("/*b*", "/a*bc", True),
        ("/ab*b", "/ab", False),
        ("/a", "/a", True),
        ("/a", "/*", False),
    ],
)
def test_whether_a_pattern_covers_another(first: str, second: str, expected: bool) -> None:
    assert covers(first, second) is expected


@given(
    st.lists(PATTERNS, unique=True, max_size=4),
    st.lists(PATTERNS, unique=True, max_size=4),
    PATHS,
)
def test_a_request_gets_the_most_specific_origin_and_ttl(
    by_origin: list[str], by_ttl: list[str], path: str
) -> None:
    def choice(patterns: list[str], otherwise: int | None) -> int | None:
        ranked = sorted(patterns, key=specificity)
        fitting = [pattern for pattern in ranked if matches(pattern, path)]
        return patterns.index(fitting[0]) + 1 if fitting else otherwise

    assume("/*" not in by_origin)
    found = routes(origins(["/*"], *([url] for url in by_origin)))
    ttls = behaviours(caching(**{f"t{number}": [url] for number, url in enumerate(by_ttl, 1)}))

    assert next(e.origin for e in found if matches(e.pattern, path)) == choice(by_origin, 0)
    ttl = next(e.default_ttl for e in ttls if matches(e.pattern, path))
    assert ttl == choice(by_ttl, DEFAULT_TTL)


def test_rules_are_sorted_by_specificity() -> None:
    found = behaviours(caching(t3600=["/*"], t60=["/*.jpg"], t0=["/cart"]))

    assert [(it.pattern, it.default_ttl, it.max_ttl) for it in found] == [
        ("/*.jpg", 60, 60),
        ("/cart", 0, 0),
        ("*", 3600, 3600),
    ]
    assert [tuple(entry) for entry in routes(origins(["/a*"], ["/ab*", "/*"], ["/b"]))] == [
        ("/ab*", 1),
        ("/a*", 0),
        ("/b", 2),
        ("*", 1),
    ]


def test_rules_equal_to_the_default_need_no_behaviour() -> None:
    assert behaviours(caching(t60=["/*", "/css/*", "/js/*"])) == [Behaviour("*", 60, 60)]
    assert routes(origins(["/*", "/css/*"], ["/images/*"])) == [("/images/*", 1), ("*", 0)]


def test_without_a_caching_rule_there_is_no_ttl() -> None:
    assert behaviours(()) == [Behaviour("*", DEFAULT_TTL, LONGEST_TTL)]


@pytest.mark.parametrize(
    ("url", "pattern"),
    [("/*", "*"), ("/a/**b", "/a/*b"), ("a", "/a"), (None, "*"), ("/~u/$+@:&'\"", "/~u/$+@:&'\"")],
)
def test_a_url_is_a_pattern(url: str | None, pattern: str) -> None:
    assert path_pattern(Rule("r", url)) == pattern


@pytest.mark.parametrize("url", ["/a?b=1", "/a b", "/ä", "/a%20b", "/" + 255 * "a"])
def test_a_url_that_cloudfront_cannot_match_is_refused_by_name(url: str) -> None:
    with pytest.raises(PermanentError, match="'the rule'"):
        path_pattern(Rule("the rule", url))


def test_too_many_behaviours_are_refused() -> None:
    many = [f"/{number}/*" for number in range(76)]

    assert len(behaviours(caching(t1=many[:75]))) == 76
    with pytest.raises(PermanentError, match="76 behaviours"):
        behaviours(caching(t1=many))


def test_many_overlapping_paths_are_compared_quickly() -> None:
    patterns = [f"/{'a*' * 120}{number}" for number in range(100)]
    started = time.process_time()
    assert len(routes(origins(["/*"], patterns))) == 101
    assert time.process_time() - started < 5
