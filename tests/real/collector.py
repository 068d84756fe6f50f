# SPDX-License-Identifier: Apache-2.0
"""A trace collector for OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/)."""

import gzip
import http.server
import threading
from types import TracebackType
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service


class Span(NamedTuple):
    """A received span; ids in hexadecimal digits, with an empty ``parent`` for a root."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    events: list[str]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.stalled.wait()
        self.server.spans += _spans(service.ExportTraceServiceRequest.FromString(body))
        answer = service.ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.spans: list[Span] = []
        self.stalled = threading.Event()
        self.stalled.set()


class Collector:
    """A server; use it as a context manager."""

    def __enter__(self) -> Self:
        self._server = _Server()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stalled.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The URL for traces."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    @property
    def requests(self) -> list[tuple[str, dict[str, str]]]:
        """Path and header fields of all requests."""
        return list(self._server.requests)

    @property
    def spans(self) -> list[Span]:
        """All received spans."""
        return list(self._server.spans)

    def named(self, name: str) -> list[Span]:
        """Return the spans with a name."""
        return [span for span in self.spans if span.name == name]

    def stall(self) -> None:
        """Accept requests but never answer."""
        self._server.stalled.clear()


def _spans(request: Any) -> list[Span]:
    return [
        Span(
            name=span.name,
            service=_attributes(resource.resource.attributes)["service.name"],
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            attributes=_attributes(span.attributes),
            events=[event.name for event in span.events],
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(attributes: Any) -> dict[str, Any]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in attributes}
