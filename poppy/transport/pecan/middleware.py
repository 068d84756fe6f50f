# SPDX-License-Identifier: Apache-2.0
"""WSGI middleware around the Pecan application.

oslo.middleware's classes wrap each request and each response in WebOb objects. Measured with
``tests/perf/transport.py``, the GET of a service takes 64 us without them and 152 us with
its RequestId and HTTPProxyToWSGI, even while the latter is switched off. So the request id is done
here, and of HTTPProxyToWSGI only the reading of header fields is used (97 us, when switched on).
"""

import re
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import webob
from oslo_context import context
from oslo_log import log
from oslo_middleware import cors, http_proxy_to_wsgi, request_id

from poppy.common import metrics, tracing
from poppy.transport.pecan import errors
from poppy.transport.pecan.request import PROJECT_ID, REQUEST_ID, ROUTE
from poppy.transport.pecan.response import reply

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOG = log.getLogger(__name__)

_HEADER = request_id.HTTP_RESP_HEADER_REQUEST_ID
_GLOBAL_ID = re.compile(request_id.ID_FORMAT)


def set_defaults() -> None:
    """What pages of other origins need of this API; the entry point ``oslo.config.opts.defaults``.

    There are no cookies here, so that pages need no credentials but the token that they send.
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
    """Outermost: gives each request an id, and answers for bugs.

    The id goes to the client in ``x-openstack-request-id``, whatever the answer, and to the
    log. A service that calls Poppy may send its own id in the same field; it is kept as the
    global request id, as OpenStack services do.
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
        # Also takes the thread's previous request out of the log.
        context.RequestContext(
            request_id=identifier, global_request_id=environ.get(request_id.GLOBAL_REQ_ID)
        )

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, (_HEADER, identifier)], exc_info)

        try:
            return self._application(environ, start)
        except Exception:  # noqa: BLE001 (a bug in Poppy: the one place that answers for it)
            LOG.exception("Request %s failed: %s", identifier, environ.get("PATH_INFO"))
            document = errors.document(errors.FAULT, identifier)
            response = reply(document, HTTPStatus.INTERNAL_SERVER_ERROR)
            return response(environ, start)  # type: ignore[no-any-return]


#: Others are counted together: clients may invent any number.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """Times every request, once its answer is made; sending it is not Poppy's to speed up."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        began = time.perf_counter()
        answered = "5xx"

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal answered
            answered = status[0] + "xx"
            return start_response(status, headers, exc_info)

        try:
            return self._application(environ, start)
        finally:
            method = environ["REQUEST_METHOD"]
            metrics.REQUESTS.observe(
                time.perf_counter() - began,
                method if method in _METHODS else "other",
                environ.get(ROUTE, "none"),
                answered,
            )


class Traced:
    """Outermost: a span for every request; what follows from it, here and in workers, is below.

    (oslo.middleware's own trusts every client, and records whole URLs.)

    Args:
        trusting: whether a request may say which trace it belongs to, and whether it is recorded.
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
        answered = ""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal answered
            answered = status[:3]
            return start_response(status, headers, exc_info)

        given = environ["REQUEST_METHOD"]
        method = given if given in _METHODS else "_OTHER"
        named = method if given in _METHODS else "HTTP"
        with tracing.span(named, tracing.Kind.SERVER, parent=parent) as span:
            try:
                return self._application(environ, start)
            finally:
                if span.recording:
                    self._describe(span, environ, method, named, answered)

    @staticmethod
    def _describe(
        span: tracing.Span, environ: "WSGIEnvironment", method: str, named: str, answered: str
    ) -> None:
        """By https://opentelemetry.io/docs/specs/semconv/http/http-spans/."""
        route = environ.get(ROUTE)
        span.set(
            {
                "http.request.method": method,
                "url.scheme": environ["wsgi.url_scheme"],
                # The path itself may hold anything, such as a token that was meant for elsewhere.
                "http.route": route,
                "http.response.status_code": int(answered) if answered else None,
                "openstack.request_id": environ.get(REQUEST_ID),
                "openstack.project_id": environ.get(PROJECT_ID),
            }
        )
        if route:
            span.name(f"{named} {route}")
        if answered.startswith("5"):
            span.fail(answered)


class ProxyHeaders(http_proxy_to_wsgi.HTTPProxyToWSGI):  # type: ignore[misc]
    """Makes links begin with what the client called, when a proxy in front says what it was.

    Only for deployments whose proxy overwrites these fields; see
    ``[oslo_middleware] enable_proxy_headers_parsing``.
    """

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        self.process_request(webob.Request(environ))
        # Each proxy of a chain adds itself behind a comma; the client called the first. With a
        # port it has to be quoted (RFC 7239, section 4).
        for name in ("wsgi.url_scheme", "HTTP_HOST"):
            if name in environ:
                environ[name] = environ[name].partition(",")[0].strip(' "')
        return self.application(environ, start_response)  # type: ignore[no-any-return]
