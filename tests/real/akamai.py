# SPDX-License-Identifier: Apache-2.0
"""A double of Akamai's APIs: a real HTTP server with the state of one account.

It checks the signature of every request (EdgeGrid) and the order of the calls, but not the form of
the requests. Prism checks that against the vendor's own documents, where a test puts it in between
(``contracts``).
"""

import base64
import hashlib
import hmac
import http.client
import http.server
import json
import re
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from tests.real.akamai_cps import CPSDouble
from tests.real.akamai_datastream import DataStreamDouble
from tests.real.akamai_dom import DOMDouble
from tests.real.akamai_edge import EdgeDouble
from tests.real.akamai_papi import PAPIDouble

CLIENT_TOKEN = "akab-client-token"
CLIENT_SECRET = "the-client-secret"
ACCESS_TOKEN = "akab-access-token"
CONTRACT = "ctr_C-0N7RAC7"
GROUP = "grp_15225"
PRODUCT = "prd_Fresca"

#: The fate of a request, by its number from 1: ``ok``; ``lost``: it is done, but the reply is
#: lost; ``dead``: it does not arrive; or a status to answer with instead.
Plan = Callable[[int], str | int]


class Request(NamedTuple):
    """A request to the double."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class Akamai:
    """A server on loopback; use it as a context manager.

    Args:
        contracts: for the first segment of the path (``papi`` ...), the host and port of a proxy
            that requests are sent through and that sends them to :attr:`inner_url`.

    Attributes:
        url: the URL for drivers.
        calls: ``METHOD path`` of every request that arrived, in order.
        bodies: the text of every request's body, in order.
        plan: see :data:`Plan`.
        violations: errors that the proxies found in requests and answers.
    """

    def __init__(self, contracts: Mapping[str, tuple[str, int]] | None = None) -> None:
        self.dom = DOMDouble()
        self.papi = PAPIDouble(CONTRACT, GROUP, PRODUCT, self.dom.accepts)
        self.papi.default.cnames = self.dom.cnames
        self.cps = CPSDouble(CONTRACT)
        self.edge = EdgeDouble(self.papi)
        self.streams = DataStreamDouble(self.papi, CONTRACT, GROUP)
        self.papi.takes_stream = self.streams.accepts
        self.contracts = dict(contracts or {})
        self._lock = threading.RLock()
        self._nonces: set[str] = set()
        self._inner = _server(self._answer_inside)
        self._outer = _server(self._answer_outside)
        self.url = _url(self._outer)
        self.inner_url = _url(self._inner)
        self.violations: list[str] = []
        self.restart()

    def restart(self, plan: Plan | None = None) -> None:
        """Count requests from 1 again; without a plan, everything works."""
        self.calls: list[str] = []
        self.bodies: list[bytes] = []
        self.plan = plan or (lambda _number: "ok")

    def _answer_outside(self, handler: "_Handler", body: bytes) -> None:
        with self._lock:
            self.calls.append(f"{handler.command} {handler.path}")
            self.bodies.append(body)
            fate = self.plan(len(self.calls))
        if fate == "dead":
            handler.close_connection = True
            return
        if isinstance(fate, int):
            handler.reply(fate, {"X-RateLimit-Limit": "60"}, _problem(fate))
            return
        refusal = self._unsigned(handler, body)
        if refusal:
            handler.reply(401, {}, {**_problem(401), "detail": refusal})
            return
        status, headers, document = self._forward(handler, body)
        if fate == "lost":
            handler.close_connection = True
            return
        handler.reply(status, headers, document)

    def _forward(self, handler: "_Handler", body: bytes) -> tuple[int, dict[str, str], Any]:
        api, _, rest = handler.path.removeprefix("/").partition("/")
        proxy = self.contracts.get(api)
        if proxy is None:
            return self._do(handler, body)
        connection = http.client.HTTPConnection(*proxy, timeout=30)
        try:
            headers = {k: v for k, v in handler.headers.items() if k.lower() != "host"}
            # The paths in a contract do not include the API and its version.
            path = "/" + rest.partition("/")[2]
            connection.request(handler.command, path, body or None, headers)
            answer = connection.getresponse()
            text = answer.read()
            for violation in json.loads(answer.headers.get("sl-violations") or "[]"):
                where = ".".join(map(str, violation["location"]))
                found = f"{handler.command} {handler.path}: {where}: {violation['message']}"
                self.violations.append(found)
            return answer.status, dict(answer.headers), json.loads(text) if text else None
        finally:
            connection.close()

    def _answer_inside(self, handler: "_Handler", body: bytes) -> None:
        handler.reply(*self._do(handler, body))

    def _do(self, handler: "_Handler", body: bytes) -> tuple[int, dict[str, str], Any]:
        parts = urlsplit(handler.path)
        request = Request(
            handler.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in handler.headers.items()},
            json.loads(body) if body else None,
        )
        with self._lock:
            for double in (self.papi, self.cps, self.dom, self.edge, self.streams):
                for method, pattern, act in double.routes:
                    found = re.fullmatch(pattern, request.path)
                    if method == request.method and found:
                        try:
                            return act(request, *found.groups())
                        except KeyError as exc:
                            return 400, {}, {**_problem(400), "detail": f"no {exc}"}
        return 404, {}, _problem(404)

    def _unsigned(self, handler: "_Handler", body: bytes) -> str | None:
        """Return why the signature of a request is invalid; None if it is valid.

        It follows https://techdocs.akamai.com/developer/docs/edgegrid, not the library.
        """
        given = handler.headers.get("Authorization") or ""
        kind, _, fields = given.partition(" ")
        unsigned, _, signature = given.partition("signature=")
        found = dict(part.partition("=")[::2] for part in fields.split(";") if part)
        if kind != "EG1-HMAC-SHA256" or found.get("client_token") != CLIENT_TOKEN:
            return "no client"
        if found.get("access_token") != ACCESS_TOKEN or found["nonce"] in self._nonces:
            return "no access"
        self._nonces.add(found["nonce"])
        signed_body = handler.command == "POST" and body
        hashed = _base64(hashlib.sha256(body[:131072]).digest()) if signed_body else ""
        host = handler.headers["Host"]
        data = [handler.command, "http", host, handler.path, "", hashed, unsigned]
        key = _sign(CLIENT_SECRET, found["timestamp"])
        return None if _sign(key, "\t".join(data)) == signature else "wrong signature"

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            for server in (self._inner, self._outer)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in (self._outer, self._inner):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(timeout=10)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise, the client's delayed acknowledgement adds 40 ms to each answer.
    disable_nagle_algorithm = True
    server: Any

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.act(self, body)

    do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

    def reply(self, status: int, headers: Mapping[str, str], document: Any) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response_only(status)
        kept = {name.lower(): value for name, value in headers.items()}
        own = ("content-length", "transfer-encoding", "connection", "keep-alive")
        kept = {name: value for name, value in kept.items() if name not in own}
        problem = "application/problem+json" if status >= 400 else "application/json"
        kept.setdefault("content-type", problem)
        for name, value in kept.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: Any) -> None:
        pass


def _server(act: Callable[[_Handler, bytes], None]) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.act = act  # type: ignore[attr-defined]
    return server


def _url(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def _problem(status: int) -> dict[str, Any]:
    return {"type": "about:blank", "title": f"Problem {status}", "status": status}


def _sign(key: str, text: str) -> str:
    return _base64(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest())


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
