# SPDX-License-Identifier: Apache-2.0
"""The nodes' API of the decision record "The edge pulls", in memory, behind a real HTTP server.

It refuses what the record does not allow: parameters and fields that it does not name, numbers
out of bounds, revisions below the floor, unknown tokens, and a second live agent.
"""

import datetime
import http.server
import json
import re
import secrets
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from poppy.edge.program import Program

#: Seconds after a report for which an agent is live.
LIVE = 30.0
#: Bytes of a body, and failures in a report.
MAX_BODY, MAX_REPORT, MAX_FAILURES = 65536, 1024 * 1024, 1000
#: Bytes of an object with access logs.
MAX_LOG = 64 * 1024 * 1024


class Answer(NamedTuple):
    """A response; its document is sent as JSON."""

    status: int
    document: Mapping[str, Any] | None = None
    etag: str | None = None


class Refused(Exception):
    """The request gets this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"message": message})


class EdgeStore:
    """The API's state and its answers to requests.

    Attributes:
        head: the newest revision.
        floor: the last pruned revision.
        reports: the last report of each node, by name.
        traffic: the counts of each source, by node, source, service, domain and country, with the
            sequence before them: [1xx, ..., 5xx, hits, sent]. Those of all domains have empty
            names, and those of all countries an empty country.
        drained: names of drained nodes.
        tokens: names of nodes by token.
        joins: names of nodes by their token for one join.
        clock: tells the time in seconds.
        log_url: returns the URL for an object with access logs, by its description and the name of
            the node; without one, there is no bucket.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.log_url: Callable[[dict[str, Any], str], str] | None = None
        self.clock = clock
        self.head = 0
        self.floor = 0
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self._reported: dict[str, float] = {}
        self.traffic: dict[tuple[str, str, str, str, str], tuple[int, list[int]]] = {}
        self.drained: set[str] = set()
        self.tokens: dict[str, str] = {}
        self.joins: dict[str, str] = {}
        self.lock = threading.RLock()

    def add_node(self, name: str) -> str:
        """Return a token for one join."""
        token = secrets.token_urlsafe(24)
        self.joins[token] = name
        return token

    def node(self, name: str) -> str:
        """Add a node that has joined; return its token."""
        token = secrets.token_urlsafe(24)
        self.tokens[token] = name
        return token

    def publish(self, program: Program) -> int:
        """Publish a program; return its revision."""
        return self.publish_document(program.service_id, program.to_dict())

    def publish_document(self, service_id: str, document: Any) -> int:
        """Publish anything as a service's program."""
        return self._add((service_id, 0), {"service_id": service_id, "program": document})

    def withdraw(self, service_id: str) -> int:
        """Withdraw a service."""
        return self._add((service_id, 0), {"service_id": service_id, "program": None})

    def purge(self, service_id: str, url: str | None = None, hard: bool = True) -> int:
        """Purge a service's content."""
        purge = {"url": url, "hard": hard}
        return self._add((service_id, self.head + 1), {"service_id": service_id, "purge": purge})

    def prewarm(self, service_id: str, *urls: str) -> int:
        """Prewarm a service."""
        change = {"service_id": service_id, "prewarm": {"urls": list(urls)}}
        return self._add((service_id, self.head + 1), change)

    def prune(self, revision: int) -> None:
        """Remove purges and withdrawals up to a revision, which is then the floor."""
        with self.lock:
            self._rows = {
                key: row
                for key, row in self._rows.items()
                if row["revision"] > revision or row.get("program") is not None
            }
            self.floor = max(self.floor, revision)

    def published(self) -> dict[str, Any]:
        """Return the current programs by service."""
        with self.lock:
            rows = self._rows.values()
            return {
                it["service_id"]: it["program"] for it in rows if it.get("program") is not None
            }

    def _add(self, key: tuple[str, int], row: dict[str, Any]) -> int:
        with self.lock:
            self.head += 1
            self._rows[key] = {"revision": self.head, **row}
            return self.head

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request; ``headers`` ignores case."""
        with self.lock:
            try:
                return self._answer(method, urllib.parse.urlsplit(target), headers, body)
            except Refused as exc:
                return exc.answer

    def _answer(
        self,
        method: str,
        target: urllib.parse.SplitResult,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        route = f"{method} {target.path}"
        query = dict(urllib.parse.parse_qsl(target.query, strict_parsing=bool(target.query)))
        if route == "POST /edge/v1/join":
            return self._join(_object(body, {"name": str, "token": str}))
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            raise Refused(401, "unknown token")
        if route == "GET /edge/v1/changes":
            return self._changes(query, headers.get("If-None-Match"))
        if route == "PUT /edge/v1/report":
            return self._report(self.tokens[token], body)
        if route == "PUT /edge/v1/traffic":
            return self._traffic(self.tokens[token], body)
        if route == "POST /edge/v1/logs":
            return self._logs(self.tokens[token], body)
        raise Refused(404, "no such resource")

    def _join(self, document: dict[str, Any]) -> Answer:
        name = self.joins.pop(document["token"], None)
        if name is None or name != document["name"]:
            raise Refused(401, "unknown or expired token")
        return Answer(201, {"token": self.node(name)})

    def _changes(self, query: dict[str, str], known: str | None) -> Answer:
        if set(query) - {"after", "limit", "snapshot"}:
            raise Refused(400, "unknown parameter")
        after = _number(query.get("after", "0"), 0, 2**63 - 1)
        limit = _number(query.get("limit", "500"), 1, 500)
        snapshot = _number(query.get("snapshot", "0"), 0, 2**63 - 1)
        etag = f'"{self.head}"'
        if known == etag:
            return Answer(304, etag=etag)
        since = max(after, snapshot)
        if since and not self.floor <= since <= self.head:
            raise Refused(410, f"the changes after {since} are not available")
        rows = sorted(
            (row for row in self._rows.values() if row["revision"] > after),
            key=lambda row: int(row["revision"]),
        )
        page = rows[:limit]
        last = page[-1]["revision"] if len(rows) > limit else self.head
        return Answer(200, {"revision": last, "head": self.head, "changes": page}, etag)

    def _report(self, name: str, body: bytes) -> Answer:
        fields = {
            "instance": str,
            "revision": int,
            "ready": bool,
            "version": str,
            "started": dict,
            "failures": dict,
        }
        optional = {"prewarms": dict} if b'"prewarms"' in body else {}
        report = _object(body, {**fields, **optional}, MAX_REPORT)
        if len(report["failures"]) > MAX_FAILURES:
            raise Refused(400, "failures")
        _check_prewarms(report)
        for process, text in report["started"].items():
            if process not in ("agent", "haproxy", "varnish"):
                raise Refused(400, f"started: {process}")
            if datetime.datetime.fromisoformat(text).tzinfo is None:
                raise Refused(400, f"started: {text}")
        if report["revision"] > self.head:
            raise Refused(400, f"the revision is after {self.head}")
        for service, failure in report["failures"].items():
            if not re.fullmatch("[A-Za-z0-9._:-]{1,64}", service):
                raise Refused(400, f"failures: {service:.80}")
            if not 0 < len(failure.get("reason", "")) <= 300:
                raise Refused(400, "reason")
            _object(json.dumps(failure).encode(), {"revision": int, "reason": str})
        previous = self.reports.get(name)
        now = self.clock()
        if (
            previous is not None
            and previous["instance"] != report["instance"]
            and now - self._reported[name] < LIVE
        ):
            raise Refused(409, f"the instance {previous['instance']} of {name} is live")
        self.reports[name] = report
        self._reported[name] = now
        return Answer(200, {"drained": name in self.drained})

    def _traffic(self, name: str, body: bytes) -> Answer:
        fields = {"source": str, "hour": str, "sequence": int, "total": dict, "domains": list}
        document = _object(body, fields, 1024 * 1024)
        if not re.fullmatch("[A-Za-z0-9._:-]{16,64}", document["source"]):
            raise Refused(400, "source")
        hour = datetime.datetime.fromisoformat(document["hour"])
        if hour.tzinfo is None or hour.timestamp() % 3600:
            raise Refused(400, "hour")
        if len(document["domains"]) > 1000:
            raise Refused(400, "domains")
        age = time.time() - hour.timestamp()
        rows = {("", "", ""): _counts(document["total"], {})}
        for entry in document["domains"]:
            key = (entry["service_id"], entry["domain"])
            more = {"service_id": str, "domain": str, "countries": dict}
            rows[(*key, "")] = _counts(entry, more)
            for country, part in entry["countries"].items():
                if not re.fullmatch("[A-Z]{2}", country):
                    raise Refused(400, f"countries: {country}")
                rows[(*key, country)] = _counts(part, {})
        if not -3600 <= age <= 30 * 86400:
            return Answer(200, {"stored": False})
        for key, counts in rows.items():
            known = self.traffic.get((name, document["source"], *key), (0, []))
            if known[0] < document["sequence"]:
                self.traffic[(name, document["source"], *key)] = (document["sequence"], counts)
        return Answer(200, {"stored": True})

    def _logs(self, name: str, body: bytes) -> Answer:
        fields = {"project_id": str, "service_id": str, "start": int, "id": str, "size": int}
        document = _object(body, fields)
        for field, pattern in (
            ("project_id", "[A-Za-z0-9._:-]{1,255}"),
            ("service_id", "[0-9A-Za-z-]{1,64}"),
            ("id", "[0-9a-f]{16}"),
        ):
            if not re.fullmatch(pattern, document[field]):
                raise Refused(400, field)
        if not 0 < document["size"] <= MAX_LOG or not 0 <= document["start"] < 2**38:
            raise Refused(400, "size or start")
        if self.log_url is None:
            raise Refused(404, "there is no bucket")
        return Answer(200, {"url": self.log_url(document, name)})

    def counted(self, service_id: str = "", domain: str = "", country: str = "") -> list[int]:
        """Return the counts of a domain, or of all domains, over all nodes and hours.

        Args:
            country: only those of its clients.
        """
        with self.lock:
            found = [
                counts
                for (_, _, *key), (_, counts) in self.traffic.items()
                if key == [service_id, domain, country]
            ]
        return [sum(column) for column in zip(*found, strict=True)] or [0] * 7


def _counts(entry: Mapping[str, Any], more: Mapping[str, type]) -> list[int]:
    fields = {"responses": list, "hits": int, "sent": int, **more}
    found = _object(json.dumps(entry).encode(), fields)
    counts = [*found["responses"], found["hits"], found["sent"]]
    if len(counts) != 7 or not all(type(it) is int and 0 <= it <= 2**53 for it in counts):
        raise Refused(400, f"counts: {counts}")
    return counts


def _check_prewarms(report: Mapping[str, Any]) -> None:
    for prewarm in report.get("prewarms", {}).values():
        _object(json.dumps(prewarm).encode(), {"revision": int, "done": bool, "reason": str})


def _object(body: bytes, fields: Mapping[str, type], most: int = MAX_BODY) -> dict[str, Any]:
    if len(body) > most:
        raise Refused(413, "the body is too large")
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or set(document) != set(fields):
        raise Refused(400, f"the body has not just {', '.join(fields)}")
    for name, kind in fields.items():
        if type(document[name]) is not kind:
            raise Refused(400, name)
    return document


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise Refused(400, f"{text:.80} is not {least} to {most}")
    return int(text)


class EdgeAPI:
    """An HTTP server on loopback; use it as a context manager.

    Args:
        store: what it serves.
        certificate: the files of a certificate and its key, for HTTPS.
        port: by default a free one.

    Attributes:
        store: what it serves.
        url: of the API.
        requests: method, target and status of each answered request.
        fail: returns the answer to a request instead of the store's; None for the store's.
    """

    def __init__(
        self,
        store: EdgeStore | None = None,
        certificate: tuple[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.store = store or EdgeStore()
        self.requests: list[tuple[str, str, int]] = []
        self.fail: Callable[[str, str], bytes | Answer | None] = lambda _method, _target: None
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                api._handle(self)

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815

            def log_message(self, *_args: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_args: Any) -> None:
                pass  # The client has closed the connection.

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # Otherwise, a client that stops the handshake would stop the server.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> "EdgeAPI":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        method, target = request.command, request.path
        answer = self.fail(method, target)
        if isinstance(answer, bytes):
            # Raw bytes instead of a response.
            request.wfile.write(answer)
            request.close_connection = True
            return
        if answer is None:
            answer = self.store.answer(method, target, request.headers, body)
        self.requests.append((method, target, answer.status))
        text = b"" if answer.document is None else json.dumps(answer.document).encode()
        request.send_response(answer.status)
        if answer.etag is not None:
            request.send_header("ETag", answer.etag)
        if answer.status != 304:
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        if answer.status != 304:
            request.wfile.write(text)
