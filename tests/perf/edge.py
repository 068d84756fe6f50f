# SPDX-License-Identifier: Apache-2.0
"""A node of the own edge with 5,000 services, compared with HAProxy and Varnish for one site.

Hits are compared by the CPU time of all server processes, so that the client does not count. The
site does what a careful operator's configuration does: it serves its own host only, removes fields
that clients must not send, passes on the client's address, bounds the time of a request, and says
whether a response is from the cache. It knows neither other hosts nor restrictions or purges.
"""

import contextlib
import glob
import itertools
import json
import multiprocessing
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from poppy.edge.program import Access, Certificate, Choice, Clients, Program, Upstream
from poppy.model.purges import Purge
from tests.perf.common import Effort, alternate, timed
from tests.perf.results import Goal, Result
from tests.real.edge_node import EdgeNode
from tests.real.edge_origins import Authority
from tests.real.nameserver import free_port
from tests.real.origin import Origin
from tests.real.process import descendants

SERVICES = 5000
FEW = 10
_RESTART = 20  # Seconds.
_PURGES = 1000  # A minute.
_CHANGES = 20  # In a row.
_TIMEOUT = 60.0  # Seconds.
_SITE = "www.example.com"
_HAPROXY = """\
global
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
defaults
    mode http
    timeout client 60s
    timeout connect 5s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 30s
frontend site
    bind 127.0.0.1:{http}
    bind 127.0.0.1:{https} ssl crt {directory}/site.pem alpn h2,http/1.1
    http-request deny deny_status 404 unless {{ req.hdr(host),host_only,lower -m str {name} }}
    http-request del-header Proxy
    http-request set-header X-Forwarded-For %[src]
    default_backend cache
backend cache
    http-reuse always
    server varnish unix@{directory}/varnish.sock
"""
_VCL = """\
vcl 4.1;
backend origin { .host = "ORIGIN"; }
sub vcl_backend_response { set beresp.ttl = 1h; }
sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
"""


def run(effort: Effort) -> list[Result]:
    """Measure hits, a change of a service, purges, memory and a restart of a node."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poppy-ca-")))
        authority = Authority(directory)
        origin = stack.enter_context(Origin())
        origin.padding = 1024
        node = stack.enter_context(EdgeNode(optimized=True, allowed_origins=["127.0.0.0/8"]))
        site = stack.enter_context(_Site(origin, authority))
        programs = [_program(origin, authority, number) for number in range(SERVICES)]
        rules = replace(
            _program(origin, authority, SERVICES),
            ttls=(Choice("/a/*.css", 60), Choice("/b/*", 60), Choice("/*", 3600)),
            restrictions=(
                Access("blacklist", "client_ip", (Clients("/b/*", ("192.0.2.0/24",)),)),
            ),
        )
        results = _restart(node, [*programs, rules])
        node.plane.load([*programs, rules])
        results.append(_changes(node, programs, effort))
        results += _hits(
            node,
            site,
            effort,
            [("first", programs[0], 0.95), ("last", programs[-1], 0.95), ("ruled", rules, 0.75)],
        )
        results.append(_purges(node, programs, effort))
        return results


def _changes(node: EdgeNode, programs: Sequence[Program], effort: Effort) -> Result:
    """Compare changes of a service's TTL on a node and on one with few services."""
    ttls = itertools.count(3600)

    def change(changed: EdgeNode) -> float:
        """Return the milliseconds of one of several changes in a row."""
        changes = [replace(programs[0], ttls=(Choice("/*", next(ttls)),)) for _ in range(_CHANGES)]
        return timed(lambda: [changed.plane.apply(it) for it in changes]) / _CHANGES

    with EdgeNode(allowed_origins=["127.0.0.0/8"]) as small:
        small.plane.load(programs[:FEW])
        many, few = alternate(effort.pick(20, 5), lambda: change(node), lambda: change(small))
    return Result(
        "edge: a change",
        "ms",
        (f"{SERVICES} services", many),
        (f"{FEW} services", few),
        Goal("<=", 1.3),
    )


def _restart(node: EdgeNode, programs: Sequence[Program]) -> list[Result]:
    """Start HAProxy with these programs in the node's state."""
    node.stop("haproxy")
    node.start("haproxy")
    empty = node.memory("haproxy")
    node.stop("haproxy")
    for number, program in enumerate(programs, 1):
        document = {"revision": number, "program": program.to_dict()}
        # Not by the state, which syncs each file.
        path = node.settings.state_directory / "state" / "programs" / f"{program.service_id}.json"
        path.write_text(json.dumps(document))
    started = time.monotonic()
    node.start("haproxy", 10 * _RESTART)
    response, _ = node.get(programs[-1].domains[0])
    seconds = time.monotonic() - started
    assert response.status == 200
    memory = (node.memory("haproxy") - empty) / len(programs) / 1024
    return [
        Result(
            f"edge: restart with {SERVICES} services",
            "s",
            ("node", [seconds]),
            None,
            Goal("<=", _RESTART, " s"),
        ),
        Result(
            "edge: memory of an idle service with a certificate",
            "KiB",
            ("node", [memory]),
            None,
            Goal("<=", 50, " KiB"),
        ),
    ]


def _hits(
    node: EdgeNode,
    site: "_Site",
    effort: Effort,
    services: Sequence[tuple[str, Program, float]],
) -> Iterator[Result]:
    own = _CPU(node.pids)
    for (name, program, least), tls in itertools.product(services, (False, True)):
        ours = (node.https if tls else node.http, program.domains[0])
        theirs = (site.https if tls else site.http, _SITE)
        rounds = [
            _request_by_turns(own, ours, site.cpu, theirs, tls, 500)
            for _ in range(effort.pick(20, 3))
        ]
        yield Result(
            f"edge: hits of the {name} service{' over TLS' if tls else ''}",
            "per CPU second",
            ("node", [it for it, _ in rounds]),
            ("one site", [it for _, it in rounds]),
            Goal(">=", least),
        )


