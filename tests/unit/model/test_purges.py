# SPDX-License-Identifier: Apache-2.0
"""Purges by path, tag, prefix and host, as requests ask for them and as they are stored."""

import pytest

from poppy.common.errors import InvalidRequest
from poppy.model.purges import MAX_TARGETS, Purge, requested

TAGS = Purge(None, True, tags=("a", "b"))
PREFIX = Purge(None, True, prefix="/a/")
HOST = Purge(None, True, host="www.example.com")


@pytest.mark.parametrize(
    ("asked", "purge"),
    [
        ({"urls": ["/a", "b", "/a"]}, Purge("/a", True, ("/b",))),
        ({"tags": ["b", "a:1/~", "b"]}, Purge(None, True, tags=("b", "a:1/~"))),
        ({"tags": ["x" * 256]}, Purge(None, True, tags=("x" * 256,))),
        ({"prefix": "a//%62/"}, Purge(None, True, prefix="/a/b/")),
        ({"prefix": "/1/2/3/4/5/6/7/8/"}, Purge(None, True, prefix="/1/2/3/4/5/6/7/8/")),
        ({"prefix": "/"}, Purge(None, True)),
        ({"host": "WWW.example.com"}, HOST),
    ],
)
def test_repeated_values_count_once_and_paths_are_canonical(asked, purge):
    assert requested(True, **asked) == purge


@pytest.mark.parametrize(
    ("asked", "offender"),
    [
        ({"urls": ["/a"] * (MAX_TARGETS + 1)}, "'url'"),
        ({"urls": ["/a", "http://x/"]}, "url"),
        ({"tags": ["a"] * (MAX_TARGETS + 1)}, "'tag'"),
        ({"tags": ["a,b"]}, "tag 'a,b'"),
        ({"tags": ["a b"]}, "tag 'a b'"),
        ({"tags": ["\xe9"]}, "tag"),
        ({"tags": ["x" * 257]}, "tag 'x"),
        ({"tags": [""]}, "tag ''"),
        ({"prefix": "/a"}, "prefix"),
        ({"prefix": "/a*/"}, "prefix"),
        ({"prefix": "/a/?/"}, "prefix"),
        ({"prefix": "/../"}, "prefix"),
        ({"prefix": "/1/2/3/4/5/6/7/8/9/"}, "prefix"),
        ({"prefix": f"/{'x' * 255}/"}, "prefix"),
    ],
)
def test_an_invalid_value_is_refused_by_name(asked, offender):
    with pytest.raises(InvalidRequest, match=offender):
        requested(True, **asked)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (TAGS, Purge(None, True, tags=("c", "a")), Purge(None, True, tags=("a", "b", "c"))),
        (TAGS, Purge(None, True), Purge(None, True)),
        (Purge(None, True), PREFIX, Purge(None, True)),
        (PREFIX, PREFIX, PREFIX),
        (HOST, HOST._replace(host="img.example.com"), None),
        (TAGS, TAGS._replace(hard=False), None),
        (TAGS, Purge("/a", True), None),
        (Purge("/a", True), PREFIX, None),
        (TAGS, Purge(None, True, tags=tuple(map(str, range(MAX_TARGETS)))), None),
    ],
)
def test_only_purges_of_the_same_scope_are_joined(first, second, both):
    assert first.joined(second) == both


@pytest.mark.parametrize("purge", [TAGS, PREFIX, HOST])
def test_the_previous_release_reads_another_scope_as_everything(purge):
    stored = purge.to_dict()
    assert Purge.from_dict(stored) == purge
    assert (stored["url"], stored.get("more")) == (None, None)
    assert not purge.covers_all
    assert purge.single() == (purge,)
