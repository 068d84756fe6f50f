# SPDX-License-Identifier: Apache-2.0
"""A double of Fastly's API: a real HTTP server with a customer's account.

It follows Fastly's known rules (see :mod:`tests.real.fastly_account`), refuses what Fastly would
refuse, and can lose requests and answers. It serves no content, runs no VCL, and was never
compared with the real service.
"""

import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.real import fastly_custom_tls
from tests.real.fastly_account import Account
from tests.real.fastly_objects import KINDS, Refused
from tests.real.fastly_tls import TLS

TOKEN = "fastly-secret-token"
_FORM = "application/x-www-form-urlencoded"
_JSON_API = "application/vnd.api+json"
_VERSION = r"/service/([^/]+)/version/(\d+)"
_OBJECT = rf"{_VERSION}/({'|'.join(KINDS)})"


class Request(NamedTuple):
    """A received request; ``path`` is still percent-encoded and has no query."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form."""
        kind = self.headers.get("content-type", _FORM).partition(";")[0]
        if self.body and kind != _FORM:
            raise Refused(415, "Unsupported media type", kind)
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def document(self) -> Any:
        """The JSON:API document."""
        if self.headers.get("content-type") != _JSON_API:
            raise Refused(415, "Unsupported media type", self.headers.get("content-type"))
        return json.loads(self.body)

    @property
    def changes(self) -> bool:
        """Whether it counts for the limit; reads and purges do not."""
        return self.method != "GET" and "/purge" not in self.path


class Seen(NamedTuple):
    """A request and its answer."""

    method: str
    path: str
    status: int


#: The fate of a request: none, or it is lost before or after it had its effect.
Fault = str
NONE, LOST_REQUEST, LOST_ANSWER = "none", "lost request", "lost answer"


