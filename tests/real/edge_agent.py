# SPDX-License-Identifier: Apache-2.0
"""A double of a node of the own edge: an agent without HAProxy and Varnish.

It follows ``doc/source/specs/edge-pulls.rst`` over the real API, and refuses programs that
:mod:`poppy.edge.program` refuses.
"""

import threading
import time

import webtest

from poppy.edge.program import Program
from poppy.model import ids
from poppy.transport.pecan.controllers.edge import MAX_CHANGES


class Agent:
    """The agent of a node, which joins at once.

    Args:
        app: the API's WSGI application.
        join_token: of ``EdgeManager.add``.

    Attributes:
        programs: by service.
        prewarms: by service, as in a report.
        purges: (service, URL, whether it is hard), in order; one for each URL.
        refused: the reason for refusing each program of a service, by service.
        ready: what it reports.
        revision: the revision that it has reached.
    """

    def __init__(self, app, name, join_token):
        self._app = webtest.TestApp(app)
        body = {"name": name, "token": join_token}
        self.token = self._app.post_json("/edge/v1/join", body, status=201).json["token"]
        self.name = name
        self.instance = ids.new()
        self.programs = {}
        self.purges = []
        self.prewarms = {}
        self.refused = {}
        self.ready = True
        self.revision = 0
        self.drained = False
        self._failures = {}
        self._tag = None

    @property
    def _headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def poll(self):
        """Fetch all changes, apply them, and report; return whether there were any."""
        snapshot, changed = 0, False
        while True:
            url = f"/edge/v1/changes?after={self.revision}&limit={MAX_CHANGES}"
            url += f"&snapshot={snapshot}" if snapshot else ""
            headers = {**self._headers, **({"If-None-Match": self._tag} if self._tag else {})}
            answer = self._app.get(url, headers=headers, status=(200, 304, 410))
            if answer.status_int == 304:
                break
            if answer.status_int == 410:
                self.revision, snapshot, self._tag = 0, 0, None
                self.programs.clear()
                self.purges.append((None, None, True))
                continue
            page = answer.json
            snapshot = snapshot or (page["head"] if self.revision == 0 else 0)
            for change in page["changes"]:
                self._apply(change)
                changed = True
            self.revision = page["revision"]
            if self.revision == page["head"]:
                self._tag = answer.headers["ETag"]
                break
            self._tag = None
        self.report()
        return changed

    def report(self):
        """Report the state; remember whether the node is drained."""
        document = {
            "instance": self.instance,
            "revision": self.revision,
            "ready": self.ready,
            "version": "1.0",
            "started": {},
            "failures": self._failures,
            **({"prewarms": self.prewarms} if self.prewarms else {}),
        }
        answer = self._app.put_json("/edge/v1/report", document, headers=self._headers)
        self.drained = answer.json["drained"]

    def run(self, stopped: threading.Event, pause: float) -> None:
        """Poll until ``stopped``."""
        while not stopped.wait(pause):
            self.poll()

    def _apply(self, change):
        service = change["service_id"]
        if "purge" in change:
            purge = change["purge"]
            if service in self.refused:
                reason = {"revision": change["revision"], "reason": self.refused[service]}
                self._failures[service] = reason
                return
            for url in purge.get("urls", [purge["url"]]):
                self.purges.append((service, url, purge["hard"]))
            return
        if "prewarm" in change:
            self.prewarms[service] = {
                "revision": change["revision"],
                "done": False,
                "reason": "",
            }
            return
        self._failures.pop(service, None)
        if change["program"] is None:
            self.programs.pop(service, None)
            return
        try:
            if service in self.refused:
                raise ValueError(self.refused[service])
            self.programs[service] = Program.from_dict(change["program"])
        except ValueError as exc:
            self._failures[service] = {"revision": change["revision"], "reason": str(exc)}


class NodeAgent(Agent):
    """Applies programs to a real node."""

    def __init__(self, node, *arguments):
        super().__init__(*arguments)
        self.node = node

    def _apply(self, change):
        super()._apply(change)
        service = change["service_id"]
        if change.get("program"):
            self.node.serve(self.programs[service])
        elif "program" in change:
            self.node.plane.withdraw(service)


def until(condition, timeout=15.0):
    """Wait for a condition; return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - began
