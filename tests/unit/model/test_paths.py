# SPDX-License-Identifier: Apache-2.0
"""Equivalent paths have one canonical form, which agrees with the edges."""

import re
import time
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.model import paths
from poppy.provider import patterns

TEXTS = st.text("ab/*%2?A.~ 6#", max_size=12).map(lambda text: f"/{text}")


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("a", "/a"),
        ("//a///b", "/a/b"),
        ("/%61%2f%62", "/a/b"),
        ("/%2a", "/%2A"),
        ("/%3f", "/%3F"),
        ("/%23", "/%23"),
        ("/%2561", "/%2561"),
        ("/%%361", "/%2561"),
        ("/%c3%A9", "/%C3%A9"),
        ("/a?b?c", "/a?b%3Fc"),
        ("***", "/*"),
    ],
)
def test_the_canonical_form(url: str, form: str) -> None:
    assert paths.canonical(url) == form


@given(TEXTS)
def test_the_canonical_form_is_idempotent(url: str) -> None:
    form = paths.canonical(url)
    assert paths.canonical(form) == form


@settings(max_examples=300)
@given(TEXTS, TEXTS)
def test_equivalent_paths_match_the_same_requests(one: str, other: str) -> None:
    """If the forms differ, so do the expressions."""
    same = paths.canonical(one) == paths.canonical(other)
    assert same == (patterns.url_regex(one) == patterns.url_regex(other))


@settings(max_examples=500)
@given(st.text("ab/.%25cCeE\\;01", max_size=10).map(lambda text: f"/{text}"))
def test_refused_paths_are_those_that_the_edge_refuses(url: str) -> None:
    """However a client writes such a path, the edge refuses the request."""
    encoded = quote(unquote_to_bytes(url), safe="/")
    refused = re.search(paths.DOT_SEGMENTS, encoded) or re.search(paths.AMBIGUOUS, encoded)
    assert (paths.problem(url) is not None) == bool(refused)


def test_a_long_path_is_fast() -> None:
    started = time.process_time()
    for text in ("%" * 100000, "*/" * 50000, "%61" * 30000, "/" * 100000):
        assert paths.problem(text) is None
    assert time.process_time() - started < 5