def _request_by_turns(
    own: "_CPU",
    ours: tuple[tuple[str, int], str],
    other: "_CPU",
    theirs: tuple[tuple[str, int], str],
    tls: bool,
    times: int,
) -> tuple[float, float]:
    """Request an object of both by turns; return the requests that take each a CPU second.

    The speed of a shared machine changes within a second, so rounds of each are not comparable.
    """
    with _Client(*ours, tls=tls) as first, _Client(*theirs, tls=tls) as second:
        first.get()
        second.get()
        before = own.seconds(), other.seconds()
        for _ in range(times):
            first.get()
            second.get()
        return times / (own.seconds() - before[0]), times / (other.seconds() - before[1])


def _purges(node: EdgeNode, programs: Sequence[Program], effort: Effort) -> Result:
    """Compare the latency of hits while other services' objects are purged."""
    seconds = effort.pick(2, 1)

    def latency(purging: bool) -> float:
        process = multiprocessing.get_context("fork").Process(
            target=_purge, args=(node, programs[1:]), daemon=True
        )
        if purging:
            process.start()
        try:
            return _latency(node, programs[0].domains[0], seconds)
        finally:
            if purging:
                process.terminate()
                process.join()

    busy, quiet = alternate(effort.pick(7, 3), lambda: latency(True), lambda: latency(False))
    return Result(
        f"edge: hits during {_PURGES} purges a minute",
        "ms",
        ("purging", busy),
        ("quiet", quiet),
        Goal("<=", 1.2),
    )


def _purge(node: EdgeNode, programs: Sequence[Program]) -> None:
    """Purge paths and, each tenth time, patterns."""
    for number, program in enumerate(itertools.cycle(programs)):
        url = "/a/*" if number % 10 == 0 else "/a/b.html"
        node.plane.purge(program.service_id, Purge(url, True))
        time.sleep(60 / _PURGES)


def _latency(node: EdgeNode, host: str, seconds: float) -> float:
    """Return the mean milliseconds of hits on one connection."""
    with _Client(node.http, host, tls=False) as client:
        client.get()
        begin, count = time.monotonic(), 0
        while time.monotonic() < begin + seconds:
            client.get()
            count += 1
        return 1000 * (time.monotonic() - begin) / count


def _program(origin: Origin, authority: Authority, number: int) -> Program:
    names = (f"www{number}.example.com", f"alt{number}.example.com")
    chain, key = authority.issue(*names)
    # With an intermediate certificate, as most have one.
    chain += authority.file.read_text()
    return Program(
        service_id=f"service-{number}",
        domains=names,
        origins=(Upstream(origin.address, 80, False, None),),
        ttls=(Choice("/*", 3600),),
        certificates=(Certificate(names, chain, key),),
    )


class _Client:
    """A client with one connection."""

    def __init__(self, address: tuple[str, int], host: str, *, tls: bool) -> None:
        head = f"GET /a/b.html HTTP/1.1\r\nHost: {host}\r\nUser-Agent: perf\r\nAccept: */*\r\n\r\n"
        self._head = head.encode()
        self._connection = socket.create_connection(address, _TIMEOUT)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._connection = context.wrap_socket(self._connection, server_hostname=host)

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self) -> None:
        """Make a request for an object of the origin, which ends with dots."""
        self._connection.sendall(self._head)
        received = b""
        while not received.endswith(b"...."):
            part = self._connection.recv(65536)
            assert part and b" 200 " in (received or part)[:16]
            received += part


class _CPU:
    """The CPU time of processes."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def seconds(self) -> float:
        """Return the seconds on a CPU so far (proc(5), schedstat)."""
        files = [it for pid in self._pids for it in glob.glob(f"/proc/{pid}/task/*/schedstat")]
        return sum(int(Path(file).read_text().split()[0]) for file in files) / 1e9


class _Site:
    """HAProxy and Varnish with configurations for one site, as a person would write them."""

    def __init__(self, origin: Origin, authority: Authority) -> None:
        self.http = ("127.0.0.1", free_port())
        self.https = ("127.0.0.1", free_port())
        self._origin = origin
        self._authority = authority

    def __enter__(self) -> "_Site":
        self._stack = contextlib.ExitStack()
        directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="poppy-site-"))
        )
        (directory / "site.vcl").write_text(_VCL.replace("ORIGIN", self._origin.address))
        (directory / "site.pem").write_text("".join(self._authority.issue(_SITE)))
        (directory / "haproxy.cfg").write_text(
            _HAPROXY.format(
                http=self.http[1], https=self.https[1], directory=directory, name=_SITE
            )
        )
        varnish = ["varnishd", "-F", "-j", "none", "-f", str(directory / "site.vcl")]
        varnish += ["-n", str(directory / "work"), "-a", f"{directory}/varnish.sock"]
        commands = (varnish, ["haproxy", "-db", "-f", str(directory / "haproxy.cfg")])
        pids = []
        for command in commands:
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._stack.callback(process.wait)
            self._stack.callback(process.terminate)
            pids.append(process.pid)
        self._wait()
        self.cpu = _CPU([it for pid in pids for it in (pid, *descendants(pid))])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _wait(self) -> None:
        head = f"GET / HTTP/1.0\r\nHost: {_SITE}\r\n\r\n".encode()
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(self.http, 2) as probe:
                probe.sendall(head)
                if b" 200 " in probe.recv(100):
                    return
            time.sleep(0.1)
        raise RuntimeError("the site does not answer")
