# SPDX-License-Identifier: Apache-2.0
"""What a purge covers at Akamai."""

import pytest

from poppy.model.document.caching import CacheKey
from poppy.model.operations import Purge
from poppy.model.specs import Caching, Rule
from poppy.provider.akamai import ccu, tags
from poppy.provider.akamai.ccu import Scope
from tests.real.akamai_interpreter import Client, outcome
from tests.unit.provider.akamai.test_caching import errors_of
from tests.unit.provider.akamai.test_rules import spec

EVERYTHING = [Scope("cpcode", [17])]


@pytest.mark.parametrize(
    ("purge", "covered"),
    [
        (Purge(None, True, tags=("blue", "a/b")), ["tag-blue", "tag-a/b"]),
        (Purge(None, True, host="www.a.example"), ["host-www.a.example"]),
        (Purge(None, True, prefix="/a/b/"), ["tree-/a/b/", "odd"]),
        (Purge(None, True, tags=("a:b", "(c)")), ["tag-a+b", "tag-+c+"]),
        (Purge(None, True, prefix="/a%20b/%C3%A9/"), ["tree-/a+b/+/", "odd"]),
        (Purge("/a//%62/*", True), ["tree-/a/b/", "odd"]),
        (Purge("/a/*", True), ["tree-/a/", "odd"]),
        (Purge("/a/*", True, ("/b/*",)), ["tree-/a/", "odd", "tree-/b/", "odd"]),
    ],
)
def test_tags_of_a_purge_belong_to_the_service(purge: Purge, covered: list[str]) -> None:
    assert ccu.scopes(spec(), 17, purge) == [Scope("tag", [f"poppy-17-{it}" for it in covered])]


@pytest.mark.parametrize(
    "purge",
    [
        Purge(None, True),
        Purge("/*", True),
        Purge("/a/*.png", True),
        Purge("/a/*?b", True),
        Purge(None, True, tags=("blue", "x" * 120)),
        Purge("/" + "x" * 120, True),
        Purge(None, True, host="a" * 60 + ".b" * 40),
        Purge("/x" * 9 + "/*", True),
    ],
)
def test_what_no_tag_covers_is_purged_with_the_whole_service(purge: Purge) -> None:
    assert ccu.scopes(spec(), 17, purge) == EVERYTHING


def test_a_path_is_purged_with_any_query() -> None:
    document = spec()
    url = f"http://{document.domains[0].domain}/a"
    assert ccu.scopes(document, 17, Purge("/a", True)) == [
        Scope("url", [url]),
        Scope("tag", ["poppy-17-path-/a"]),
    ]
    assert ccu.scopes(document, 17, Purge("/a?b=1", True)) == [Scope("url", [f"{url}?b=1"])]


def test_content_with_another_cache_key_is_purged_by_its_tags() -> None:
    entry = Caching("all", 60, (Rule("all", "/*"),), key=CacheKey("none"))
    found = ccu.scopes(spec(caching=(entry,)), 17, Purge("/a?b=1", True))
    assert found[1:] == [Scope("tag", ["poppy-17-path-/a"])]


def tagged(path: str, **response: str) -> set[str]:
    """Return the tags of a response without the service's prefix."""
    fields = {name.replace("_", "-"): value for name, value in response.items()}
    client = Client(path, host="WWW.a.example", response=fields)
    tree = {"behaviors": [], "children": tags.rules(17)}
    found = outcome(tree, client)
    own = [client.variables.filled(it["tag"]) for it in found["cacheTag"]]
    edits = found.get("modifyIncomingResponseHeader", [])
    sent = client.variables.filled(edits[-1]["newHeaderValue"]).split(", ") if edits else []
    return {it.removeprefix("poppy-17-") for it in (*own, *sent)}


def test_content_is_tagged_with_its_place() -> None:
    assert tagged("/a//b/c.png") == {
        "host-www.a.example",
        "path-/a/b/c.png",
        "tree-/a/",
        "tree-/a/b/",
    }
    assert tagged("/%61/x,y") == {"host-www.a.example", "path-/a/x+y", "tree-/a/"}
    assert tagged("/a%20b/%C3%A9%C3%A9,x") == {"host-www.a.example", "path-/a+b/+x", "tree-/a+b/"}
    assert "odd" in tagged("/a/../b") and "odd" not in tagged("/a/..b")


def test_tags_of_both_fields_of_the_origin_count() -> None:
    found = tagged("/", Cache_Tag="a,b:c , d", Surrogate_Key="e f")
    assert {it for it in found if it.startswith("tag-")} == {
        *("tag-a", "tag-b+c", "tag-d"),
        *("tag-e", "tag-f"),
    }


@pytest.mark.parametrize("tag", ["a,b", "a b", "a:b", ""])
def test_the_double_refuses_other_tags(tag: str) -> None:
    assert errors_of({"name": "cacheTag", "options": {"tag": "a"}}) == []
    assert errors_of({"name": "cacheTag", "options": {"tag": tag}})
