# SPDX-License-Identifier: Apache-2.0
"""Access logs of the own edge: real HAProxy, Varnish, agent and object store."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from poppy.edge.logs.pipe import SIZE, Pipe
from poppy.edge.program import Access, Choice, Clients, Program, Upstream
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.edge_logs import LogObject
from poppy.model.secrets import Secret
from poppy.provider.edge.logs import LogUploads
from poppy.provider.log_store import LogStore as Bucket
from tests.real.edge_agent import until
from tests.real.edge_api import EdgeAPI
from tests.real.edge_daemon import EdgeAgent
from tests.real.edge_fixtures import node, origin, running
from tests.real.edge_node import EdgeNode
from tests.real.log_store import LogStore
from tests.real.origin import Origin
from tests.real.s3_signatures import ACCESS_KEY, REGION, SECRET_KEY

pytestmark = pytest.mark.real
__all__ = ["node", "origin", "running"]

HOST = "www.example.com"
FIELDS = {
    *("time", "milliseconds", "status", "bytes", "client", "method", "host", "url"),
    *("protocol", "referer", "user_agent", "cache"),
}
#: Seconds for a step, on a machine that runs other tests too.
LONG = 60.0


def program(origin: Origin, service_id: str = "a", host: str = HOST, **parts: Any) -> Program:
    upstream = Upstream(origin.address, 80, False, None)
    ttls = (Choice("/*", 3600),)
    return replace(Program(service_id, (host,), (upstream,), ttls=ttls, log_project="42"), **parts)


@pytest.fixture
def pipe(node: EdgeNode) -> Iterator[Pipe]:
    pipe = Pipe(node.settings.run_directory / "access.pipe")
    while pipe.read(0) is not None:
        pass
    yield pipe
    pipe.close()


def read(pipe: Pipe, number: int) -> list[dict[str, Any]]:
    """Return this number of lines as JSON, of whatever service, and no more."""
    lines: list[bytes] = []
    deadline = time.monotonic() + 20
    while len(lines) < number and time.monotonic() < deadline:
        lines += itertools.chain.from_iterable((pipe.read(0.2) or {}).values())
    while (found := pipe.read(0.2)) is not None:
        lines += itertools.chain.from_iterable(found.values())
    assert len(lines) == number, lines
    return [json.loads(line) for line in lines]


def raw(node: EdgeNode, head: bytes) -> bytes:
    with socket.create_connection(node.http, 5) as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_line_has_all_fields_of_its_request(node: EdgeNode, origin: Origin, pipe: Pipe) -> None:
    node.serve(program(origin))
    before = int(time.time())
    fields = {"Referer": "https://example.net/", "User-Agent": "browser"}
    for _ in range(2):
        assert node.get(HOST, "/a?b=c", **fields)[0].status == 200
    miss, hit = read(pipe, 2)
    assert set(miss) == FIELDS
    expected = {
        **{"status": 200, "client": "127.0.0.1", "method": "GET", "host": HOST},
        **{"url": "/a?b=c", "protocol": "HTTP/1.1", "referer": "https://example.net/"},
        **{"user_agent": "browser", "cache": "MISS"},
    }
    assert {name: miss[name] for name in expected} == expected
    assert hit["cache"] == "HIT"
    assert before <= miss["time"] <= time.time() + 1
    assert 0 <= miss["milliseconds"] < 60_000
    assert 50 < miss["bytes"] < 1000


def test_all_ways_through_the_rules_are_logged(node: EdgeNode, origin: Origin, pipe: Pipe) -> None:
    blocked = Access("blacklist", "client_ip", (Clients("/no/*", ("127.0.0.0/8",)),))
    node.serve(program(origin))
    node.serve(program(origin, "b", "b.example.com", restrictions=(blocked,)))
    for host, target, method, status in (
        (HOST, "/direct", "POST", 200),
        (HOST.upper() + ".:80", "/spelled", "GET", 200),
        (HOST, "/a/../b", "GET", 400),
        (HOST, "/" + "x" * 5000, "GET", 414),
        ("b.example.com", "/yes", "GET", 200),
        ("b.example.com", "/no/a", "GET", 403),
    ):
        assert node.get(host, target, method)[0].status == status
        (line,) = read(pipe, 1)
        assert line["host"] == host.lower().removesuffix(".:80")
        assert (line["url"], line["method"], line["status"]) == (target[:4096], method, status)


def test_only_services_with_log_delivery_are_logged(
    node: EdgeNode, origin: Origin, pipe: Pipe
) -> None:
    node.serve(program(origin, "b", "b.example.com", log_project=""))
    node.serve(program(origin))
    assert node.get("b.example.com")[0].status == 200
    assert node.get("unknown.example.com")[0].status == 404
    assert raw(node, b"GARBAGE\r\n").startswith(b"HTTP/1.1 400")
    assert node.get(HOST)[0].status == 200
    assert [it["host"] for it in read(pipe, 1)] == [HOST]
    assert pipe.damaged == 0, "HAProxy has written no other line"
    node.serve(program(origin, log_project=""))
    assert node.get(HOST)[0].status == 200
    read(pipe, 0)
    node.stop("haproxy")
    node.state.put(node.state.revision + 1, program(origin))
    node.start("haproxy")
    assert node.get(HOST)[0].status == 200
    read(pipe, 1)


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        (b'"},"status":999,"x":{"', '"},"status":999,"x":{"'),
        (b'\\" \\n \\u0000 \\', '\\" \\n \\u0000 \\'),
        (b"tab\there", "tab\there"),
        (b"a\r\n folded", "a   folded"),
        ("gr\u00fc\u00df \u20ac \U0001f600".encode(), "gr\u00fc\u00df \u20ac "),
        (b"latin-1 \xfc, cut \xe2\x82, overlong \xc0\xaf.", "latin-1 , cut , overlong ."),
        (b'42 a {"time":1,"forged":"yes"}', '42 a {"time":1,"forged":"yes"}'),
        (b"%[src] %ci ${PATH} $(id)", "%[src] %ci ${PATH} $(id)"),
        (b"x" * 20_000, "x" * 512),
    ],
)
def test_hostile_values_stay_in_their_field(
    node: EdgeNode, origin: Origin, pipe: Pipe, value: bytes, logged: str
) -> None:
    node.serve(program(origin))
    head = b"GET /a HTTP/1.1\r\nHost: %b\r\n" % HOST.encode()
    raw(node, head + b"User-Agent: %b\r\nReferer: %b\r\n" % (value, value))
    (line,) = read(pipe, 1)
    assert set(line) == FIELDS
    assert (line["user_agent"], line["referer"][:512]) == (logged, logged)
    assert line["status"] == 200


def test_tokens_of_signed_urls_are_not_logged(node: EdgeNode, origin: Origin, pipe: Pipe) -> None:
    signed = SignedURLs((SigningKey("k1", Secret(text="s3cret" * 6)),))
    node.serve(program(origin, signed_urls=signed))
    assert node.get(HOST, "/a?x=1&token=k1.1.-.x.t0ken")[0].status == 403
    assert node.get(HOST, "/a/../b?token=k1.1.-.x.t0ken")[0].status == 400
    first, second = read(pipe, 2)
    assert (first["url"], second["url"]) == ("/a?x=1", "/a/../b")


def test_full_pipe_never_holds_up_clients_and_mixes_no_lines(
    node: EdgeNode, origin: Origin, pipe: Pipe
) -> None:
    def dropped() -> float:
        url = "http://{}:{}/metrics".format(*node.metrics)
        text = requests.get(url, timeout=5).text
        return float(re.findall(r"\nhaproxy_process_dropped_logs_total (\S+)\n", text)[0])

    node.serve(program(origin))
    before = dropped()
    page = b"x" * 4095 + b"\n"
    filled = 0
    writer = os.open(node.settings.run_directory / "access.pipe", os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writer, page)
    assert filled == SIZE
    os.read(writer, len(page))
    os.close(writer)
    # Escaped, the line is longer than a page, so that its end has no room.
    assert node.get(HOST, "/a" * 1800)[0].status == 200
    assert node.get(HOST, "/lost")[0].status == 200
    until(lambda: dropped() == before + 1)
    read(pipe, 0)
    assert (pipe.damaged, pipe.is_within_line) == (SIZE // 4096 - 1, True)
    assert node.get(HOST, "/follows")[0].status == 200
    read(pipe, 0)
    assert pipe.damaged == SIZE // 4096, "it follows on a line that has no end"
    assert node.get(HOST, "/last")[0].status == 200
    assert [it["url"] for it in read(pipe, 1)] == ["/last"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogStore]:
    with LogStore(tmp_path_factory.mktemp("store")) as store:
        store.create("cdn-logs")
        yield store


def uploads(store: LogStore) -> LogUploads:
    bucket = Bucket("cdn-logs", store.url, REGION, False, ACCESS_KEY, SECRET_KEY)
    return LogUploads(bucket, "edge")


def test_lines_are_delivered_exactly_once_although_agent_store_and_haproxy_fail(
    node: EdgeNode, origin: Origin, store: LogStore
) -> None:
    """The agent is killed with lines in a file, and again after an object was stored."""
    numbers, served = itertools.count(), set[str]()

    def get() -> int:
        url = f"/{next(numbers)}"
        status = node.get(HOST, url)[0].status
        if status == 200:
            served.add(url)
        return status

    def urls(prefix: str) -> list[str]:
        found = store.lines("cdn-logs", prefix).values()
        return sorted(line["url"] for lines in found for line in lines)

    def spooled(directory: Path = node.state.logs) -> int:
        return sum(it.read_bytes().count(b"\n") - 1 for it in directory.glob("*.log"))

    signer = uploads(store)
    previous = Pipe(node.settings.run_directory / "access.pipe")
    while previous.read(0) is not None:
        pass
    previous.close()

    def log_url(document: Mapping[str, Any], name: str) -> str:
        return signer.url(LogObject(**document), name, None) or ""

    with EdgeAPI() as api:
        api.store.log_url = log_url
        options = {"log_period": 2, "log_ca_file": store.ca_file, "log_spool_size": 8}
        agent = EdgeAgent(node, options)
        agent.join(api.url, "n1", api.store.add_node("n1"))
        store.away = True
        with agent:
            api.store.publish(program(origin))
            api.store.publish(program(origin, "b", "b.example.com", log_project="43"))
            until(lambda: node.get("b.example.com", "/x")[0].status == 200, LONG)
            until(lambda: get() == 200, LONG)
            assert {get() for _ in range(20)} == {200}
            until(lambda: spooled() == len(served) + 1, LONG)
            agent.end(signal.SIGKILL)
            assert {it.stat().st_mode & 0o777 for it in node.state.logs.iterdir()} == {0o600}
            assert {get() for _ in range(10)} == {200}  # These wait in the pipe.
            agent.start()
            until(lambda: spooled() == len(served) + 1, LONG)
            node.kill("haproxy")
            node.start("haproxy")
            assert {get() for _ in range(10)} == {200}
            until(lambda: spooled() == len(served) + 1, LONG)
            until(lambda: agent.matches("the object store answers 503"), LONG)
            assert store.puts == []
            stored = False

            def slow() -> None:
                nonlocal stored
                if not stored:
                    agent.end(signal.SIGKILL)
                    stored = True

            store.slow = slow  # type: ignore[method-assign]
            store.away = False
            until(lambda: stored, LONG)
            agent.start()
            api.store.withdraw("a")
            until(lambda: get() == 404, LONG)
            until(lambda: spooled() == 0 and len(urls("42/a/edge/")) >= len(served), LONG)
            assert SECRET_KEY not in agent.log
            assert "X-Amz" not in agent.log
            assert agent.end(signal.SIGTERM) == 0
    assert store.refusals == []
    assert store.puts[0] in store.puts[1:], "it was put again"
    assert urls("42/a/edge/") == sorted(served)
    (line,) = {
        line["url"] for lines in store.lines("cdn-logs", "43/b/").values() for line in lines
    }
    assert line == "/x"
