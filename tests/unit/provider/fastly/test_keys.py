# SPDX-License-Identifier: Apache-2.0
"""Surrogate keys: a purge uses the keys that an edge has set."""

import hashlib
import re

import pytest

from poppy.common.errors import PermanentError
from poppy.model.purges import Purge
from poppy.provider.fastly import keys


def marked(url: str) -> set[str]:
    """Return the keys that the snippet sets on an object, derived from the VCL text."""
    path = url.partition("?")[0]
    text = keys.marking()
    found = set(re.findall(r'"([^" ]*) ', text)[:1])
    for prefix, variable in re.findall(r'(poppy-\w+-)" digest\.hash_sha256\(([\w.]+)\)', text):
        values = {"req.url.path": path, "req.url": url, "req.http.host": "www.example.com"}
        value = values.get(variable)
        if value is not None:
            found.add(prefix + hashlib.sha256(value.encode()).hexdigest())
    tree = re.search(r'" (poppy-tree-)"', text)
    assert tree is not None
    for expression in re.findall(r'req\.url\.path ~ "([^"]+)"', text):
        directory = re.match(expression, path)
        if directory:
            found.add(tree[1] + hashlib.sha256(directory[1].encode()).hexdigest())
    return found


@pytest.mark.parametrize(
    ("purge", "url", "expected"),
    [
        (None, "/anything", True),
        ("/*", "/anything", True),
        ("/a", "/a", True),
        ("/a", "/a?q=1", True),
        ("/a", "/ab", False),
        ("/a", "/a/b", False),
        ("/a?q=1", "/a?q=1", True),
        ("/a?q=1", "/a?q=2", False),
        ("/a?q=1", "/a", False),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/", True),
        ("/a/*", "/a/b/c/d?q", True),
        ("/a/*", "/a", False),
        ("/a/*", "/b/a/c", False),
        ("/a/b/*", "/a/b/c", True),
        ("/a/b/*", "/a/c/b", False),
        ("/1/2/3/4/5/6/7/8/*", "/1/2/3/4/5/6/7/8/9/10", True),
    ],
)
def test_a_purge_key_matches_the_objects(purge: str | None, url: str, expected: bool) -> None:
    assert (keys.key(purge) in marked(url)) is expected


@pytest.mark.parametrize(
    ("purge", "url", "expected"),
    [
        (Purge("/x", True, ("/a",)), "/a?q=1", True),
        (Purge(None, True, prefix="/a/"), "/a/b", True),
        (Purge(None, True, prefix="/1/2/3/4/5/6/7/8/"), "/1/2/3/4/5/6/7/8/9/10", True),
        (Purge(None, True, prefix="/a/"), "/a", False),
        (Purge(None, True, host="www.example.com"), "/a", True),
        (Purge(None, True, host="img.example.com"), "/a", False),
        (Purge(None, True, tags=("poppy-x",)), "/a", False),
    ],
)
def test_the_keys_of_a_purge_match_the_objects(purge: Purge, url: str, expected: bool) -> None:
    assert bool(set(keys.covered(purge)) & marked(url)) is expected


@pytest.mark.parametrize("url", ["/*.jpg", "/a*", "/a/*/b", "/a?*", "/1/2/3/4/5/6/7/8/9/*"])
def test_a_pattern_without_a_key_is_refused(url: str) -> None:
    with pytest.raises(PermanentError, match=re.escape(url)):
        keys.key(url)


def test_keys_are_short_enough_for_fastly() -> None:
    longest = "/" + "/".join(str(number) * 50 for number in range(9)) + "?" + "q" * 3000
    assert all(len(key) <= 1024 for key in marked(longest))
    assert sum(len(key) + 1 for key in marked(longest)) < 1500
