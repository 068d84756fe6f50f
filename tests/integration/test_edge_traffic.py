# SPDX-License-Identifier: Apache-2.0
"""What a node counts: real HAProxy, Varnish and agent."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import http.server
import itertools
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests

from poppy.edge.program import Access, Choice, Clients, Program, Upstream
from poppy.model.edge_traffic import Counts, Domain
from tests.real.edge_agent import until
from tests.real.edge_api import Answer, EdgeAPI
from tests.real.edge_daemon import EdgeAgent
from tests.real.edge_fixtures import node, origin
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin

pytestmark = pytest.mark.real
__all__ = ["node", "origin"]

PLAIN, RULED = "plain.example.com", "ruled.example.com"
HOST = "www.example.com"
WWW = Domain("a", HOST)


def program(origin: Origin) -> Program:
    return Program(
        service_id="a",
        domains=(HOST, "other.example.com"),
        origins=(Upstream(origin.address, 80, False, None),),
        ttls=(Choice("/direct/*", 0), Choice("/*", 3600)),
        restrictions=(Access("blacklist", "client_ip", (Clients("/no/*", ("127.0.0.0/8",)),)),),
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeNode]:
    """A node with a geography database, behind a load balancer too."""
    database = tmp_path_factory.mktemp("geography") / "countries"
    database.write_text("127.0.0.2/32 DE\n127.0.0.3/32 New Zealand\n192.0.2.0/24 FR\n")
    with EdgeNode(
        allowed_origins=["127.0.0.0/8"],
        geography_database=str(database),
        trusted_proxies=["127.0.0.4/32"],
        client_ip_header="X-Client-Address",
    ) as node:
        yield node


def counted(node: EdgeNode, domain: Domain = WWW) -> Counts:
    """Return the counts of a domain, of clients without a known country."""
    return node.plane.traffic().counts.get(domain._replace(country="ZZ"), Counts())


def exchange(node: EdgeNode, path: str, times: int) -> int:
    """Send equal requests on one connection; return the bytes of the responses."""
    received = 0
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n"
    with socket.create_connection(node.http, 5) as connection:
        for number in range(times):
            last = "Connection: close\r\n" if number == times - 1 else ""
            connection.sendall(f"{head}{last}\r\n".encode())
        while part := connection.recv(65536):
            received += len(part)
    return received


def test_each_response_is_counted_by_class_with_hits_and_bytes(
    node: EdgeNode, origin: Origin
) -> None:
    origin.headers, origin.padding = {}, 50_000
    node.serve(program(origin))
    before = start = counted(node)
    received = 0
    for path, status, times, hits in (
        ("/a", 200, 5, 4),
        ("/direct/a", 200, 3, 0),
        ("/moved", 301, 2, 1),
        ("/missing", 404, 2, 1),
        ("/broken", 500, 2, 0),
        ("/no/entry", 403, 3, 0),
    ):
        origin.status = status if status != 403 else 200
        found = before
        received += exchange(node, path, times)
        until(lambda found=found, times=times: counted(node).requests == found.requests + times)
        after = counted(node)
        number = status // 100 - 1
        increase = [b - a for a, b in zip(before, after, strict=True)]
        assert increase[:6] == [*(times if it == number else 0 for it in range(5)), hits], path
        before = after
    origin.status, origin.padding = 200, 0
    sent = counted(node).sent - start.sent
    assert 0.99 * received < sent < 1.01 * received, "bodies are exact"
    for spelled in ("other.example.com", "OTHER.example.com.:80"):
        assert node.get(spelled, "/a")[0].status == 200
    assert node.get("unknown.example.com")[0].status == 404
    until(lambda: counted(node, Domain("a", "other.example.com")).requests == 2)
    assert {it for it in node.plane.traffic().counts if it.service_id == "a"} == {
        WWW._replace(country="ZZ"),
        Domain("a", "other.example.com", "ZZ"),
    }


def test_countries_of_clients_are_told_apart(node: EdgeNode, origin: Origin) -> None:
    plain, ruled = program(origin), replace(program(origin), service_id="b", domains=(RULED,))
    node.serve(replace(plain, service_id="c", domains=(PLAIN,), ttls=(), restrictions=()))
    node.serve(replace(ruled, log_project="42"))
    sent = 0
    for host, address, fields, number in (
        (PLAIN, "127.0.0.1", {}, 1),
        (PLAIN, "127.0.0.2", {}, 2),
        (PLAIN, "127.0.0.3", {}, 3),
        (PLAIN, "127.0.0.4", {"X-Client-Address": "192.0.2.7"}, 4),
        (PLAIN, "127.0.0.2", {"X-Client-Address": "192.0.2.7"}, 5),
        (RULED, "127.0.0.2", {}, 6),
        (RULED, "127.0.0.4", {"X-Client-Address": "192.0.2.7"}, 7),
    ):
        sent += number
        for _ in range(number):
            assert node.get(host, source=address, **fields)[0].status in (200, 403)

    def found() -> dict[Domain, int]:
        counts = node.plane.traffic().counts
        return {it: counts[it].requests for it in counts if it.name in (PLAIN, RULED)}

    until(lambda: sum(found().values()) == sent)
    assert found() == {
        Domain("c", PLAIN, "ZZ"): 1,
        Domain("c", PLAIN, r"New\ Zealand"): 3,
        Domain("c", PLAIN, "DE"): 7,
        Domain("c", PLAIN, "FR"): 4,
        Domain("b", RULED, "DE"): 6,
        Domain("b", RULED, "FR"): 7,
    }


def test_upgraded_connection_counts_once(node: EdgeNode) -> None:
    # The example of RFC 6455, section 1.3.
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    class Upgrading(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            self.end_headers()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with Origin() as origin:
        origin.stop()
        with http.server.HTTPServer((origin.address, 80), Upgrading) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            node.serve(program(origin))
            before = counted(node)
            with socket.create_connection(node.http, 5) as connection:
                lines = [f"{name}: {value}" for name, value in {"Host": HOST, **fields}.items()]
                connection.sendall("\r\n".join(["GET /chat HTTP/1.1", *lines, "", ""]).encode())
                assert connection.recv(100).startswith(b"HTTP/1.1 101 ")
            until(lambda: counted(node).responses_1xx == before.responses_1xx + 1)
            server.shutdown()
    assert counted(node).requests == before.requests + 1


@pytest.fixture
def agent(node: EdgeNode) -> Iterator[tuple[EdgeAgent, EdgeAPI]]:
    """An agent with short intervals that has joined, and the API."""
    with EdgeAPI() as api:
        agent = EdgeAgent(node, {"traffic_interval": 0.1, "report_interval": 10})
        agent.join(api.url, "n1", api.store.add_node("n1"))
        with agent:
            yield agent, api


def test_agents_metrics_are_served_also_without_the_agent(
    node: EdgeNode, agent: tuple[EdgeAgent, EdgeAPI]
) -> None:
    url = "http://{}:{}/metrics/agent".format(*node.metrics)

    def metrics() -> str:
        return requests.get(url, timeout=5).text

    until(lambda: "\npoppy_edge_ready 1\n" in metrics())
    agent[0].end(signal.SIGKILL)
    last = metrics()
    assert '\npoppy_edge_process_up{process="varnish"} 1\n' in last
    assert metrics() == last
    (node.settings.run_directory / "agent.prom").unlink()
    assert requests.get(url, timeout=5).status_code == 503


def test_figures_are_exact_although_the_agent_haproxy_and_answers_are_lost(
    node: EdgeNode, agent: tuple[EdgeAgent, EdgeAPI], origin: Origin
) -> None:
    """HAProxy is killed after it was sampled: what it has counted since then would be lost."""
    daemon, api = agent
    answer, numbers = api.store.answer, itertools.count()

    def lossy(method: str, target: str, *more: object) -> Answer:
        found = answer(method, target, *more)  # type: ignore[arg-type]
        lost = target.endswith("/traffic") and next(numbers) % 2 == 0
        return Answer(502) if lost else found

    api.store.answer = lossy  # type: ignore[method-assign]
    origin.requests.clear()
    api.store.publish(program(origin))
    until(lambda: node.get(HOST)[0].status == 200)
    expected, german = 1, 0

    def get(number: int) -> None:
        nonlocal expected, german
        for turn in range(number):
            is_german = turn % 3 == 0
            german += is_german
            source = "127.0.0.2" if is_german else "127.0.0.1"
            assert node.get(HOST, source=source)[0].status == 200
        expected += number

    def settled() -> bool:
        return api.store.counted("a", HOST)[1] == expected

    for _ in range(3):
        get(20)
        time.sleep(random.uniform(0, 0.3))
        daemon.end(signal.SIGKILL)
        get(10)
        daemon.start()
        get(10)
    until(settled, 60)
    node.kill("haproxy")
    node.start("haproxy")
    get(15)
    until(settled, 60)
    time.sleep(1)
    counts = api.store.counted("a", HOST)
    assert counts[:5] == [0, expected, 0, 0, 0]
    assert counts[5] == expected - origin.requests.total(), "the others are hits"
    assert api.store.counted() == counts
    assert api.store.counted("a", HOST, "DE")[:5] == [0, german, 0, 0, 0]
