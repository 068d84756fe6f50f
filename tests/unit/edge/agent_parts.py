# SPDX-License-Identifier: Apache-2.0
"""The parts around an agent: a data plane in memory, and the API without sockets."""

import datetime
import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import requests
import requests.adapters

from poppy.edge.agent.agent import Agent
from poppy.edge.agent.client import Client
from poppy.edge.errors import Down, Refused
from poppy.edge.program import Program
from poppy.edge.state import State
from poppy.edge.traffic import Sample
from poppy.model.edge import Prewarmed
from poppy.model.edge_traffic import Counts, Domain
from poppy.model.purges import Purge
from tests.real.edge_api import EdgeStore

#: A program for this domain is refused, and one for this domain has a bug of the data plane.
REFUSED = "refused.example.com"
BUG = "bug.example.com"

OPTIONS = types.SimpleNamespace(
    poll_interval=1.0,
    report_interval=10.0,
    traffic_interval=60.0,
    verify_interval=300.0,
    serve_stale_after=10.0,
)


class Clock:
    """A monotonic clock that only tests advance."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Plane:
    """A data plane in memory, with HAProxy's programs and Varnish's cache.

    Attributes:
        applied: the programs that it serves.
        cache: the cached content of each service by path.
        calls: the calls of changes, in order.
        ready: what the health page says.
        down: whether the processes do not answer.
        counted: what HAProxy has counted since its start.
        step: called before and after each effect; may raise.
    """

    def __init__(self, state: State, step: Callable[[], None] = lambda: None) -> None:
        self._state = state
        self.step = step
        self.applied: dict[str, Program] = {}
        self.cache: dict[tuple[str, str], object] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.prewarms: dict[str, Prewarmed] = {}
        self.ready: bool | None = None
        self.down = False
        self.counted: dict[Domain, Counts] = {}
        self._starts = dict.fromkeys(("haproxy", "varnish"), 0)
        self.restart("haproxy")

    def restart(self, process: str) -> None:
        """Restart a process: HAProxy serves the state, Varnish's cache is empty."""
        self._starts[process] += 1
        if process == "varnish":
            self.cache.clear()
        else:
            self.ready = None
            self.counted = {}
            self.applied = {}
            for stored in self._state.programs():
                if REFUSED not in stored.program.domains:
                    self.applied[stored.program.service_id] = stored.program

    def request(self, service_id: str, path: str, content: object) -> object:
        """Return what a client gets if the origin has this content; None for 404."""
        if service_id not in self.applied:
            return None
        return self.cache.setdefault((service_id, path), content)

    def apply(self, program: Program) -> None:
        self._call("apply", program.service_id)
        if BUG in program.domains:
            raise KeyError("bug")
        if REFUSED in program.domains:
            raise Refused("its domain is refused")
        self.applied[program.service_id] = program
        self.step()

    def withdraw(self, service_id: str) -> None:
        self._call("withdraw", service_id)
        self.applied.pop(service_id, None)
        self.step()

    def purge(self, service_id: str, purge: Purge) -> None:
        self._call("purge", service_id, purge.url, purge.hard)
        for key in [it for it in self.cache if it[0] == service_id and purge.url in (None, it[1])]:
            del self.cache[key]
        self.step()

    def prewarm(self, service_id: str, revision: int, paths: Sequence[str]) -> None:
        self._call("prewarm", service_id, tuple(paths))
        self.prewarms[service_id] = Prewarmed(revision, False, "")
        self.step()

    def prewarmed(self) -> Mapping[str, Prewarmed]:
        return dict(self.prewarms)

    def flush(self) -> None:
        self._call("flush")
        self.cache.clear()
        self.step()

    def load(self, programs: Iterable[Program]) -> Mapping[str, str]:
        self._call("load")
        programs = list(programs)
        self.applied = {it.service_id: it for it in programs if REFUSED not in it.domains}
        self.step()
        return {it.service_id: "refused" for it in programs if REFUSED in it.domains}

    def started(self) -> Mapping[str, datetime.datetime]:
        self.step()
        began = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        return {
            name: began + datetime.timedelta(seconds=count)
            for name, count in self._starts.items()
            if not self.down
        }

    def traffic(self) -> Sample:
        if self.down:
            raise Down("HAProxy does not answer")
        self.step()
        return Sample(str(self._starts["haproxy"]), dict(self.counted))

    def set_ready(self, ready: bool) -> None:
        self._call("set_ready", ready)
        self.ready = ready
        self.step()

    def _call(self, *call: Any) -> None:
        if self.down:
            raise Down("HAProxy does not answer")
        self.step()
        self.calls.append(call)


class Direct(requests.adapters.BaseAdapter):
    """Answers requests from a store.

    Attributes:
        away: whether the API can't be reached.
    """

    def __init__(self, store: EdgeStore) -> None:
        super().__init__()
        self._store = store
        self.away = False

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        if self.away:
            raise requests.ConnectionError("away")
        body = request.body or b""
        found = self._store.answer(
            request.method or "", request.path_url, request.headers, bytes(body)
        )
        response = requests.Response()
        response.status_code = found.status
        response.request = request
        response.url = request.url or ""
        response.headers["ETag"] = found.etag or ""
        response._content = b"" if found.document is None else json.dumps(found.document).encode()
        response._content_consumed = True
        return response

    def close(self) -> None:
        pass


class Site:
    """An agent, its files and its data plane, and the API."""

    def __init__(self, directory: Any, step: Callable[[], None] = lambda: None) -> None:
        self.clock = Clock()
        self.store = EdgeStore(self.clock)
        self.direct = Direct(self.store)
        self.state = State(directory / "state")
        self.state.create()
        self.plane = Plane(self.state, step)
        self._token = self.store.node("n1")
        self.options = types.SimpleNamespace(**vars(OPTIONS))
        self.limit = 3
        self.start()

    def start(self, instance: str = "i1") -> None:
        """Start an agent in place of the previous one."""
        self.client = Client("http://api", self._token)
        self.client._session.mount("http://api", self.direct)
        self.client._page = self.limit
        self.agent = Agent(
            self.options,
            self.client,
            State(self.state._programs.parent),
            self.plane,
            instance,
            self.clock,
        )

    def run(self, seconds: float = 0.0) -> None:
        """Let the agent do what is due within some seconds."""
        end = self.clock.now + seconds
        for _ in range(10_000):
            wait = self.agent.turn()
            self.client._page = self.limit
            if wait and self.clock.now + wait > end:
                break
            self.clock.now += wait
        else:
            raise AssertionError("the agent is never idle")
        self.clock.now = end

    @property
    def report(self) -> dict[str, Any]:
        """The node's last report."""
        return self.store.reports["n1"]
