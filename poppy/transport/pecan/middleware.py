# SPDX-License-Identifier: Apache-2.0
"""WSGI middleware around the Pecan application.

oslo.middleware's classes wrap each request and each response in WebOb objects. Measured with
``tests/perf/transport.py``, a GET of a service takes 64 us without them, and 152 us with RequestId
and HTTPProxyToWSGI even while the latter is disabled. So this module sets the request ID itself,
and uses only the header parsing of HTTPProxyToWSGI (97 us when enabled).
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import webob
from oslo_context import context
from oslo_log import log
from oslo_middleware import cors, http_proxy_to_wsgi, request_id

from poppy.common import metrics, tracing
from poppy.transport.pecan import errors
from poppy.transport.pecan.recorder import Observer, ResponseRecorder
from poppy.transport.pecan.request import PROJECT_ID, REQUEST_ID, ROUTE
from poppy.transport.pecan.response import reply

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = log.getLogger(__name__)

_HEADER = request_id.HTTP_RESP_HEADER_REQUEST_ID
_GLOBAL_ID = re.compile(request_id.ID_FORMAT)


def set_defaults() -> None:
    """Set the CORS defaults of this API; the entry point ``oslo.config.opts.defaults``.

    The API uses no cookies, so a page needs no credentials besides the token that it sends.
    """
    cors.set_defaults(
        allow_credentials=False,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "X-Auth-Token",
            "X-Project-ID",
            "X-Roles",
            "X-OpenStack-Request-ID",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
        ],
        expose_headers=[
            "Location",
            "ETag",
            "Retry-After",
            "WWW-Authenticate",
            "Link",
            "Allow",
            "Accept-Patch",
            "X-OpenStack-Request-ID",
        ],
    )


class RequestId:
    """Gives each request an ID, and answers 500 for bugs.

    Every response carries the ID in ``x-openstack-request-id``, and so does every log line. A
    service that calls Poppy may send its own ID in the same field; like other OpenStack services,
    Poppy keeps it as the global request ID.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        identifier = environ[REQUEST_ID] = context.generate_request_id()
        given = environ.get("HTTP_X_OPENSTACK_REQUEST_ID")
        if given and _GLOBAL_ID.match(given):
            environ[request_id.GLOBAL_REQ_ID] = given
        # Also replaces the context of the thread's previous request.
        context.RequestContext(
            request_id=identifier, global_request_id=environ.get(request_id.GLOBAL_REQ_ID)
        )

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, (_HEADER, identifier)], exc_info)

        try:
            return self._application(environ, start)
        except Exception:  # noqa: BLE001 (a bug in Poppy; the only place that turns it into a 500)
            LOG.exception("Request %s failed: %s", identifier, environ.get("PATH_INFO"))
            document = errors.document(errors.FAULT, identifier)
            response = reply(document, HTTPStatus.INTERNAL_SERVER_ERROR)
            return response(environ, start)  # type: ignore[no-any-return]


#: All other methods share one label value, because clients can invent any number of them.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured(Observer):
    """Measures each request until its response is ready; sending it depends on the client."""

    def report(self, environ: "WSGIEnvironment", status: str, seconds: float) -> None:
        """Count a response."""
        method = environ["REQUEST_METHOD"]
        metrics.REQUESTS.observe(
            seconds,
            method if method in _METHODS else "other",
            environ.get(ROUTE, "none"),
            status[0] + "xx",
        )


class Traced:
    """Opens a span for every request: the parent of all spans that follow, here and in workers.

    (The middleware of oslo.middleware trusts every client and records whole URLs.)

    Args:
        trusting: whether a request may choose its trace and whether it is sampled.
    """

    def __init__(self, application: "WSGIApplication", trusting: bool) -> None:
        self._application = application
        self._trusting = trusting

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        parent = {}
        if self._trusting:
            for field in ("traceparent", "tracestate"):
                if value := environ.get(f"HTTP_{field.upper()}"):
                    parent[field] = value
        response = ResponseRecorder(start_response)
        given = environ["REQUEST_METHOD"]
        method = given if given in _METHODS else "_OTHER"
        named = method if given in _METHODS else "HTTP"
        with tracing.span(named, tracing.Kind.SERVER, parent=parent) as span:
            try:
                return self._application(environ, response)
            finally:
                if span.recording:
                    self._describe(span, environ, method, named, response.status)

    @staticmethod
    def _describe(
        span: tracing.Span, environ: "WSGIEnvironment", method: str, named: str, status: str
    ) -> None:
        """Set attributes by https://opentelemetry.io/docs/specs/semconv/http/http-spans/."""
        route = environ.get(ROUTE)
        span.set(
            {
                "http.request.method": method,
                "url.scheme": environ["wsgi.url_scheme"],
                # The template instead of the path, which may contain a misplaced token.
                "http.route": route,
                "http.response.status_code": int(status),
                "openstack.request_id": environ.get(REQUEST_ID),
                "openstack.project_id": environ.get(PROJECT_ID),
            }
        )
        if route:
            span.name(f"{named} {route}")
        if status.startswith("5"):
            span.fail(status)


class ProxyHeaders(http_proxy_to_wsgi.HTTPProxyToWSGI):  # type: ignore[misc]
    """Makes links begin with the URL that the client used, as sent by a proxy in front.

    Only for deployments with a proxy that overwrites these fields; see
    ``[oslo_middleware] enable_proxy_headers_parsing``.
    """

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        self.process_request(webob.Request(environ))
        # Each proxy of a chain appends a value after a comma; the client used the first. A value
        # with a port is quoted (RFC 7239, section 4).
        for name in ("wsgi.url_scheme", "HTTP_HOST"):
            if name in environ:
                environ[name] = environ[name].partition(",")[0].strip(' "')
        return self.application(environ, start_response)  # type: ignore[no-any-return]
