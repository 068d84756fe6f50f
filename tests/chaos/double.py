# SPDX-License-Identifier: Apache-2.0
"""A provider and a DNS zone as one HTTP server, which fails by order.

It is a separate process, so that it survives its callers; its state is in memory.

The provider::

    GET    /objects?reference=R     the objects with a customer's reference
    POST   /objects                 {"reference": R or null, "document": {...}}: 201, or 409 if an
                                    object has that reference (null: without this check)
    PUT    /objects/<id>            {"document": {...}}, with If-Match: 200, 404 or 412
    DELETE /objects/<id>            204, 404; 202 for a slow delete, which ends after some GETs
    POST   /objects/<id>/purges     {"url": "/path" or null, "hard": true}: 201, 404

An object is ``{"id", "reference", "document", "etag", "pending", "deleting", "purges"}``;
``pending`` counts the polls (GETs) until the last change is finished.

The zone::

    GET    /zone?name=N&name=...    {"<name>": "<target>"} of the existing names
    POST   /zone                    {"set": {"<name>": "<target>"}} or {"unset": ["<name>"]}: 204

Tests control it under ``/control``: see :class:`tests.chaos.control.Double`.
"""

import argparse
import contextlib
import json
import math
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.chaos.orders import Action, Order, Orders

Answer = tuple[int, Any]


class Hold:
    """A held call."""

    def __init__(self, number: int, call: dict[str, Any], stage: str) -> None:
        self.told = {"number": number, "stage": stage, **call}
        self._released = threading.Event()
        self._go_on = True

    def wait(self) -> bool:
        """Wait; return whether to continue, or else close the caller's connection."""
        self._released.wait()
        return self._go_on

    def release(self, go_on: bool) -> None:
        """Continue the call or drop it."""
        self._go_on = go_on
        self._released.set()


class State:
    """The objects, names and calls of the double."""

    def __init__(self, seed: int) -> None:
        self.orders = Orders(seed)
        self.lock = threading.RLock()
        self.objects: dict[str, dict[str, Any]] = {}
        self.zone: dict[str, str] = {}
        self.journal: list[dict[str, Any]] = []
        self.holds: dict[int, Hold] = {}
        self.tampered: set[str] = set()
        self._numbers = iter(range(1, sys.maxsize))

    def number(self) -> int:
        """Return the next number."""
        with self.lock:
            return next(self._numbers)

    def find(self, reference: str | None) -> Answer:
        """Return the objects of a reference, or all; this polls each of them."""
        with self.lock:
            found = [o for o in self.objects.values() if reference in (None, o["reference"])]
            for thing in found:
                self._poll(thing)
            return 200, [dict(o) for o in found if o["id"] in self.objects]

    def _poll(self, thing: dict[str, Any]) -> None:
        thing["pending"] = max(0, thing["pending"] - 1)
        if thing["deleting"] and not thing["pending"]:
            del self.objects[thing["id"]]

    def create(self, body: Any, polls: int) -> Answer:
        """Create an object."""
        with self.lock:
            reference = body["reference"]
            same = [o for o in self.objects.values() if reference and o["reference"] == reference]
            if same:
                return 409, {"message": f"there is {same[0]['id']} for {reference}"}
            made = {
                "id": f"obj-{self.number()}",
                # A careless driver sends no reference, but the checker needs it.
                "reference": reference or body["document"]["reference"],
                "document": body["document"],
                "etag": str(self.number()),
                "pending": polls,
                "deleting": False,
                "purges": [],
            }
            self.objects[made["id"]] = made
            return 201, dict(made)

    def replace(self, name: str, body: Any, etag: str | None, polls: int) -> Answer:
        """Change an object if its ETag matches."""
        with self.lock:
            found = self.objects.get(name)
            if found is None or found["deleting"]:
                return 404, {"message": f"there is no {name}"}
            if etag != found["etag"]:
                return 412, {"message": f"{name} is now {found['etag']}"}
            found |= {"document": body["document"], "etag": str(self.number()), "pending": polls}
            return 200, dict(found)

    def delete(self, name: str, polls: int) -> Answer:
        """Remove an object, at once or after some polls."""
        with self.lock:
            found = self.objects.get(name)
            if found is None:
                return 404, {"message": f"there is no {name}"}
            if polls or found["deleting"]:
                found |= {"deleting": True, "pending": max(polls, found["pending"])}
                return 202, dict(found)
            del self.objects[name]
            return 204, None

    def purge(self, name: str, body: Any) -> Answer:
        """Record a purge."""
        with self.lock:
            found = self.objects.get(name)
            if found is None or found["deleting"]:
                return 404, {"message": f"there is no {name}"}
            found["purges"].append(body)
            return 201, None

    def resolve(self, names: list[str]) -> Answer:
        """Return the existing names."""
        with self.lock:
            return 200, {name: self.zone[name] for name in names if name in self.zone}

    def change_zone(self, body: Any) -> Answer:
        """Set and unset names."""
        with self.lock:
            self.zone.update(body.get("set", {}))
            for name in body.get("unset", ()):
                self.zone.pop(name, None)
            return 204, None

    def tamper(self, which: int) -> Answer:
        """Change or delete an object or a name by hand, without a call in the journal."""
        with self.lock:
            objects = [o for o in self.objects.values() if not o["deleting"]]
            names = sorted(self.zone)
            things: list[Any] = [*objects, *names]
            if not things:
                return 204, None
            thing = things[which % len(things)]
            is_deleted = which // len(things) % 2 == 0
            if isinstance(thing, str):
                if is_deleted:
                    del self.zone[thing]
                else:
                    self.zone[thing] = "by.hand.example.com"
                return 204, None
            self.tampered.add(thing["reference"])
            if is_deleted:
                del self.objects[thing["id"]]
            else:
                spec = {**thing["document"]["spec"], "name": "by hand"}
                thing |= {
                    "document": {**thing["document"], "spec": spec},
                    "etag": str(self.number()),
                }
            return 204, None

    def reference_of(self, name: str) -> str:
        """Return the reference of an object, or an empty string."""
        with self.lock:
            return str(self.objects.get(name, {}).get("reference") or "")


