# SPDX-License-Identifier: Apache-2.0
"""Which origin a request reaches through CloudFront, and for how long its answer is cached."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from poppy.model.specs import Caching, Origin, Rule, ServiceSpec
from poppy.provider.cloudfront.distribution import Settings, Viewer, config, plan
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.provider.cloudfront.programs import LONGEST_CODE
from poppy.provider.patterns import specificity
from poppy.testing.builders import make_service, make_spec
from tests.real.cloudfront import (  # noqa: F401
    Account,
    account,
    moto,
    one_account,
    one_provider,
    provider,
    server,
    settle,
)
from tests.real.cloudfront_edge import Fetch, Request, fetches, matches, normal

pytestmark = pytest.mark.real

#: TTLs without a caching rule: the longest that an origin may ask for.
UNSAID = 31536000
EXTENSIONS = [f"type{number}" for number in range(27)]
T = TypeVar("T")


def rules(*urls: str) -> tuple[Rule, ...]:
    return tuple(Rule(url, url) for url in urls)


def reached(spec: ServiceSpec, requests: Sequence[Request]) -> list[Fetch | int]:
    compiled = plan(spec)
    made = config(compiled, Viewer(), ["arn:function"], Settings())
    return fetches(made, compiled.codes[0], requests)


def best(path: str, patterns: dict[str, T], otherwise: T) -> T:
    """Return the value of the most specific pattern that matches."""
    fitting = sorted((one for one in patterns if matches(one, path)), key=specificity)
    return patterns[fitting[0]] if fitting else otherwise


def test_many_origins_and_caching_paths_add_up(
    provider: CloudFrontProvider, account: Account
) -> None:
    """Three origins and 28 caching paths would need 82 behaviours for all pairs."""
    apps = [
        Origin(f"o{number}.example.net", 443, True, "origin", rules=rules(f"/app{number}/*"))
        for number in (1, 2)
    ]
    caching = [Caching(name, 86400, rules(f"/*.{name}")) for name in EXTENSIONS]
    spec = make_spec(
        ["www.big.example.com"],
        origins=(Origin("o0.example.net", rules=rules("/*")), *apps),
        caching=(Caching("default", 60, rules("/*")), *caching),
    )
    service = make_service(spec=spec)

    settle(provider, service)

    made = account.config(service)
    assert made["CacheBehaviors"]["Quantity"] == len(EXTENSIONS)
    paths = ("/app1/a.type0", "/app2/a", "/a.type26", "/app1", "/app1/")
    found = fetches(made, account.code(service), [Request(path) for path in paths])
    assert found == [
        Fetch("https://o1.example.net:443/app1/a.type0", "o1.example.net", 86400),
        Fetch("https://o2.example.net:443/app2/a", "o2.example.net", 60),
        Fetch("http://o0.example.net:80/a.type26", "www.example.com", 86400),
        Fetch("http://o0.example.net:80/app1", "www.example.com", 60),
        Fetch("https://o1.example.net:443/app1/", "o1.example.net", 60),
    ]


def test_the_most_specific_path_chooses_the_origin_and_the_ttl() -> None:
    dice = random.Random(11)

    def text(letters: str, most: int) -> str:
        return "/" + "".join(dice.choices(letters, k=dice.randrange(most)))

    for _ in range(25):
        patterns = sorted({re.sub(r"\*+", "*", text("ab/*", 6)) for _ in range(24)} - {"/*"})
        dice.shuffle(patterns)
        by_origin = {pattern: number % 5 for number, pattern in enumerate(patterns[:12])}
        by_ttl = {pattern: number for number, pattern in enumerate(patterns[8:], 1)}
        origins = [
            Origin(f"o{n}.example.net", rules=rules(*(p for p in by_origin if by_origin[p] == n)))
            for n in range(5)
        ]
        caching = tuple(Caching(p, ttl, rules(p)) for p, ttl in by_ttl.items())
        paths = sorted({text("ab/", 9) for _ in range(80)})

        spec = make_spec(origins=tuple(origins), caching=caching)
        found = reached(spec, [Request(path) for path in paths])

        for path, fetch in zip(paths, found, strict=True):
            one, ttl = best(normal(path), by_origin, 0), best(normal(path), by_ttl, UNSAID)
            expected = Fetch(f"http://o{one}.example.net:80{path}", "www.example.com", ttl)
            assert fetch == expected, (patterns, path)


@pytest.mark.parametrize(
    ("path", "is_app"),
    [
        ("/app/x", True),
        ("//app///x", True),
        ("/%61pp/x", True),
        ("/a%70%70/%2e", True),
        ("/x/../app/x", True),
        ("/x/%2E%2e/app/x", True),
        ("/./app/x", True),
        ("/../app/x", True),
        ("/app/..", False),
        ("/app/../x", False),
        ("/app%2Fx", False),
        ("/App/x", False),
        ("/app", False),
        ("/%zz/app/x", False),
    ],
)
def test_origin_and_ttl_belong_to_the_same_path(path: str, is_app: bool) -> None:
    spec = make_spec(
        origins=(
            Origin("a.example.net", rules=rules("/*")),
            Origin("b.example.net", rules=rules("/app/*")),
        ),
        caching=(Caching("app", 7, rules("/app/*")),),
    )
    (found,) = reached(spec, [Request(path)])

    name, ttl = ("b", 7) if is_app else ("a", UNSAID)
    assert found == Fetch(f"http://{name}.example.net:80{path}", "www.example.com", ttl)


@pytest.mark.parametrize("other", ["domain", "origin", "custom"])
@pytest.mark.parametrize("first", ["domain", "origin", "custom"])
def test_each_origin_gets_its_own_host_header(first: str, other: str) -> None:
    origins = [
        Origin(
            f"{name}.example.net",
            *(443, True, kind),
            f"{name}.example.org" if kind == "custom" else None,
            rules(url),
        )
        for name, kind, url in (("a", first, "/*"), ("b", other, "/b/*"))
    ]
    expected = {
        "domain": "www.example.com",
        "origin": "{}.example.net",
        "custom": "{}.example.org",
    }

    found = reached(make_spec(origins=tuple(origins)), [Request("/"), Request("/b/c")])

    assert found == [
        Fetch("https://a.example.net:443/", expected[first].format("a"), UNSAID),
        Fetch("https://b.example.net:443/b/c", expected[other].format("b"), UNSAID),
    ]


@pytest.mark.parametrize("kind", ["domain", "origin", "custom"])
def test_single_origin_gets_the_chosen_host_header(kind: str) -> None:
    value = "host.example.org" if kind == "custom" else None
    origin = Origin("a.example.net", 80, False, kind, value, rules("/*", "/a/*"))
    expected = {"domain": "www.example.com", "origin": "a.example.net", "custom": value}

    (found,) = reached(make_spec(origins=(origin,)), [Request("/a/b")])

    assert found == Fetch("http://a.example.net:80/a/b", str(expected[kind]), UNSAID)


def test_one_server_may_be_two_origins_with_different_host_headers() -> None:
    one = Origin("a.example.net", 80, False, "origin", rules=rules("/*"))
    origins = (one, replace(one, hostheadertype="domain", rules=rules("/b/*")))

    found = reached(make_spec(origins=origins), [Request("/"), Request("/b/")])

    assert [fetch.host for fetch in found if isinstance(fetch, Fetch)] == [
        "a.example.net",
        "www.example.com",
    ]


def test_ten_origins_with_five_long_paths_each_fit_the_function() -> None:
    origins = tuple(
        Origin(
            f"o{number}.example.net",
            rules=rules(*(f"/{'part-of-a-path/' * 4}{number}-{n}/*" for n in range(5))),
        )
        for number in range(10)
    )
    caching = tuple(Caching(name, 1, rules(f"/*.{name}")) for name in EXTENSIONS)
    spec = make_spec(origins=origins, caching=caching)

    assert len(plan(spec).codes[0]) <= LONGEST_CODE
    path = f"/{'part-of-a-path/' * 4}7-3/x.type9"
    (found,) = reached(spec, [Request(path)])
    assert found == Fetch(f"http://o7.example.net:80{path}", "www.example.com", 1)
