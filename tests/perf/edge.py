# SPDX-License-Identifier: Apache-2.0
"""A node of the own edge with 5,000 services, compared with HAProxy and Varnish for one site.

Hits are compared by the CPU time of all server processes, so that the client does not count.
"""

import contextlib
import glob
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from poppy.edge.program import Access, Choice, Clients, Program, Upstream
from tests.perf.common import Effort, alternate, timed
from tests.perf.results import Goal, Result
from tests.real.edge_node import EdgeNode
from tests.real.nameserver import free_port
from tests.real.origin import Origin
from tests.real.process import descendants

SERVICES = 5000
FEW = 10
_TIMEOUT = 20.0  # Seconds.
_HAPROXY = """\
global
    nbthread 1
defaults
    mode http
    timeout client 60s
    timeout connect 5s
    timeout server 60s
frontend site
    bind 127.0.0.1:{port}
    default_backend cache
backend cache
    http-reuse always
    server varnish unix@{directory}/varnish.sock
"""
_VCL = """\
vcl 4.1;
backend origin { .host = "ORIGIN"; }
sub vcl_backend_response { set beresp.ttl = 1h; }
"""


def run(effort: Effort) -> list[Result]:
    """Measure hits, and a change of a service, on a node."""
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(Origin())
        origin.padding = 1024
        node = stack.enter_context(EdgeNode(allowed_origins=["127.0.0.0/8"]))
        site = stack.enter_context(_Site(origin))
        programs = [_program(origin, number) for number in range(SERVICES)]
        rules = replace(
            _program(origin, SERVICES),
            ttls=(Choice("/a/*.css", 60), Choice("/b/*", 60), Choice("/*", 3600)),
            restrictions=(
                Access("blacklist", "client_ip", (Clients("/b/*", ("192.0.2.0/24",)),)),
            ),
        )
        node.plane.load(programs[:FEW])
        few = [timed(lambda: node.plane.apply(programs[0])) for _ in range(effort.pick(50, 10))]
        node.plane.load([*programs, rules])
        many = [timed(lambda: node.plane.apply(programs[-1])) for _ in range(len(few))]
        results = [
            Result(
                "edge: a change",
                "ms",
                (f"{SERVICES} services", many),
                (f"{FEW} services", few),
                Goal("<=", 1.3),
            )
        ]
        own = _CPU(node.pids)
        times = effort.pick(3000, 300)
        for name, program, least in (
            ("first service", programs[0], 0.95),
            ("last service", programs[-1], 0.95),
            ("service with rules", rules, 0.75),
        ):
            host = program.domains[0]
            ours, theirs = alternate(
                effort.pick(9, 3),
                lambda host=host: own.rate(node.http, host, times),  # type: ignore[misc]
                lambda: site.cpu.rate(site.http, "www.example.com", times),
            )
            results.append(
                Result(
                    f"edge: hits of the {name}",
                    "per CPU second",
                    ("node", ours),
                    ("one site", theirs),
                    Goal(">=", least),
                )
            )
        return results


def _program(origin: Origin, number: int) -> Program:
    return Program(
        service_id=f"service-{number}",
        domains=(f"www{number}.example.com", f"alt{number}.example.com"),
        origins=(Upstream(origin.address, 80, False, None),),
        ttls=(Choice("/*", 3600),),
    )


class _CPU:
    """The CPU time of processes."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def rate(self, address: tuple[str, int], host: str, times: int) -> float:
        """Return the requests on one connection that take a second of CPU time."""
        before = self._seconds()
        head = f"GET /a/b.html HTTP/1.1\r\nHost: {host}\r\nUser-Agent: perf\r\nAccept: */*\r\n\r\n"
        with socket.create_connection(address, _TIMEOUT) as connection:
            for _ in range(times):
                connection.sendall(head.encode())
                received = b""
                while not received.endswith(b"...."):
                    part = connection.recv(65536)
                    assert part and b" 200 " in (received or part)[:16]
                    received += part
        return times / (self._seconds() - before)

    def _seconds(self) -> float:
        """Return the seconds on a CPU so far (proc(5), schedstat)."""
        files = [it for pid in self._pids for it in glob.glob(f"/proc/{pid}/task/*/schedstat")]
        return sum(int(Path(file).read_text().split()[0]) for file in files) / 1e9


class _Site:
    """HAProxy and Varnish with configurations for one site, as a person would write them."""

    def __init__(self, origin: Origin) -> None:
        self.http = ("127.0.0.1", free_port())
        self._origin = origin

    def __enter__(self) -> "_Site":
        self._stack = contextlib.ExitStack()
        directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="poppy-site-"))
        )
        (directory / "site.vcl").write_text(_VCL.replace("ORIGIN", self._origin.address))
        (directory / "haproxy.cfg").write_text(
            _HAPROXY.format(port=self.http[1], directory=directory)
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
        head = b"GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n"
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(self.http, 2) as probe:
                probe.sendall(head)
                if b" 200 " in probe.recv(100):
                    return
            time.sleep(0.1)
        raise RuntimeError("the site does not answer")
