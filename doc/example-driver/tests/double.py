# SPDX-License-Identifier: Apache-2.0
"""A double of the CDN: a real HTTP server that has its rules, and can lose what is sent.

A double is only as good as its refusals: whatever your CDN would refuse, it has to refuse too.
"""

import http.server
import itertools
import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

TOKEN = "example-secret-token"
FIELDS = {"label", "hosts", "origin", "ttls"}


class Refused(Exception):
    """The CDN does not do that; the arguments are the status and why."""


class CDN:
    """The server, while it is entered.

    Attributes:
        sites: by id.
        purged: (site, path), in order.
        polls: how often a site has to be asked for until a change of it is done.
        fault: says what happens to a request: ``""``, ``"lost"`` or ``"answer lost"``.
    """

    def __init__(self) -> None:
        self.sites: dict[str, dict[str, Any]] = {}
        self.purged: list[tuple[str, str]] = []
        self.polls = 2
        self.fault: Callable[[], str] = lambda: ""
        self.changes = 0
        self._left: dict[str, int] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        outer = self

        class Handler(_Handler):
            cdn = outer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any] | None:
        """Status and document; None for no answer."""
        with self._lock:
            fault = self.fault()
            if fault == "lost":
                return None
            try:
                if token != f"Bearer {TOKEN}":
                    raise Refused(401, "who are you?")
                answered = 200, self._do(method, path, body)
            except Refused as exc:
                answered = exc.args[0], {"error": exc.args[1]}
            return None if fault else answered

    def _do(self, method: str, path: str, body: Any) -> Any:
        url = urlsplit(path)
        parts = url.path.strip("/").split("/")
        match method, parts:
            case "GET", ["health"]:
                return {}
            case "GET", ["sites"]:
                (label,) = parse_qs(url.query)["label"]
                found = [one for one in self.sites.values() if one["label"] == label]
                return [self._polled(one["id"]) for one in found]
            case "POST", ["sites"]:
                return self._create(body)
            case "GET", ["sites", site]:
                return self._polled(site)
            case "PUT", ["sites", site]:
                return self._change(site, body)
            case "DELETE", ["sites", site]:
                self._get(site)
                self.changes += 1
                return self.sites.pop(site)
            case "POST", ["sites", site, "purge"]:
                self._get(site)
                return self.purged.append((site, body["path"]))
        raise Refused(404, f"no route for {method} {path}")

    def _get(self, site: str) -> dict[str, Any]:
        if site not in self.sites:
            raise Refused(404, f"no site {site}")
        return self.sites[site]

    def _polled(self, site: str) -> dict[str, Any]:
        found = self._get(site)
        self._left[site] -= 1
        if self._left[site] <= 0:
            found["state"] = "live"
        return found

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        if any(one["label"] == body["label"] for one in self.sites.values()):
            raise Refused(409, f"there is a site {body['label']}")
        site = f"site-{next(self._ids)}"
        self.sites[site] = {"id": site, "edge": f"{site}.edge.cdn.example"}
        try:
            return self._change(site, body)
        except Refused:
            del self.sites[site]
            raise

    def _change(self, site: str, body: dict[str, Any]) -> dict[str, Any]:
        found = self._get(site)
        if set(body) != FIELDS or not body["hosts"]:
            raise Refused(400, f"a site has {sorted(FIELDS)}, and hosts")
        for other in self.sites.values():
            taken = set(body["hosts"]) & set(other.get("hosts", ()))
            if taken and other["id"] != site:
                raise Refused(400, f"{min(taken)} belongs to {other['id']}")
        self.changes += 1
        found |= body | {"state": "deploying"}
        self._left[site] = self.polls
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    cdn: CDN

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "")
        answered = self.cdn.answer(
            self.command, self.path, token, json.loads(body) if body else None
        )
        if answered is None:
            self.close_connection = True
            return
        status, document = answered
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass
