# SPDX-License-Identifier: Apache-2.0
"""How the provider ``varnish`` changes real nodes: concurrently, interrupted, with any input."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import concurrent.futures
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from poppy.common.errors import PermanentError, RetryableError, Unauthorized
from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.base import Provider
from poppy.provider.varnish import driver as driver_module
from poppy.provider.varnish.access import Settings
from poppy.provider.varnish.admin import Admin
from poppy.provider.varnish.driver import VarnishProvider
from poppy.provider.varnish.metadata import Metadata
from poppy.provider.varnish.vcl import service_vcl
from poppy.testing.builders import make_service, make_spec
from poppy.testing.provider import ProviderContract
from tests.real.edge import (
    DOMAIN,
    KNOWN,
    Answer,
    _as_new,
    admin,
    ask,
    get,
    loaded,
    make_provider,
    node,
    provider,
    restricted,
    serve,
    web,
)
from tests.real.origin import Origin as WebServer
from tests.real.varnish import Varnish

pytestmark = pytest.mark.real
__all__ = ["_as_new", "get", "node", "provider", "serve", "web"]


class TestContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _node(self, node: Varnish) -> None:
        self.node = node

    def stranger(self, provider: Provider) -> Provider:
        return make_provider([self.node], secret_file=None, secret="wrong")

    def service(self, *domains: str) -> Service:
        spec = make_spec(domains or None, origins=(Origin(self.web.address),))
        return make_service(spec=spec)

    @pytest.fixture(autouse=True)
    def _origin(self, web: WebServer) -> None:
        self.web = web

    def forwarded(
        self, provider: Provider, service: Service, fields: Mapping[str, str]
    ) -> Mapping[str, str]:
        (domain,) = service.spec.domain_names
        self.web.fields.clear()
        ask(self.node, f"/{next(iter(fields))}", domain, **fields)
        (seen,) = self.web.fields
        return dict(seen)

    def objects(self, provider: Provider, service: Service) -> list[str]:
        assert isinstance(provider, VarnishProvider)
        key = service.service_id.replace("-", "")
        address = provider.options.nodes[0]
        with (
            open(provider.options.secret_file, "rb") as file,
            Admin(address, file.read(), 10) as connection,
        ):
            entries = connection.json("vcl.list")
        programs = [e for e in entries if e["name"].startswith(f"poppy_{key}_")]
        labels = [e["name"] for e in entries if e["name"] == f"poppy_{key}"]
        assert len(programs) == len(labels)
        return labels


def test_remove_leaves_only_the_router(
    provider: VarnishProvider, node: Varnish, serve: Any, get: Any
) -> None:
    service = serve()
    get("/a")

    provider.remove(service, KNOWN)

    assert get("/a").status == 404
    names = loaded(node)
    assert [n for n in names if n != "poppy_gone" and not n.startswith("poppy_router_")] == []
    assert len(names) <= 2
    provider.ensure(service, None)
    assert get("/a").cache == "MISS"


def test_vcl_that_does_not_compile_changes_nothing(
    provider: VarnishProvider,
    node: Varnish,
    serve: Any,
    get: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = serve()
    before = sorted(loaded(node))
    with monkeypatch.context() as patch:
        patch.setattr(driver_module, "service_vcl", lambda *_: "vcl 4.1; nonsense")
        for victim in (make_service(domains=["www.b.example.com"]), service):
            victim = replace(victim, spec=replace(victim.spec, origins=service.spec.origins))
            with pytest.raises(PermanentError, match="nonsense"):
                provider.ensure(victim, None)

    assert sorted(loaded(node)) == before
    assert get("/a").status == 200


def test_updates_drop_no_requests_and_leave_no_old_vcl(
    provider: VarnishProvider, node: Varnish, serve: Any
) -> None:
    service = serve()
    bad: list[Answer] = []
    count = 0
    stop = threading.Event()

    def hammer() -> None:
        nonlocal count
        while not stop.is_set():
            answer = ask(node, f"/{count % 50}")
            count += 1
            if answer.status != 200:
                bad.append(answer)

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        for number in range(20):
            caching = (Caching("c", 100 + number, (Rule("all", "/*"),)),)
            domains = make_spec([DOMAIN, f"www.x{number // 10}.example.com"]).domains
            spec = replace(service.spec, caching=caching, domains=domains)
            provider.ensure(replace(service, spec=spec), KNOWN)
    finally:
        stop.set()
        thread.join()

    assert bad == []
    assert count > 100
    names = [name for name in loaded(node) if name != "poppy_gone"]
    assert len(names) == 3, names  # Label, VCL and router.


def test_eight_concurrent_workers_lose_no_service(node: Varnish, web: WebServer) -> None:
    services = [
        make_service(
            spec=make_spec([f"www.s{number}.example.com"], origins=(Origin(web.address),))
        )
        for number in range(8)
    ]
    gone = make_service(spec=make_spec(["www.gone.example.com"], origins=(Origin(web.address),)))
    make_provider([node]).ensure(gone, None)

    def work(number: int) -> None:
        edge = make_provider([node], timeout=30)
        if number == 8:
            edge.remove(gone, None)
        else:
            edge.ensure(services[number], None)

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        list(pool.map(work, range(9)))

    answers = {ask(node, host=f"www.s{number}.example.com").status for number in range(8)}
    assert answers == {200}
    assert ask(node, host="www.gone.example.com").status == 404
    assert len([n for n in loaded(node) if n.startswith("poppy_router_")]) == 1
    assert not [n for n in loaded(node) if gone.service_id.replace("-", "") in n]


def test_two_workers_can_interleave_at_any_command(
    node: Varnish, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    origins = (Origin(web.address),)
    one = make_service(spec=make_spec(["www.one.example.com"], origins=origins))
    other = make_service(spec=make_spec(["www.other.example.com"], origins=origins))
    real = Admin._exchange
    edge = make_provider([node])
    edge.ensure(one, None)
    interleaved = version = 0

    def update_while(number: int, action: Callable[[], object]) -> bool:
        """Update ``one``, and run ``action`` before its command of that number.

        Commands with a reply that other workers can't change do not count.
        """
        left: int | None = number

        def exchange(self: Admin, line: str) -> Any:
            nonlocal left
            if left is not None and not line.startswith(("status", "vcl.show", "auth")):
                left -= 1
                if left < 0:
                    left = None
                    action()
            return real(self, line)

        nonlocal version
        version += 1
        names = ["www.one.example.com", f"www.v{version}.example.com"]
        with monkeypatch.context() as patch:
            patch.setattr(Admin, "_exchange", exchange)
            edge.ensure(replace(one, spec=make_spec(names, origins=origins)), None)
        answers = {ask(node, host=host).status for host in names}
        assert answers == {200}, number
        return left is None

    def check(expected: int, number: int) -> None:
        assert ask(node, host="www.other.example.com").status == expected, number
        programs = 2 if expected == 200 else 1
        names = [name for name in loaded(node) if name != "poppy_gone"]
        assert len(names) == 1 + 2 * programs, (number, names)

    while update_while(interleaved, lambda: edge.ensure(other, None)):
        check(200, interleaved)
        if not update_while(interleaved, lambda: edge.remove(other, None)):
            break
        check(404, interleaved)
        interleaved += 1

    assert interleaved >= 8


class _DiesAfter:
    """Makes a worker die after a number of commands that change something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, commands: int) -> None:
        left = commands
        real = Admin._exchange

        def exchange(self: Admin, line: str) -> Any:
            nonlocal left
            reply = real(self, line)
            if line.startswith(("vcl.inline", "vcl.label", "vcl.use", "vcl.discard", "start")):
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return reply

        monkeypatch.setattr(Admin, "_exchange", exchange)


def _dies(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch, commands: int) -> bool:
    with monkeypatch.context() as patch:
        _DiesAfter(patch, commands)
        try:
            action()
        except KeyboardInterrupt:
            return True
    return False


def test_worker_can_die_after_any_command(
    node: Varnish, web: WebServer, monkeypatch: pytest.MonkeyPatch, provider: VarnishProvider
) -> None:
    service = make_service(spec=make_spec([DOMAIN], origins=(Origin(web.address),)))
    moved = replace(service, spec=make_spec(["www.b.example.com"], origins=(Origin(web.address),)))
    died = {"create": 0, "update": 0, "remove": 0}
    while _dies(lambda: provider.ensure(service, None), monkeypatch, died["create"] + 1):
        died["create"] += 1
        provider.ensure(service, None)
        assert ask(node).status == 200
        provider.remove(service, None)
    while _dies(lambda: provider.ensure(moved, None), monkeypatch, died["update"] + 1):
        died["update"] += 1
        provider.ensure(moved, None)
        assert ask(node).status == 404
        assert ask(node, host="www.b.example.com").status == 200
        provider.ensure(service, None)
        assert len([name for name in loaded(node) if name != "poppy_gone"]) == 3
    while _dies(lambda: provider.remove(service, None), monkeypatch, died["remove"] + 1):
        died["remove"] += 1
        provider.remove(service, None)
        assert ask(node, host="www.b.example.com").status == 404
        assert len(loaded(node)) <= 2
        provider.ensure(moved, None)

    assert died["create"] >= 4
    assert died["update"] >= 6
    assert died["remove"] >= 6


def test_node_that_is_down_is_reported_and_others_are_updated(
    node: Varnish, web: WebServer
) -> None:
    service = make_service(spec=make_spec([DOMAIN], origins=(Origin(web.address),)))
    with Varnish(secret_file=node.secret_file) as second:
        edge = make_provider([second, node], secret_file=str(node.secret_file))
        second.stop()

        with pytest.raises(RetryableError, match=second.management):
            edge.ensure(service, None)
        assert edge.health() is False
        assert ask(node).status == 200

        second.start()
        assert edge.health() is True
        edge.ensure(service, None)
        assert ask(second).status == 200
        # A restarted node is empty; the next call for the service fills it.
        second.restart()
        edge.purge(service, KNOWN, Purge(None, hard=True))
        assert ask(second).status == 200


def test_edge_serves_while_one_node_does(web: WebServer) -> None:
    service = make_service(spec=make_spec([DOMAIN], origins=(Origin(web.address),)))
    with Varnish() as node, Varnish(secret_file=node.secret_file) as second:
        edge = make_provider([second, node], secret_file=str(node.secret_file))
        assert edge.serves() is False, "there is nothing to serve"
        edge.ensure(service, None)
        assert edge.serves() is True
        second.restart()
        assert edge.serves() is True
        lonely = make_provider([second], secret_file=str(node.secret_file))
        assert lonely.serves() is False, "it has lost what it served"
        assert lonely.health() is True
        stranger = make_provider([second], secret_file=None, secret="wrong")
        assert stranger.serves() is None, "that it does not let us ask says nothing of it"
        second.stop()
        assert edge.serves() is True
        assert lonely.serves() is False


def test_wrong_secret_is_reported(node: Varnish) -> None:
    edge = make_provider([node], secret_file=None, secret="wrong")

    with pytest.raises(Unauthorized, match="secret"):
        edge.remove(make_service(), None)
    assert edge.health() is False


def test_long_service_list_is_read_completely(web: WebServer) -> None:
    with Varnish(cli_limit="1k") as small:
        edge = make_provider([small])
        for number in range(4):
            spec = make_spec([f"www.s{number}.example.com"], origins=(Origin(web.address),))
            edge.ensure(make_service(spec=spec), None)

        hosts = [f"www.s{number}.example.com" for number in range(4)]
        assert {ask(small, host=host).status for host in hosts} == {200}


NASTY = [
    '"',
    '"}',
    '"}; sub vcl_recv { return (synth(200)); }',
    '"""',
    "C{ exit(1); }C",
    "*/ /* # //",
    "line\nfeed\r\n\x00\x7f",
    "\\",
    "\\E(?{}[^]{5,1}(((",
    "?q=[a-z]+&x=*",
    "%",
    "%zz%00%22%2a*%C3%A9",
    "héllo/世界/🎈\ud800",
    "*",
    "**/***",
    "a" * 1000,
    "(*VERB)+{}|^$.",
    "\u2028 tab\t<< EOF\nEOF\n",
    "*?" * 300,
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_tenant_input_does_not_break_the_compiler(node: Varnish, text: str) -> None:
    path = f"/{text}"
    spec = replace(
        make_spec([DOMAIN]),
        name=text,
        origins=(Origin("o.test", rules=(Rule(text, path), Rule(text, "/*"))),),
        caching=(Caching(text, 0, (Rule(text, path),)), Caching(text, 5, (Rule(text, text),))),
        restrictions=restricted(
            "whitelist", Rule(text, path, referrer=text), Rule(text, path, client_ip="::1")
        ),
    )
    metadata = Metadata(text, (DOMAIN,)).purged(path, 5).purged(text, 6)
    vcl = service_vcl(metadata, "k" * 32, spec, {"o.test": ["192.0.2.1"]}, Settings())
    with admin(node) as connection:
        connection.inline("nasty", vcl)
        try:
            shown = connection.command("vcl.show", "nasty")
        finally:
            connection.command("vcl.discard", "nasty")

    assert Metadata.from_vcl(shown) == metadata
    assert [line for line in shown.splitlines() if line.startswith("sub vcl_recv")] == [
        "sub vcl_recv {"
    ]