class Fastly:
    """A server; use it as a context manager.

    Attributes:
        account: the customer's services.
        tls: the certificates that Fastly orders for the customer.
        uploads: the certificates that the customer has uploaded.
        seen: the requests that were answered, in order.
        fault: chooses the fate of a request; called before it has an effect.
        limit: changes that are left until the limit is reset; None for no limit.
        reset_after: seconds until the limit is reset, as reported; it is never reset.
        statistics: rows by region.
    """

    def __init__(self) -> None:
        self.account = Account()
        self.tls = TLS(self.account)
        self.uploads = fastly_custom_tls.CustomTLS(self.tls, self.account.serves)
        self.seen: list[Seen] = []
        self.fault: Callable[[Request], Fault] = lambda _: NONE
        self.limit: int | None = None
        self.reset_after = 1800
        self.statistics: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[dict[str, str]] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The URL of the API."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def refused(self) -> list[Seen]:
        """Requests that were answered with an error."""
        return [entry for entry in self.seen if entry.status >= 400]

    @property
    def changes(self) -> list[Seen]:
        """Requests that may have changed something."""
        return [entry for entry in self.seen if entry.method != "GET"]

    def __enter__(self) -> Self:
        outer = self

        class Handler(_Handler):
            fastly = outer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request) -> tuple[int, dict[str, str], Any] | None:
        """Return status, header fields and document; None for no answer."""
        # Not under the lock, since a test may send its own requests here.
        fault = self.fault(request)
        if fault == LOST_REQUEST:
            return None
        with self._lock:
            status, document = self._answer(request)
            headers = self._limit_fields() if request.changes else {}
            self.seen.append(Seen(request.method, request.path, status))
            return None if fault == LOST_ANSWER else (status, headers, document)

    def _answer(self, request: Request) -> tuple[int, Any]:
        try:
            if request.headers.get("fastly-key") != TOKEN:
                raise Refused(401, "Provided credentials are missing or invalid")
            if request.changes and self.limit is not None:
                if self.limit <= 0:
                    raise Refused(429, "Too many requests", "hourly limit exceeded")
                self.limit -= 1
            return self._route(request)
        except Refused as exc:
            return exc.status, exc.document

    def _limit_fields(self) -> dict[str, str]:
        left = 1000 if self.limit is None else self.limit
        reset = int(time.time()) + self.reset_after
        return {"Fastly-RateLimit-Remaining": str(left), "Fastly-RateLimit-Reset": str(reset)}

    def _route(self, request: Request) -> tuple[int, Any]:
        for method, pattern, handler in _ROUTES:
            found = re.fullmatch(pattern, request.path)
            if method == request.method and found:
                result = handler(self, request, *map(unquote, found.groups()))
                status, document = result if isinstance(result, tuple) else (200, result)
                return status, document
        for method, pattern, call in fastly_custom_tls.ROUTES:
            found = re.fullmatch(pattern, request.path)
            if method == request.method and found:
                result = call(self.uploads, request, *map(unquote, found.groups()))
                return result if isinstance(result, tuple) else (200, result)
        raise Refused(404, "Not found", f"no route for {request.method} {request.path}")

    # One method per call, in the order of the routes.

    def _token(self, _request: Request) -> Any:
        return {"id": "token", "scope": "global"}

    def _search(self, request: Request) -> Any:
        return self.account.search(request.query.get("name", "")).document()

    def _list(self, request: Request) -> Any:
        page, size = (
            int(request.query.get(name, d)) for name, d in (("page", 1), ("per_page", 20))
        )
        found = self.account.living()[(page - 1) * size : page * size]
        return [service.document() for service in found]

    def _create(self, request: Request) -> Any:
        return self.account.create(request.form).document()

    def _delete(self, _request: Request, service: str) -> Any:
        self.account.delete(service)
        return {"status": "ok"}

    def _details(self, request: Request, service: str) -> Any:
        found = self.account.service(service, deleted=True)
        active = found.active
        newest = found.versions[max(found.versions)]
        shown = active or newest
        if "version" in request.query:
            shown = self.account.version(service, int(request.query["version"]))
        return found.document() | {
            "active_version": active.document(service) if active else None,
            "version": shown.document(service),
        }

    def _versions(self, _request: Request, service: str) -> Any:
        return self.account.service(service).document()["versions"]

    def _version(self, _request: Request, service: str, number: str) -> Any:
        return self.account.version(service, int(number)).summary(service)

    def _comment(self, request: Request, service: str, number: str) -> Any:
        found = self.account.editable(service, int(number))
        found.comment = request.form["comment"]
        return found.summary(service)

    def _clone(self, _request: Request, service: str, number: str) -> Any:
        return self.account.clone(service, int(number)).summary(service)

    def _validate(self, _request: Request, service: str, number: str) -> Any:
        problems = self.account.problems(service, int(number))
        if problems:
            return {"status": "error", "msg": problems[0], "errors": problems}
        return {"status": "ok", "msg": None, "errors": [], "warnings": []}

    def _activate(self, _request: Request, service: str, number: str) -> Any:
        return self.account.activate(service, int(number)).summary(service)

    def _deactivate(self, _request: Request, service: str, number: str) -> Any:
        return self.account.deactivate(service, int(number)).summary(service)

    def _objects(self, _request: Request, service: str, number: str, kind: str) -> Any:
        return self.account.objects(service, int(number), kind)

    def _add(self, request: Request, service: str, number: str, kind: str) -> Any:
        fields = self.account.add(service, int(number), kind, request.form)
        return self.account.version(service, int(number)).object(service, kind, fields)

    def _change_items(self, request: Request, service: str, dictionary: str) -> Any:
        if request.headers.get("content-type") != "application/json":
            raise Refused(415, "Unsupported media type")
        self.account.change_items(service, dictionary, json.loads(request.body))
        return {"status": "ok"}

    def _change(self, request: Request, service: str, number: str, kind: str, name: str) -> Any:
        fields = self.account.change(service, int(number), kind, name, request.form)
        return self.account.version(service, int(number)).object(service, kind, fields)

    def _drop(self, _request: Request, service: str, number: str, kind: str, name: str) -> Any:
        self.account.drop(service, int(number), kind, name)
        return {"status": "ok"}

    def _purge_all(self, request: Request, service: str) -> Any:
        if "fastly-soft-purge" in request.headers:
            raise Refused(400, "Bad request", "purge_all is never soft")
        self.account.purge(service, "*", False)
        return {"status": "ok"}

    def _purge(self, request: Request, service: str, key: str) -> Any:
        self.account.purge(service, key, request.headers.get("fastly-soft-purge") == "1")
        return {"status": "ok", "id": "purge-1"}

    def _purge_keys(self, request: Request, service: str) -> Any:
        keys = request.headers.get("surrogate-key", "").split()
        keys = keys or json.loads(request.body or b"{}").get("surrogate_keys", [])
        if not 0 < len(keys) <= 256:
            raise Refused(400, "Bad request", "1 to 256 surrogate keys")
        for key in keys:
            self._purge(request, service, key)
        return {key: "purge-1" for key in keys}

    def _regions(self, _request: Request) -> Any:
        return {"status": "success", "data": list(self.statistics)}

    def _statistics(self, request: Request, service: str) -> Any:
        self.account.service(service)
        self.asked.append(request.query)
        return {"status": "success", "data": self.statistics[request.query["region"]]}

    def _subscriptions(self, request: Request) -> Any:
        domain = request.query.get("filter[tls_domains.id]")
        return self.tls.listing(domain, request.query.get("include", ""))

    def _subscribe(self, request: Request) -> Any:
        return 201, self.tls.create(request.document)

    def _retry(self, request: Request, subscription: str) -> Any:
        return self.tls.change(subscription, request.document)

    def _unsubscribe(self, request: Request, subscription: str) -> Any:
        self.tls.delete(subscription, request.query.get("force") == "true")
        return 204, None

    def _configuration(self, _request: Request, configuration: str) -> Any:
        return self.tls.configuration(configuration)


