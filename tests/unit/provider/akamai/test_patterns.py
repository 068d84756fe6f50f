# SPDX-License-Identifier: Apache-2.0
"""Comparison of patterns, checked against all short paths."""

import itertools
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.common.errors import PermanentError
from poppy.model.specs import Rule
from poppy.provider.akamai.patterns import overlap, path_pattern, specificity
from poppy.provider.patterns import covers

_PATHS = ["".join(path) for n in range(5) for path in itertools.product("ab", repeat=n)]
_patterns = st.text("ab*", max_size=4).map(lambda text: re.sub(r"\*+", "*", text))


def matches(pattern: str) -> set[str]:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return {path for path in _PATHS if re.fullmatch(expression, path)}


@settings(max_examples=300, deadline=None)
@given(_patterns, _patterns)
def test_overlap_and_covers_agree_with_matching_all_paths(one: str, other: str) -> None:
    # Patterns have at most four characters, so some path of four shows any overlap.
    if matches(one) & matches(other):
        assert overlap(one, other)
    if covers(one, other):
        assert matches(other) <= matches(one)
    assert overlap(one, other) == overlap(other, one)
    if not overlap(one, other):
        assert not matches(one) & matches(other)


@pytest.mark.parametrize(
    ("pattern", "other", "does"),
    [
        ("/*", "/a/*", True),
        ("/a/*", "/*", False),
        ("/a/*", "/a/*.jpg", True),
        ("/*.jpg", "/a/*", False),
        ("/*/b/*/c", "/x/b/y/b/z/c", True),
        ("/a", "/a", True),
        ("/a*a", "/a", False),
    ],
)
def test_covers(pattern: str, other: str, does: bool) -> None:
    assert covers(pattern, other) is does


def test_the_longest_patterns_are_fast() -> None:
    started = time.process_time()
    for number in range(10000):
        assert overlap("/" + "a*" * 500, f"/{'*a' * 500}")
        assert not overlap(f"/a{number}" + "a*" * 500, "/b" + "*a" * 500)
    assert time.process_time() - started < 5


def test_invalid_utf8_is_refused() -> None:
    for url in ("/%ff", "/%FE*"):
        with pytest.raises(PermanentError, match="can't match the characters"):
            path_pattern(Rule("r", url))


def test_of_two_patterns_the_one_with_more_characters_is_more_specific() -> None:
    found = sorted(["/images/*", "/*", "/images/a", "/*.css"], key=specificity)
    assert found == ["/*", "/*.css", "/images/*", "/images/a"]


def test_a_slash_is_added_and_repeated_stars_are_merged() -> None:
    assert path_pattern(Rule("r", "a/**")) == "/a/*"
    assert path_pattern(Rule("r")) == "/*"


def test_a_query_cannot_be_matched() -> None:
    with pytest.raises(PermanentError, match="Rule 'r'.*does not match queries"):
        path_pattern(Rule("r", "/a?b=*"))


def test_a_path_is_decoded() -> None:
    assert path_pattern(Rule("r", "//a%20b//%C3%BC/*")) == "/a b/ü/*"


@pytest.mark.parametrize("url", ["/a%2A", "/%3fb", "/{{builtin.AK_HOST}}", "/%7b%7Bx"])
def test_special_characters_of_akamai_are_refused(url: str) -> None:
    with pytest.raises(PermanentError, match="Rule 'r'.*can't match the characters"):
        path_pattern(Rule("r", url))