class Handler(BaseHTTPRequestHandler):
    """HTTP requests, which act on the state."""

    protocol_version = "HTTP/1.1"
    # Headers and body are sent separately, which Nagle's algorithm would delay by 40 ms.
    disable_nagle_algorithm = True
    server: "Server"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, since the journal has all calls."""

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def do_DELETE(self) -> None:
        self._route("DELETE")

    def _route(self, method: str) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        if len(text) < length:
            # The caller was killed while sending.
            self.close_connection = True
            return
        body = json.loads(text) if text else None
        head, _, rest = url.path.strip("/").partition("/")
        if head == "control":
            self._send(*_control(self.server.state, rest, method, body))
        elif head == "zone":
            self._zone(method, query.get("name", []), body)
        elif head == "objects":
            self._provider(method, rest, query, body)
        else:
            self._send(404, {"message": self.path})

    def _zone(self, method: str, names: list[str], body: Any) -> None:
        state = self.server.state
        if method == "GET":
            self._serve("resolve", names, lambda _polls: state.resolve(names))
            return
        operation = "set" if "set" in body else "unset"
        self._serve(operation, list(body[operation]), lambda _polls: state.change_zone(body))

    def _provider(self, method: str, rest: str, query: dict[str, list[str]], body: Any) -> None:
        state = self.server.state
        name, _, part = rest.partition("/")
        subject = state.reference_of(name)
        if method == "GET":
            reference = query.get("reference", [None])[0]
            self._serve("find", [reference or ""], lambda _polls: state.find(reference))
        elif method == "POST" and not name:
            subject = body["document"]["reference"]
            self._serve("create", [subject], lambda polls: state.create(body, polls))
        elif method == "POST" and part == "purges":
            self._serve("purge", [subject], lambda _polls: state.purge(name, body))
        elif method == "PUT":
            etag = self.headers.get("If-Match")
            self._serve("replace", [subject], lambda polls: state.replace(name, body, etag, polls))
        else:
            self._serve("delete", [subject], lambda polls: state.delete(name, polls))

    def _serve(self, operation: str, subjects: list[str], effect: Callable[[int], Answer]) -> None:
        """Carry out a call, or the order that matches it."""
        state = self.server.state
        order = state.orders.next(operation, subjects)
        call = {
            "operation": operation,
            "subjects": subjects,
            "caller": int(self.headers.get("X-Caller") or 0),
            "at": time.time(),
            "order": str(order.action) if order else None,
            "status": None,
        }
        with state.lock:
            state.journal.append(call)
        if order and not self._before(order, call):
            return
        polls = int(order.value) if order and order.action is Action.SLOW else 0
        status, answer = effect(polls)
        call["status"] = status
        if order is None or self._after(order, call, status, answer):
            self._send(status, answer)

    def _before(self, order: Order, call: dict[str, Any]) -> bool:
        """Apply an order instead of the effect or before it; return whether to go on."""
        if order.action is Action.HOLD_BEFORE:
            return self._hold(call, "before")
        if order.action is Action.HANG:
            time.sleep(order.value)
            self.close_connection = True
            return False
        status = {Action.LIMIT: 429, Action.FAIL: 500, Action.REFUSE: 400}.get(order.action)
        if status is None:
            return True
        call["refusal"] = status
        wait = {"Retry-After": str(math.ceil(order.value))} if status == 429 else {}
        self._send(status, {"message": "as ordered"}, wait)
        return False

    def _after(self, order: Order, call: dict[str, Any], status: int, answer: Any) -> bool:
        """Apply an order between the effect and the answer; return whether to answer."""
        if order.action is Action.HOLD_AFTER:
            return self._hold(call, "after")
        if order.action is Action.LOSE:
            self.close_connection = True
            return False
        if order.action is Action.CUT:
            self._send(status, answer, cut=True)
            return False
        return True

    def _hold(self, call: dict[str, Any], stage: str) -> bool:
        state = self.server.state
        hold = Hold(state.number(), call, stage)
        with state.lock:
            state.holds[hold.told["number"]] = hold
        if hold.wait():
            return True
        self.close_connection = True
        return False

    def _send(
        self,
        status: int,
        answer: Any,
        headers: dict[str, str] | None = None,
        cut: bool = False,
    ) -> None:
        text = b"" if answer is None else json.dumps(answer).encode()
        # An empty answer can only lose its head.
        length = len(text) or (1 if cut else 0)
        # The caller may be dead.
        with contextlib.suppress(ConnectionError):
            if cut and status == 204:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(length))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text[: len(text) // 2] if cut else text)
            self.close_connection = self.close_connection or cut


class Server(ThreadingHTTPServer):
    """The server with its state."""

    daemon_threads = True
    # The workers of the long run make many connections.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], seed: int) -> None:
        super().__init__(address, Handler)
        self.state = State(seed)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connection errors, since tests kill callers; report others."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _control(state: State, what: str, method: str, body: Any) -> Answer:
    with state.lock:
        if what == "orders" and method == "POST":
            state.orders.give(Order(**body))
            return 204, None
        if what == "orders":
            state.orders.clear()
            return 204, None
        if what == "holds" and method == "POST":
            state.holds.pop(body["number"]).release(body["go_on"])
            return 204, None
        if what == "holds":
            return 200, [hold.told for hold in state.holds.values()]
        if what == "tampered" and method == "POST":
            return state.tamper(int(body["which"]))
        if what == "tampered":
            return 200, sorted(state.tampered)
        if what == "journal":
            return 200, state.journal
        if what == "zone":
            return 200, dict(state.zone)
        if what == "objects":
            # This does not count as a poll.
            return 200, list(state.objects.values())
        return 404, {"message": what}


def main() -> None:
    """Serve until killed; the first line of output is the address."""
    parser = argparse.ArgumentParser(description="The provider and DNS double.")
    parser.add_argument("--seed", type=int, default=0, help="of what is left to chance")
    server = Server(("127.0.0.1", 0), parser.parse_args().seed)
    print("http://{}:{}".format(*server.server_address), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
