# SPDX-License-Identifier: Apache-2.0
"""An agent that is killed at any step ends up with what is wanted."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from poppy.edge.program import Program, Upstream
from tests.unit.edge.agent_parts import BUG, REFUSED, Site
from tests.unit.edge.test_program import PROGRAM

SERVICES = st.sampled_from(["a", "b", "c", "d", "e"])
PATHS = st.sampled_from(["/x", "/y"])


class Killed(BaseException):
    """The agent's process ends at this step."""


class Model(RuleBasedStateMachine):
    """Publications, purges and failures of all kinds in any order.

    The origin changes its content just before each purge. So an object that is older than the
    last purge of it must not be in the cache of a node that has caught up.
    """

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._patched = pytest.MonkeyPatch()
        self._patched.setattr("os.fsync", self._sync)
        self.full = False
        self.fuse: int | None = None
        self.site = Site(Path(self._directory.name), self._step)
        self.site.options.poll_interval = 5.0
        #: All valid programs of each service; the content of the origin by service and path.
        self.valid: dict[str, list[Program]] = {}
        self.content: dict[tuple[str, str], int] = {}
        self.failing: dict[str, int] = {}
        self.versions = 0

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self._patched.undo()
            self._directory.cleanup()

    def _sync(self, descriptor: int) -> None:
        self._step()
        os.fstat(descriptor)
        if self.full:
            raise OSError(28, "No space left on device")
        self._step()

    def _step(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                raise Killed

    @rule(service=SERVICES, domains=st.sampled_from(["ok", REFUSED, BUG]))
    def publish(self, service: str, domains: str) -> None:
        self.versions += 1
        origin = Upstream(f"o{self.versions}.example.net", 80, False, None)
        program = replace(PROGRAM, service_id=service, domains=(domains,), origins=(origin,) * 2)
        revision = self.site.store.publish(program)
        if domains == "ok":
            self.valid.setdefault(service, []).append(program)
            self.failing.pop(service, None)
        else:
            self.failing[service] = revision

    @rule(service=SERVICES, document=st.sampled_from([1, {}, {"version": 2}]))
    def poison(self, service: str, document: Any) -> None:
        self.failing[service] = self.site.store.publish_document(service, document)

    @rule(service=SERVICES)
    def withdraw(self, service: str) -> None:
        self.site.store.withdraw(service)
        self.failing.pop(service, None)

    @rule(service=SERVICES, path=st.none() | PATHS, hard=st.booleans())
    def purge(self, service: str, path: str | None, hard: bool) -> None:
        for each in ("/x", "/y") if path is None else (path,):
            self.content[service, each] = self.content.get((service, each), 0) + 1
        self.site.store.purge(service, path, hard)

    @rule(service=SERVICES, path=PATHS)
    def request(self, service: str, path: str) -> None:
        self.site.plane.request(service, path, self.content.get((service, path), 0))

    @rule(away=st.booleans())
    def api(self, away: bool) -> None:
        self.site.direct.away = away

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        self.full = full

    @rule(down=st.booleans())
    def processes(self, down: bool) -> None:
        self.site.plane.down = down

    @rule(process=st.sampled_from(["haproxy", "varnish"]))
    def restart(self, process: str) -> None:
        self.site.plane.restart(process)

    @rule(back=st.integers(0, 5))
    def prune(self, back: int) -> None:
        self.site.store.prune(max(0, self.site.store.head - back))

    @rule(service=SERVICES, path=PATHS)
    def miss_a_purge(self, service: str, path: str) -> None:
        self.request(service, path)
        self.purge(service, path, hard=True)
        self.site.store.withdraw("a")
        self.failing.pop("a", None)
        self.site.store.prune(self.site.store.head)

    @rule()
    def restart_the_agent(self) -> None:
        self.site.start()

    @rule(steps=st.integers(0, 40), seconds=st.sampled_from([0, 2, 40]))
    def kill(self, steps: int, seconds: float) -> None:
        self.fuse = steps
        try:
            self.site.run(seconds)
        except Killed:
            self.site.start()
        self.fuse = None

    @rule(seconds=st.sampled_from([0, 2, 40]))
    def wait(self, seconds: float) -> None:
        self.site.run(seconds)

    @invariant()
    def what_is_served_was_published(self) -> None:
        for service, program in self.site.plane.applied.items():
            assert program in self.valid[service]

    @rule()
    def settle(self) -> None:
        """Everything works again: the node is what it is wanted to be."""
        self.site.direct.away = self.full = self.site.plane.down = False
        self.site.run(45)
        store, plane = self.site.store, self.site.plane
        wanted = store.published()
        for service, document in wanted.items():
            if service not in self.failing:
                assert plane.applied[service].to_dict() == document
        assert plane.applied.keys() <= wanted.keys(), "nothing is served that was withdrawn"
        assert {it.program.service_id: it.program for it in self.site.state.programs()} == (
            plane.applied
        )
        for key, content in plane.cache.items():
            assert content == self.content.get(key, 0), "no purge is lost"
        report = self.site.report
        assert report["revision"] == self.site.state.revision == store.head
        assert {service: it["revision"] for service, it in report["failures"].items()} == (
            self.failing
        )
        assert report["ready"] and plane.ready


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
