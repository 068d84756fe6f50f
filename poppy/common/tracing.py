# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry traces of requests, operation runs and calls to vendors.

OpenTelemetry is not imported until :func:`start`. Before that, each instrumented line costs one
comparison. The parent of a span is the *current* span, a context variable. Work in another thread
runs in a copy of the caller's context (see :class:`Threads` and
:mod:`poppy.distributed_task.call_pool`). An operation stores the span of its request as a W3C
``traceparent``.

Attribute names follow OpenTelemetry's semantic conventions or start with ``poppy.``. No attribute
holds an error message, a query string or a header field, because these may hold secrets.
"""

import atexit
import concurrent.futures
import contextvars
import enum
import os
import socket
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors, logs
from poppy.common.version import VERSION

LOG = log.getLogger(__name__)

T = TypeVar("T")

GROUP = "tracing"

OPTS = (
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Send traces to an OpenTelemetry collector with OTLP over HTTP. Options that are "
        "unset here default to OpenTelemetry's environment variables (OTEL_*).",
    ),
    cfg.URIOpt(
        "endpoint",
        schemes=["http", "https"],
        help="URL of the collector's trace endpoint "
        "(http://collector.example.net:4318/v1/traces). Unset: "
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT, or port 4318 on "
        "localhost.",
    ),
    cfg.DictOpt(
        "headers",
        secret=True,
        help="Header fields for the collector, such as an API key (name:value,name:value). Unset: "
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS, or OTEL_EXPORTER_OTLP_HEADERS.",
    ),
    cfg.FloatOpt(
        "sample_ratio",
        min=0.0,
        max=1.0,
        help="Fraction of requests to trace. A traced request includes its operation. Unset: "
        "OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, or all requests.",
    ),
    cfg.StrOpt(
        "service_name",
        help="Service name of all daemons. Unset: OTEL_SERVICE_NAME, or the daemon's own name "
        "(poppy-server, poppy-worker).",
    ),
    cfg.BoolOpt(
        "trust_clients",
        default=False,
        help="Continue the trace in a request's traceparent header and use its sampling decision. "
        "Enable this only if clients may decide what is traced. If disabled, each request starts "
        "a new trace.",
    ),
)

#: Seconds to send the remaining spans when the process ends.
FLUSH = 3.0
#: Maximum characters of an attribute. The export queue is limited in spans, not in bytes.
LONGEST = 500


class Kind(enum.StrEnum):
    """OpenTelemetry's span kinds."""

    INTERNAL = enum.auto()
    SERVER = enum.auto()
    CLIENT = enum.auto()
    PRODUCER = enum.auto()
    CONSUMER = enum.auto()


Value = str | int | float | bool
#: Attributes by name. None values are left out.
Attributes = Mapping[str, Value | None]


class Span:
    """A span that is current inside its ``with`` block. This base class records nothing."""

    #: Whether the span is sampled and keeps attributes.
    recording = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the span. An exception marks it as failed, with the exception's class name."""

    def name(self, name: str) -> None:
        """Rename the span."""

    def set(self, attributes: Attributes) -> None:
        """Set attributes."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Add an event at the current time."""

    def fail(self, error_type: str) -> None:
        """Mark the span as failed. ``error_type`` is a class name or a status; the first wins."""


_NONE = Span()


class _Traced(Span):
    """A span that records to OpenTelemetry."""

    def __init__(self, api: Any, span: Any) -> None:
        self._api = api
        self._span = span
        self._failed = False
        self.recording = span.is_recording()

    def __enter__(self) -> Self:
        context = self._api.trace.set_span_in_context(self._span)
        self._token = self._api.context.attach(context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # InProgressError asks for another poll; it is not a failure.
        if kind is not None and not issubclass(kind, errors.InProgressError):
            self.fail(kind.__name__)
        self._span.end()
        self._api.context.detach(self._token)

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_known(attributes))

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        self._span.add_event(name, _known(attributes))

    def fail(self, error_type: str) -> None:
        if self._failed:
            return
        self._failed = True
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(self._api.trace.StatusCode.ERROR)


class Tracer:
    """Creates spans with an OpenTelemetry tracer provider.

    Args:
        provider: an ``opentelemetry.sdk.trace.TracerProvider``.
    """

    def __init__(self, provider: Any) -> None:
        import opentelemetry.context
        import opentelemetry.trace
        from opentelemetry.trace.propagation import tracecontext

        self._api = opentelemetry
        self._provider = provider
        self._tracer = provider.get_tracer("poppy", VERSION)
        self._kinds = opentelemetry.trace.SpanKind
        self._propagator = tracecontext.TraceContextTextMapPropagator()

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        parent: Mapping[str, str] | None,
    ) -> Span:
        """See :func:`span`. ``parent`` holds W3C Trace Context header fields."""
        context = None
        if parent is None:
            if not self._api.trace.get_current_span().get_span_context().is_valid:
                return _NONE
        else:
            # Start from an empty context, so that the current span is not the parent.
            context = self._propagator.extract(parent, self._api.context.Context())
        kind_of_theirs = self._kinds[kind.upper()]
        made = self._tracer.start_span(name, context, kind_of_theirs, _known(attributes))
        return _Traced(self._api, made)

    def current(self) -> Span:
        """Return the current span. The caller must not end it."""
        return _Traced(self._api, self._api.trace.get_current_span())

    def traceparent(self) -> str | None:
        """Return the ``traceparent`` of the current span."""
        fields: dict[str, str] = {}
        self._propagator.inject(fields)
        return fields.get("traceparent")

    def trace_id(self) -> str | None:
        """Return the trace id of the current span, 32 hexadecimal digits."""
        context = self._api.trace.get_current_span().get_span_context()
        return self._api.trace.format_trace_id(context.trace_id) if context.is_valid else None

    def shutdown(self) -> None:
        """Send the remaining spans. Blocks until the collector answers."""
        self._provider.shutdown()


_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Set the tracer of this process; None disables tracing."""
    global _tracer  # noqa: PLW0603 - one tracer per process, like the current span
    _tracer = tracer
    logs.trace_id = tracer.trace_id if tracer else _no_id


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    attributes: Attributes | None = None,
    parent: Mapping[str, str] | None = None,
) -> Span:
    """Return a span for a ``with`` block.

    Args:
        name: the span name, of low cardinality.
        parent: the header fields ``traceparent`` and ``tracestate`` of a remote parent. ``{}``
            starts a new trace. The default is the current span; without one, such as in a health
            check, nothing is traced.
    """
    return _NONE if _tracer is None else _tracer.span(name, kind, attributes, parent)


def event(name: str, attributes: Attributes | None = None) -> None:
    """Add an event to the current span."""
    if _tracer is not None:
        _tracer.current().event(name, attributes)


def traceparent() -> str | None:
    """Return the current ``traceparent``, for another process to continue; None without one."""
    return None if _tracer is None else _tracer.traceparent()


class Threads(concurrent.futures.ThreadPoolExecutor):
    """A thread pool that keeps the submitting thread's current span."""

    def submit(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]:
        """Run ``fn`` in a copy of the caller's context."""
        return super().submit(contextvars.copy_context().run, fn, *args, **kwargs)


def check(conf: cfg.ConfigOpts) -> None:
    """Check the tracing options before anything starts.

    Raises:
        ConfigError: tracing is enabled, but OpenTelemetry is not installed or an option is
            invalid.
    """
    if conf[GROUP].enabled:
        _exporter(conf)


def start(conf: cfg.ConfigOpts, program: str) -> None:
    """Start tracing in this process if it is enabled. Call this after a fork.

    Args:
        program: the daemon's name.

    Raises:
        ConfigError: see :func:`check`.
    """
    options = conf[GROUP]
    if not options.enabled:
        return
    exporter = _exporter(conf)
    from opentelemetry.sdk import resources, trace
    from opentelemetry.sdk.trace import export, sampling

    described = resources.Resource.create(
        {
            "service.name": program,
            "service.version": VERSION,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    ).merge(resources.OTELResourceDetector().detect())
    if options.service_name:
        described = described.merge(resources.Resource({"service.name": options.service_name}))
    ratio = options.sample_ratio
    provider = trace.TracerProvider(
        sampler=None if ratio is None else sampling.ParentBasedTraceIdRatio(ratio),
        resource=described,
        shutdown_on_exit=False,
    )
    # A thread sends spans from a queue of fixed length: a slow or dead collector loses spans but
    # delays no request.
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    use(Tracer(provider))
    # For other WSGI servers; Poppy's daemons call stop() themselves.
    atexit.register(stop)


def stop() -> None:
    """Stop tracing, and send the remaining spans within :data:`FLUSH` seconds."""
    tracer = _tracer
    if tracer is None:
        return
    use(None)
    sending = threading.Thread(target=tracer.shutdown, name="traces", daemon=True)
    sending.start()
    sending.join(FLUSH)
    if sending.is_alive():
        LOG.warning("The trace collector does not answer; the last spans are lost")


def address_of(url: str) -> dict[str, str | int]:
    """Return the attributes of a request URL, without query, user or known secrets."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return {}
    port = port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return {
        "url.full": logs.mask(plain.geturl()),
        "server.address": host,
        "server.port": port,
    }


def _exporter(conf: cfg.ConfigOpts) -> Any:
    options = conf[GROUP]
    try:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter
    except ImportError as exc:
        raise errors.ConfigError(
            f"[{GROUP}] enabled needs OpenTelemetry: pip install 'poppy-cdn[tracing]' ({exc})"
        ) from exc
    logs.register_secrets((options.headers or {}).values())
    return trace_exporter.OTLPSpanExporter(
        endpoint=options.endpoint or None, headers=options.headers or None
    )


def _known(attributes: Attributes | None) -> dict[str, Value]:
    return {key: _short(it) for key, it in (attributes or {}).items() if it is not None}


def _short(value: Value) -> Value:
    return value[:LONGEST] if isinstance(value, str) else value


def _no_id() -> str | None:
    return None
