# SPDX-License-Identifier: Apache-2.0
"""Which answers Fastly keeps and for how long: the service's VCL, run by a real Varnish.

Each promise is checked with both kinds of Fastly's own code around the service's. These are in
addition to the edge contract (:mod:`tests.integration.test_edge_contract`): exact times, and what
only Fastly has.
"""

import time
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import pytest

from poppy.model.specs import Caching, Rule, ServiceSpec
from poppy.provider.fastly.configuration import Settings, wanted
from poppy.testing.builders import make_spec
from tests.real.fastly_edge import BOILERPLATES, simulated
from tests.real.origin import Origin as WebServer
from tests.real.varnish import Varnish
from tests.real.visits import ask, until

pytestmark = pytest.mark.real

GRACE = Settings().grace
#: The TTLs of rules; a rule applies to the paths below its TTL. Other paths have no rule.
TTLS = (0, 1, 10, 60, 3600)
_paths = (f"page{number}" for number in count())


class Promise(NamedTuple):
    """How Fastly caches a response.

    Attributes:
        fields: header fields of the origin's answer. A second line of a field differs in case.
        ttls: the TTLs of rules to check; None for a path without a rule.
        kept: seconds that the answer is kept and shared; None if it is never stored.
        status: of the origin's answer.
    """

    fields: dict[str, str]
    ttls: tuple[int | None, ...]
    kept: int | None
    status: int = 200


ALL = (None, 60)
PROMISES = [
    # The rule's TTL, then the origin's, then two minutes.
    Promise({}, (60,), 60),
    Promise({}, (3600,), 3600),
    Promise({"Cache-Control": "max-age=1"}, (60,), 60),
    Promise({"Cache-Control": "max-age=0"}, (60,), 60),
    Promise({}, (60,), 60, status=301),
    Promise({}, (None,), 120),
    Promise({"Cache-Control": "public"}, (None,), 120),
    Promise({}, (None,), 120, status=301),
    Promise({"Cache-Control": "max-age=1800"}, (None,), 1800),
    Promise({"Cache-Control": "max-age=1800, s-maxage=40"}, (None,), 40),
    Promise({"Cache-Control": "max-age=5", "Surrogate-Control": "max-age=50"}, (None,), 50),
    # Answers that belong to one client.
    Promise({"Cache-Control": "private", "Surrogate-Control": "max-age=50"}, ALL, None),
    Promise({"Surrogate-Control": "no-store"}, ALL, None),
    Promise({"Vary": "Accept", "vary": "*"}, ALL, None),
    # "Not found" for a minute at most.
    Promise({}, (3600, 60), 60, status=404),
    Promise({}, (None,), 120, status=404),
    Promise({"Cache-Control": "no-cache"}, ALL, None, status=404),
    Promise({}, (3600,), 60, status=410),
    # Temporary redirects for as long as the origin says, and no longer than the rule.
    Promise({}, ALL, None, status=302),
    Promise({"Cache-Control": "max-age=30"}, (None, 60), 30, status=302),
    Promise({"Cache-Control": "max-age=30"}, (10,), 10, status=302),
    Promise({"Cache-Control": "max-age=0"}, ALL, None, status=302),
    Promise({"Cache-Control": "private, max-age=30"}, ALL, None, status=302),
]


def _name(promise: Promise) -> str:
    fields = ", ".join(f"{name}: {value}" for name, value in promise.fields.items())
    return f"{promise.status} {fields or 'nothing'} -> {promise.kept}"


@pytest.fixture(scope="module", params=list(BOILERPLATES))
def node(request: pytest.FixtureRequest, web: WebServer) -> Iterator[Varnish]:
    settings = {"usual": Settings(), "forgiving": Settings(grace=1, stale_if_error=300)}
    # By default Varnish waits for up to ten seconds until it tries to connect again.
    node = Varnish(backend_local_error_holddown=0, backend_remote_error_holddown=0)
    with node as running:
        for name, chosen in settings.items():
            objects = wanted(spec(), chosen)
            running.load(name, simulated(objects, lambda _: web.address, request.param))
        running.use("usual")
        yield running


@pytest.fixture
def forgiving(node: Varnish) -> Iterator[Varnish]:
    """A node that serves stale for a second, and for five minutes if the origin fails."""
    node.use("forgiving")
    yield node
    node.use("usual")


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _as_new(web: WebServer) -> None:
    web.content, web.status, web.padding = "first", 200, 0
    web.headers.clear()


def spec() -> ServiceSpec:
    caching = tuple(Caching(str(ttl), ttl, (Rule(str(ttl), f"/rule-{ttl}/*"),)) for ttl in TTLS)
    return make_spec(domains=["www.a.example.com"], caching=caching)


@pytest.mark.parametrize("promise", PROMISES, ids=_name)
def test_what_is_kept_and_shared(node: Varnish, web: WebServer, promise: Promise) -> None:
    for ttl in promise.ttls:
        path = f"/free/{next(_paths)}" if ttl is None else f"/rule-{ttl}/{next(_paths)}"
        web.headers, web.status, web.content = dict(promise.fields), promise.status, "mine"
        mine = ask(node, path)
        web.content = "theirs"
        theirs = ask(node, path)

        assert mine.body.endswith("mine")
        if promise.kept is not None:
            assert theirs.body.endswith("mine")
            assert theirs.cache == "HIT"
            assert int(mine.headers["x-ttl"]) == promise.kept
            assert stale(mine.headers) == (str(GRACE), str(GRACE))
            continue
        assert theirs.body.endswith("theirs")
        assert theirs.cache == "MISS"
        assert mine.headers["x-ttl"] == "pass"
        if promise.status < 500:  # Fastly's own code sets another time for its errors.
            assert stale(mine.headers) == ("0", "0")


def stale(fields: dict[str, str]) -> tuple[str | None, str | None]:
    return fields.get("x-revalidate"), fields.get("x-if-error")


def test_stale_objects_are_served_if_the_origin_fails(forgiving: Varnish, web: WebServer) -> None:
    path = f"/rule-1/{next(_paths)}"
    web.content = "kept"
    assert ask(forgiving, path).body.endswith("kept")
    time.sleep(2.2)  # The TTL and the time to revalidate.

    web.status, web.content = 503, "error"
    for _ in range(3):
        answer = ask(forgiving, path)
        assert (answer.status, answer.body[-4:]) == (200, "kept")
    web.stop()
    try:
        answer = ask(forgiving, path)
        assert (answer.status, answer.body[-4:]) == (200, "kept")
        assert ask(forgiving, f"/rule-1/{next(_paths)}").status == 503
    finally:
        web.start()
    web.status, web.content = 200, "fresh"
    # A background fetch that began before may still have to fail.
    until(lambda: ask(forgiving, path).body.endswith("fresh"), 15)


@pytest.mark.parametrize("control", ["private", "no-cache", "no-store", "max-age=0"])
def test_what_is_not_stored_is_not_served_stale(
    forgiving: Varnish, web: WebServer, control: str
) -> None:
    path = f"/free/{next(_paths)}"
    web.headers = {"Cache-Control": control}
    ask(forgiving, path)

    web.status = 503

    assert ask(forgiving, path).status == 503
