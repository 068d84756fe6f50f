# SPDX-License-Identifier: Apache-2.0
"""Keys and bans of purges."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppy.edge.plane import purges
from poppy.model.purges import Purge


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (None, "s"),
        ("*", "s"),
        ("/", "s%2f"),
        ("/a//b%2Fc", "s%2fa%2fb%2fc"),
        ("/É-_.~", "s%2f%c3%89-_.~"),
        ("/a%2A?b=%2a", "s%2fa%2a?b%3d%2a"),
        ("/a?b=c?d", "s%2fa?b%3dc%3fd"),
        ("/a*", None),
        ("/a?*", None),
    ],
)
def test_keys(url: str | None, key: str | None) -> None:
    assert purges.key("s", url) == key


@pytest.mark.parametrize(
    ("purge", "keys", "patterns"),
    [
        (Purge(None, True), ["s"], []),
        (Purge("/a", True, ("/b*", "/c")), ["s%2fa", "s%2fc"], ["/b*"]),
        (Purge(None, True, tags=("a", "b%20#é/")), ["s#a", "s#b%2520%23%c3%a9%2f"], []),
        (Purge(None, True, prefix="/a/É/"), ["s*%2fa%2f%c3%89%2f"], []),
        (Purge(None, False, host="www.example.com"), ["s@www.example.com"], []),
        (Purge("/a/*", True), [], ["/a/*"]),
        (Purge("//a/*", False), ["s*%2fa%2f"], []),
        (Purge("/a*", False, ("/*/b/*", "/a?/*")), [], ["/a*", "/*/b/*", "/a?/*"]),
        (Purge("/1/2/3/4/5/6/7/8/9/*", False), [], ["/1/2/3/4/5/6/7/8/9/*"]),
    ],
)
def test_scopes(purge: Purge, keys: list[str], patterns: list[str]) -> None:
    assert purges.scope("s", purge) == (keys, patterns)


@given(st.text(alphabet="ab/*é", min_size=1, max_size=8), st.text(alphabet="ab/é", max_size=10))
def test_a_ban_agrees_with_the_plain_meaning_of_a_pattern(pattern: str, path: str) -> None:
    pattern, path = (re.sub("/+", "/", f"/{text}") for text in (pattern, path))
    plain = ".*".join(re.escape(part) for part in pattern.split("*"))
    service, _, expression = purges.ban("s", pattern).partition(" && ")
    name, _, regex = expression.partition(" ~ ")
    found = (purges.key("s", path) or "").removeprefix("s")

    assert (service, name) == ("obj.http.x-p-service == s", "obj.http.x-p-url")
    for url in (found, f"{found}?q", f"{found}%3bx"):
        assert bool(re.search(regex, url)) is bool(re.fullmatch(plain, path))


@given(st.text(min_size=1, max_size=60))
def test_a_tenant_s_text_is_one_word(text: str) -> None:
    assert re.fullmatch("[!-~]+", purges.key("s", text.replace("*", "x")) or "")
    *words, last = purges.ban("s", text).split(" ")
    assert " ".join(words) == "obj.http.x-p-service == s && obj.http.x-p-url ~"
    assert re.fullmatch("[!-~]+", last)
    re.compile(last)
