# SPDX-License-Identifier: Apache-2.0
"""What a node of the own edge does with services, with a real origin."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import time
from dataclasses import replace
from typing import Any

import pytest

from poppy.model.operations import Purge
from poppy.model.specs import Caching, Origin, Rule
from poppy.testing.builders import make_service
from tests.real.edge import Edge, edge, get, node, restricted, running, serve, web
from tests.real.origin import Origin as WebServer
from tests.real.visits import DOMAIN, until

pytestmark = pytest.mark.real
__all__ = ["edge", "get", "node", "running", "serve", "web"]


def test_content_is_fetched_once(serve: Any, get: Any, web: WebServer) -> None:
    serve()

    first, second = get("/page?q=1"), get("/page?q=1")

    assert (first.status, first.cache) == (200, "MISS")
    assert (second.status, second.cache) == (200, "HIT")
    assert second.body == f"origin {DOMAIN} /page?q=1 first"
    assert web.total == 1
    assert "x-poppy-service" not in second.headers
    assert {"age", "via"} <= second.headers.keys()


def test_hosts_match_regardless_of_case_and_port(serve: Any, get: Any) -> None:
    serve()

    assert get(host=DOMAIN.upper()).status == 200
    assert get(host=f"{DOMAIN}:8080").cache == "HIT"
    assert get(f"http://{DOMAIN}/").cache == "HIT"


def test_unknown_hosts_are_not_found(serve: Any, get: Any, web: WebServer) -> None:
    serve()

    assert get(host="www.other.example.com").status == 404
    assert get(host=f"x.{DOMAIN}").status == 404
    assert web.total == 0


def test_the_longest_caching_rule_sets_the_ttl(serve: Any, get: Any, web: WebServer) -> None:
    web.headers["Cache-Control"] = "max-age=5"
    serve(
        caching=(
            Caching("all", 1000, (Rule("all", "/*"),)),
            Caching("images", 2000, (Rule("images", "/images/*"), Rule("png", "/*.png"))),
            Caching("never", 0, (Rule("never", "/images/live/*"),)),
            Caching("short", 1, (Rule("short", "/short"),)),
        )
    )
    for path in ("/short", "/images/live/1", "/a", "/images/1", "/x/y.png"):
        get(path)

    assert get("/a").cache == get("/images/1").cache == get("/x/y.png").cache == "HIT"
    assert get("/images/live/1").cache == "MISS"
    time.sleep(1.1)
    get("/short")
    until(lambda: web.requests[DOMAIN, "/short"] == 2)
    assert web.requests[DOMAIN, "/a"] == 1


def test_an_object_replaces_many_small_ones(serve: Any, get: Any, web: WebServer) -> None:
    serve(caching=(Caching("all", 3600, (Rule("all", "/*"),)),))
    web.padding = 64 * 1024
    for number in range(600):
        get(f"/{number}")
    web.padding = 15 * 1024 * 1024

    first, second = get("/large"), get("/large")

    assert len(first.body) == len(second.body) > web.padding
    assert (first.cache, second.cache) == ("MISS", "HIT")


def test_standard_methods_pass_and_others_are_refused(
    serve: Any, get: Any, web: WebServer
) -> None:
    serve()
    get("/form")

    assert get("/form", method="POST", Content_Length="0").cache == "MISS"
    assert get("/form", method="HEAD").cache == "HIT"
    assert get("/form", method="PURGE").status == get("/form", method="BAN").status == 405
    assert get("/form").cache == "HIT"
    assert web.total == 2


def test_rules_choose_the_origin_and_its_host_header(serve: Any, get: Any, web: WebServer) -> None:
    with WebServer("images") as images, WebServer("api") as api:
        serve(
            origins=(
                Origin(
                    web.address,
                    hostheadertype="custom",
                    hostheadervalue="main.example.com",
                    rules=(Rule("default", "/*"),),
                ),
                Origin(images.address, hostheadertype="origin", rules=(Rule("i", "/images/*"),)),
                Origin(api.address, rules=(Rule("a", "/images/api/*"), Rule("b", "/exact"))),
            )
        )

        assert get("/page").body.startswith("origin main.example.com /page")
        assert get("/images/1").body.startswith(f"images {images.address} /images/1")
        assert get("/images/api/1").body.startswith(f"api {DOMAIN} /images/api/1")
        assert get("/exact?query").body.startswith(f"api {DOMAIN} /exact?query")
        assert get("/exact/not").body.startswith("origin ")
        assert get("/images/../page").status == 400


def test_expensive_pattern_does_not_bypass_a_rule(serve: Any, get: Any) -> None:
    worst = "/" + "*a" * 100 + "b*c"
    rules = restricted("blacklist", Rule("w", request_url=worst, client_ip="127.0.0.0/8"))
    serve(restrictions=rules)

    assert get("/" + "a" * 4000 + "bc").status == 403
    assert get("/" + "%61" * 1300 + "bc").status == 403
    assert get("/" + "a" * 5000 + "bc").status == 414


def test_hard_purge_evicts_matching_objects(
    edge: Edge, serve: Any, get: Any, web: WebServer
) -> None:
    service = serve(domains=[DOMAIN, "www.b.example.com"])
    other = make_service(domains=["www.c.example.com"])
    other = replace(other, spec=replace(other.spec, origins=service.spec.origins))
    edge.ensure(other)
    paths = ("/a", "/a?q=1", "/ab", "/dir/x")
    hosts = (DOMAIN, "www.b.example.com", "www.c.example.com")

    def missing() -> set[tuple[str, str]]:
        return {(h, p) for h in hosts for p in paths if get(p, host=h).cache == "MISS"}

    assert len(missing()) == 12
    edge.purge(service, Purge("/a", hard=True))
    assert missing() == {(h, p) for h in hosts[:2] for p in ("/a", "/a?q=1")}
    edge.purge(service, Purge("/a?q=1", hard=True))
    assert missing() == {(h, "/a?q=1") for h in hosts[:2]}
    edge.purge(service, Purge("/dir/*", hard=True))
    assert missing() == {(h, "/dir/x") for h in hosts[:2]}
    edge.purge(service, Purge(None, hard=True))
    assert missing() == {(h, p) for h in hosts[:2] for p in paths}


def test_soft_purge_serves_stale_once_and_revalidates(
    edge: Edge, serve: Any, get: Any, web: WebServer
) -> None:
    service = serve()
    for path in ("/a", "/b"):
        get(path)

    edge.purge(service, Purge("/a", hard=False))

    stale = get("/a")
    assert (stale.status, stale.cache) == (200, "HIT")
    until(lambda: web.not_modified == 1)
    time.sleep(0.1)
    assert get("/a").cache == get("/b").cache == "HIT"
    assert web.requests == {(DOMAIN, "/a"): 2, (DOMAIN, "/b"): 1}

    web.content = "second"
    edge.purge(service, Purge(None, hard=False))
    assert get("/a").body.endswith("first")
    until(lambda: get("/a").body.endswith("second"))
    get("/b")
    until(lambda: get("/b").body.endswith("second"))


def test_soft_purge_keeps_objects_while_the_origin_is_down(
    edge: Edge, serve: Any, get: Any, web: WebServer
) -> None:
    service = serve()
    get("/a")
    edge.purge(service, Purge(None, hard=False))
    web.stop()
    try:
        for _ in range(4):
            assert (get("/a").status, get("/a").cache) == (200, "HIT")
            time.sleep(0.05)
        assert get("/never-seen").status == 503
        web.start()
        web.status = 500

        def served_while_asked() -> bool:
            assert get("/a").status == 200
            return web.requests[DOMAIN, "/a"] >= 4

        until(served_while_asked)
        web.status = 200
        web.content = "second"
        until(lambda: get("/a").body.endswith("second"))
    finally:
        web.stop()
        web.start()


def test_an_update_keeps_soft_purges(edge: Edge, serve: Any, get: Any, web: WebServer) -> None:
    service = serve()
    get("/a")
    edge.purge(service, Purge("/a", hard=False))
    caching = (Caching("other", 500, (Rule("other", "/x/*"),)),)

    edge.ensure(replace(service, spec=replace(service.spec, caching=caching)))

    get("/a")
    until(lambda: web.requests[DOMAIN, "/a"] == 2)


def test_services_with_the_same_origin_share_no_objects(
    serve: Any, get: Any, web: WebServer
) -> None:
    serve()
    serve(domains=["www.b.example.com"])
    get("/a")

    assert get("/a", host="www.b.example.com").cache == "MISS"