_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/tokens/self", Fastly._token),
    ("GET", "/service/search", Fastly._search),
    ("GET", "/service", Fastly._list),
    ("POST", "/service", Fastly._create),
    ("DELETE", "/service/([^/]+)", Fastly._delete),
    ("GET", "/service/([^/]+)/details", Fastly._details),
    ("GET", "/service/([^/]+)/version", Fastly._versions),
    ("GET", _VERSION, Fastly._version),
    ("PUT", _VERSION, Fastly._comment),
    ("PUT", f"{_VERSION}/clone", Fastly._clone),
    ("GET", f"{_VERSION}/validate", Fastly._validate),
    ("PUT", f"{_VERSION}/activate", Fastly._activate),
    ("PUT", f"{_VERSION}/deactivate", Fastly._deactivate),
    ("GET", _OBJECT, Fastly._objects),
    ("POST", _OBJECT, Fastly._add),
    ("PUT", f"{_OBJECT}/([^/]+)", Fastly._change),
    ("DELETE", f"{_OBJECT}/([^/]+)", Fastly._drop),
    ("PATCH", "/service/([^/]+)/dictionary/([^/]+)/items", Fastly._change_items),
    ("POST", "/service/([^/]+)/purge_all", Fastly._purge_all),
    ("POST", "/service/([^/]+)/purge", Fastly._purge_keys),
    ("POST", "/service/([^/]+)/purge/([^/]+)", Fastly._purge),
    ("GET", "/stats/regions", Fastly._regions),
    ("GET", "/stats/service/([^/]+)", Fastly._statistics),
    ("GET", "/tls/subscriptions", Fastly._subscriptions),
    ("POST", "/tls/subscriptions", Fastly._subscribe),
    ("PATCH", "/tls/subscriptions/([^/]+)", Fastly._retry),
    ("DELETE", "/tls/subscriptions/([^/]+)", Fastly._unsubscribe),
    ("GET", "/tls/configurations/([^/]+)", Fastly._configuration),
]


class _Handler(http.server.BaseHTTPRequestHandler):
    fastly: Fastly
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        # Header and body are two writes; the second must not wait for an acknowledgement.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _do(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        answered = self.fastly.answer(request)
        if answered is None:
            self.close_connection = True
            return
        status, headers, document = answered
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass
