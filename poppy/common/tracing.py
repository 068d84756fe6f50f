# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry traces of requests, operation runs and calls to vendors.

OpenTelemetry's SDK is not imported until :func:`start`. Before that, nothing is recorded. The
parent of a span is the *current* span, a context variable. Work in another thread runs in a copy
of the caller's context (see :class:`Threads` and :mod:`poppy.distributed_task.call_pool`). An
operation stores the span of its request as a W3C ``traceparent``.

Attribute names follow OpenTelemetry's semantic conventions or start with ``poppy.``. No attribute
holds an error message, a query string or a header field, because these may hold secrets.
"""

import atexit
import concurrent.futures
import contextvars
import os
import socket
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from opentelemetry import context, trace
from opentelemetry.trace.propagation import tracecontext
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


Kind = trace.SpanKind
Value = str | int | float | bool
#: Attributes by name. None values are left out.
Attributes = Mapping[str, Value | None]

_PROPAGATOR = tracecontext.TraceContextTextMapPropagator()


class Span:
    """A span that is current inside its ``with`` block."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._failed = False
        #: Whether the span is sampled and keeps attributes.
        self.recording = span.is_recording()

    def __enter__(self) -> Self:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the span. An exception marks it as failed, with the exception's class name."""
        # InProgressError asks for another poll; it is not a failure.
        if kind is not None and not issubclass(kind, errors.InProgressError):
            self.fail(kind.__name__)
        self._span.end()
        context.detach(self._token)

    def name(self, name: str) -> None:
        """Rename the span."""
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """Set attributes."""
        self._span.set_attributes(_known(attributes))

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Add an event at the current time."""
        self._span.add_event(name, _known(attributes))

    def fail(self, error_type: str) -> None:
        """Mark the span as failed. ``error_type`` is a class name or a status; the first wins."""
        if self._failed:
            return
        self._failed = True
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(trace.StatusCode.ERROR)


_provider: Any = None
_tracer: trace.Tracer | None = None


def use(provider: Any) -> None:
    """Set the tracer provider of this process, one of the SDK; None disables tracing."""
    global _provider, _tracer  # noqa: PLW0603 - one tracer per process, like the current span
    _provider = provider
    _tracer = provider.get_tracer("poppy", VERSION) if provider else None


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
    traced = parent is not None or trace.get_current_span().get_span_context().is_valid
    if _tracer is None or not traced:
        return Span(trace.INVALID_SPAN)
    # Extract into an empty context, so that the current span is not the parent.
    within = None if parent is None else _PROPAGATOR.extract(parent, context.Context())
    return Span(_tracer.start_span(name, within, kind, _known(attributes)))


def event(name: str, attributes: Attributes | None = None) -> None:
    """Add an event to the current span."""
    trace.get_current_span().add_event(name, _known(attributes))


def traceparent() -> str | None:
    """Return the current ``traceparent``, for another process to continue; None without one."""
    fields: dict[str, str] = {}
    _PROPAGATOR.inject(fields)
    return fields.get("traceparent")


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
        ConfigError: tracing is enabled, but the exporter is not installed or an option is
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
    from opentelemetry.sdk import resources
    from opentelemetry.sdk.trace import TracerProvider, export, sampling

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
    provider = TracerProvider(
        sampler=None if ratio is None else sampling.ParentBasedTraceIdRatio(ratio),
        resource=described,
        shutdown_on_exit=False,
    )
    # A thread sends spans from a queue of fixed length: a slow or dead collector loses spans but
    # delays no request.
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    use(provider)
    # For other WSGI servers; Poppy's daemons call stop() themselves.
    atexit.register(stop)


def stop() -> None:
    """Stop tracing, and send the remaining spans within :data:`FLUSH` seconds."""
    provider = _provider
    if provider is None:
        return
    use(None)
    sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
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
