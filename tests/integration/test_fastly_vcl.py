# SPDX-License-Identifier: Apache-2.0
"""Decisions of the snippets and conditions for Fastly, run by a real Varnish."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from poppy.model import headers
from poppy.model.document.origins import SecretHeader
from poppy.model.secrets import Secret
from poppy.model.specs import (
    Caching,
    Origin,
    Restriction,
    Rule,
    ServiceSpec,
)
from poppy.provider.fastly.configuration import Settings, digest, wanted
from poppy.provider.fastly.dictionaries import dictionary
from poppy.testing.builders import make_spec
from tests.real.fastly_edge import BOILERPLATES, simulated
from tests.real.origin import Origin as WebServer
from tests.real.varnish import Varnish
from tests.real.visits import DOMAIN, Answer, ask
from tests.unit.provider.fastly.services import whole_service

pytestmark = pytest.mark.real

HERE = "127.0.0.0/8"


@pytest.fixture(scope="module")
def node() -> Iterator[Varnish]:
    with Varnish(vcc_allow_inline_c="on") as running:
        yield running


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _as_new(web: WebServer) -> None:
    web.content, web.status = "first", 200
    web.headers.clear()
    web.requests.clear()


def load(
    node: Varnish, web: WebServer, spec: ServiceSpec, boilerplate: str = "custom VCL"
) -> None:
    objects = wanted(spec, Settings())
    name = f"v{digest(objects)}_{list(BOILERPLATES).index(boilerplate)}"
    if name not in node.admin("vcl.list"):
        secrets = dictionary(spec)
        tables = {secrets.name: {key: it.sealed for key, it in secrets.secrets.items()}}
        node.load(name, simulated(objects, lambda _: web.address, boilerplate, tables))
    node.use(name)
    node.admin("ban", "obj.status", "!=", "0")


OPEN = replace(whole_service().spec, restrictions=())


def test_most_specific_rule_chooses_origin_and_ttl(node: Varnish, web: WebServer) -> None:
    load(node, web, OPEN)

    def found(path: str) -> tuple[str, str | None]:
        headers = ask(node, path).headers
        return headers["x-origin"][-1], headers.get("x-ttl")

    assert found("/") == ("0", "3600")
    assert found("/static/a?v=1") == ("1", "3600")
    assert found("/%73tatic/b") == ("1", "3600")
    assert found("/any/where.png") == ("1", "3600")
    assert found("/news/today") == ("0", "30")
    assert found("/login") == ("0", "pass")
    assert found("/login/x") == ("0", "3600")


def test_origins_get_their_path_and_secret_field_only(node: Varnish, web: WebServer) -> None:
    secret = SecretHeader("X-Edge", Secret("0" * 8, "s%22cret"))
    origins = (
        Origin("a.example.com", path="/site"),
        Origin("b.example.com", rules=(Rule("b", "/b/*"),), path="/x/", secret_header=secret),
    )
    # The generated VCL tries again after a 503.
    load(node, web, make_spec(domains=[DOMAIN], origins=origins), "generated VCL")
    web.fields.clear()

    ask(node, "/a?q", X_Edge="forged")
    ask(node, "/b/c", X_Edge="forged")
    ask(node, "/a?q", method="POST", X_Edge="forged", Content_Length="0")
    web.status = 503
    ask(node, "/b/d")

    assert {path for _, path in web.requests} == {"/site/a?q", "/x/b/c", "/x/b/d"}
    found = [dict(fields).get("X-Edge") for fields in web.fields]
    assert found[:3] == [None, "s%22cret", None]
    assert set(found[3:]) == {"s%22cret"}


def test_responses_to_credentials_are_not_shared(node: Varnish, web: WebServer) -> None:
    load(node, web, OPEN)

    mine = ask(node, "/account", Authorization="Basic mine")
    again = ask(node, "/account", Authorization="Basic mine")
    theirs = ask(node, "/account", Authorization="Basic theirs")
    anybodys = ask(node, "/account")

    assert [answer.cache for answer in (mine, again, theirs, anybodys)] == [
        "MISS",
        "HIT",
        "MISS",
        "MISS",
    ]


def test_paths_with_dot_segments_are_refused(node: Varnish, web: WebServer) -> None:
    load(node, web, OPEN)
    assert [ask(node, path).status for path in ("/a/../b", "/a/%2e%2e/b", "/a/./b")] == [400] * 3
    assert ask(node, "/a/..b").status == 200


def test_purges_require_authentication(node: Varnish, web: WebServer) -> None:
    load(node, web, whole_service().spec)

    # Restrictions do not apply to purges, which Fastly sends from any address.
    purge = ask(node, "/static/a", method="FASTLYPURGE")
    other = ask(node, "/static/a")

    assert (purge.status, purge.headers.get("x-requires-auth")) == (200, "1")
    assert (other.status, other.headers.get("x-requires-auth")) == (403, "")


def restricted(node: Varnish, web: WebServer, access: str, *rules: Rule) -> None:
    restrictions = (Restriction("r", access, rules),)
    load(node, web, make_spec(domains=["www.a.example.com"], restrictions=restrictions))


def test_rule_kinds_are_independent_and_rules_of_a_kind_add_up(
    node: Varnish, web: WebServer
) -> None:
    restricted(
        node,
        web,
        "whitelist",
        Rule("a", "/*", referrer="a.example.com"),
        Rule("b", "/*", referrer="b.example.com"),
        Rule("c", "/local/*", geography="Canada"),
    )

    def status(path: str, **headers: str) -> int:
        return ask(node, path, **headers).status

    assert status("/page", Referer="http://b.example.com/") == 200
    assert status("/page", Referer="http://c.example.com/") == 403
    assert status("/local/page", Referer="http://b.example.com/") == 403
    assert status("/local/page", Referer="http://b.example.com/", X_Test_Country="CA") == 200
    assert status("/local/page", X_Test_Country="CA") == 403


def test_forged_poppy_fields_are_ignored(node: Varnish, web: WebServer) -> None:
    load(node, web, OPEN)
    forged = {"X-Poppy-Origin": "1", "X-Poppy-Caching": "1", "X-Poppy-Verdict": "refused"}

    answer: Answer = ask(node, "/forged", **forged)

    assert (answer.status, answer.headers["x-origin"][-1]) == (200, "0")
    assert answer.headers["x-ttl"] == "3600"


def test_untrusted_header_fields_do_not_reach_the_origin(node: Varnish, web: WebServer) -> None:
    load(node, web, OPEN)
    web.fields.clear()
    names = list(headers.UNTRUSTED) + headers.respellings("X-Forwarded-Host")
    for start in range(0, len(names), 25):
        ask(node, f"/{start}", **{name: "evil" for name in names[start : start + 25]})

    assert web.fields
    assert "evil" not in str(web.fields)
    assert ("X-Forwarded-For", "127.0.0.1") in web.fields[0]


def test_ambiguous_targets_are_refused(node: Varnish, web: WebServer) -> None:
    load(node, web, OPEN)
    targets = ("/a%5Cb", "/a%00", "/a%zz", "/a#b", "/a/..;/b", "a/b", "https://www.a.test/b")
    assert [ask(node, target).status for target in targets] == [400] * len(targets)


def test_every_kind_of_pattern_compiles(node: Varnish, web: WebServer) -> None:
    paths = ("/a%20b", "/*.jpg", "/s?q=1", '/"quoted"', "/a*b*c", "/%41%25", "/~(x)[y]{z}")
    rules = tuple(Rule(path, path) for path in paths)
    caching = (Caching("some", 7, rules),)
    origins = (Origin("a.example.com"), Origin("b.example.com", rules=rules))
    load(node, web, make_spec(caching=caching, origins=origins))

    for path in ("/a%20b", "/x.jpg", "/s?q=1", "/%22quoted%22", "/a1b2c", "/A%25"):
        headers = ask(node, path).headers
        assert (headers["x-origin"][-1], headers["x-ttl"]) == ("1", "7"), path
    assert ask(node, "/s?q=2").headers["x-origin"][-1] == "0"
