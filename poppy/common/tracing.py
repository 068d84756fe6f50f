# SPDX-License-Identifier: Apache-2.0
"""Traces by OpenTelemetry: a request, the runs of its operation, and every call to a vendor.

Until :func:`start` in the process nothing of OpenTelemetry is imported, and what stands in the
code to be traced costs a comparison. Spans know each other by the *current* span, a context
variable: what goes on in another thread runs in a copy of the caller's context (see
:class:`Threads` and :mod:`poppy.distributed_task.calls`), and an operation takes the span of its
request along in storage, as a W3C ``traceparent``.

Attributes are named by OpenTelemetry's semantic conventions, or ``poppy.*``. No attribute holds
the words of an error, a query or a header field: these may hold secrets.
"""

import atexit
import concurrent.futures
import contextvars
import enum
import importlib.metadata
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

LOG = log.getLogger(__name__)

T = TypeVar("T")

GROUP = "tracing"

OPTS = (
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Send traces to an OpenTelemetry collector, by OTLP over HTTP. What is unset here is "
        "taken from OpenTelemetry's own environment variables (OTEL_*), if they are set.",
    ),
    cfg.URIOpt(
        "endpoint",
        schemes=["http", "https"],
        help="Where the collector takes traces (http://collector.example.net:4318/v1/traces). "
        "Unset: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT, or port 4318 of "
        "this machine.",
    ),
    cfg.DictOpt(
        "headers",
        secret=True,
        help="Header fields for the collector, such as a key (name:value,name:value). Unset: "
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS, or OTEL_EXPORTER_OTLP_HEADERS.",
    ),
    cfg.FloatOpt(
        "sample_ratio",
        min=0.0,
        max=1.0,
        help="The share of requests that are traced, each with all that follows from it. Unset: "
        "OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, or all of them.",
    ),
    cfg.StrOpt(
        "service_name",
        help="The name under which all daemons appear. Unset: OTEL_SERVICE_NAME, or the daemon's "
        "own (poppy-server, poppy-worker).",
    ),
    cfg.BoolOpt(
        "trust_clients",
        default=False,
        help="Go on with the trace that a request brings along (traceparent), sampled as it says. "
        "Only where clients may decide what is traced; else each request begins a trace.",
    ),
)

#: Seconds in which what has not been sent may be sent when the process ends.
FLUSH = 3.0
#: Characters of an attribute: what waits to be sent has a limit in spans, so each must have one.
LONGEST = 500


class Kind(enum.StrEnum):
    """What a span is to its trace, by OpenTelemetry's names."""

    INTERNAL = enum.auto()
    SERVER = enum.auto()
    CLIENT = enum.auto()
    PRODUCER = enum.auto()
    CONSUMER = enum.auto()


Value = str | int | float | bool
#: By name; what is None is left out.
Attributes = Mapping[str, Value | None]


class Span:
    """For the time of something, which is the current span meanwhile; this one is not traced."""

    #: Whether attributes are wanted.
    recording = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it; an error makes it a failed one, by its class."""

    def name(self, name: str) -> None:
        """Name it otherwise: what it is about is known by now."""

    def set(self, attributes: Attributes) -> None:
        """Say something about it."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Note something that happens meanwhile."""

    def fail(self, error_type: str) -> None:
        """It failed: by the class of an error, or a status; what was said first counts."""


_NONE = Span()


class _Traced(Span):
    """A span of OpenTelemetry."""

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
        # To be polled again is how it should be.
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
    """Makes spans by a provider of OpenTelemetry.

    Args:
        provider: an ``opentelemetry.sdk.trace.TracerProvider``.
    """

    def __init__(self, provider: Any) -> None:
        import opentelemetry.context
        import opentelemetry.trace
        from opentelemetry.trace.propagation import tracecontext

        self._api = opentelemetry
        self._provider = provider
        self._tracer = provider.get_tracer("poppy", importlib.metadata.version("poppy"))
        self._kinds = opentelemetry.trace.SpanKind
        self._propagator = tracecontext.TraceContextTextMapPropagator()

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        parent: Mapping[str, str] | None,
    ) -> Span:
        """As :func:`span`, with the parent as the header fields of W3C's Trace Context."""
        context = None
        if parent is None:
            if not self._api.trace.get_current_span().get_span_context().is_valid:
                return _NONE
        else:
            # From nothing, and not from what may be current here.
            context = self._propagator.extract(parent, self._api.context.Context())
        kind_of_theirs = self._kinds[kind.upper()]
        made = self._tracer.start_span(name, context, kind_of_theirs, _known(attributes))
        return _Traced(self._api, made)

    def current(self) -> Span:
        """The current span, which is not ended by this."""
        return _Traced(self._api, self._api.trace.get_current_span())

    def traceparent(self) -> str | None:
        """Of the current span."""
        fields: dict[str, str] = {}
        self._propagator.inject(fields)
        return fields.get("traceparent")

    def trace_id(self) -> str | None:
        """Of the current span, in 32 hexadecimal digits."""
        context = self._api.trace.get_current_span().get_span_context()
        return self._api.trace.format_trace_id(context.trace_id) if context.is_valid else None

    def shutdown(self) -> None:
        """Send what has not been sent; may take as long as the collector does."""
        self._provider.shutdown()


_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Have this process's spans made by a tracer; None: trace nothing."""
    global _tracer  # noqa: PLW0603 - as the current span, one for a process
    _tracer = tracer
    logs.trace_id = tracer.trace_id if tracer else _no_id


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    attributes: Attributes | None = None,
    parent: Mapping[str, str] | None = None,
) -> Span:
    """A span for a ``with`` block.

    Args:
        name: what it is, with few different values.
        parent: the header fields ``traceparent`` and ``tracestate`` of what it follows from,
            elsewhere; without these (``{}``) it begins a trace. By default, the current span;
            what follows from nothing that is traced, such as a health check, is not traced.
    """
    return _NONE if _tracer is None else _tracer.span(name, kind, attributes, parent)


def event(name: str, attributes: Attributes | None = None) -> None:
    """Note something that happens during the current span."""
    if _tracer is not None:
        _tracer.current().event(name, attributes)


def traceparent() -> str | None:
    """The current span, for a process that goes on with it; None without one."""
    return None if _tracer is None else _tracer.traceparent()


class Threads(concurrent.futures.ThreadPoolExecutor):
    """Threads in which the current span is that of whoever asked for the work."""

    def submit(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]:
        """As the base does it, in a copy of the caller's context."""
        return super().submit(contextvars.copy_context().run, fn, *args, **kwargs)


def check(conf: cfg.ConfigOpts) -> None:
    """Make sure, before anything starts, that traces can be sent if they are wanted.

    Raises:
        ConfigError: OpenTelemetry is not installed, or an option can't be used.
    """
    if conf[GROUP].enabled:
        _exporter(conf)


def start(conf: cfg.ConfigOpts, program: str) -> None:
    """Trace from now on, in this process, if that is wanted; to be called after a fork.

    Args:
        program: the daemon's name.

    Raises:
        ConfigError: as :func:`check`.
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
            "service.version": importlib.metadata.version("poppy"),
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
    # Spans wait in a queue of fixed length for a thread that sends them: a collector that is
    # slow or dead costs spans, and nobody's time.
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    use(Tracer(provider))
    # For other WSGI servers; our daemons stop by themselves.
    atexit.register(stop)


def stop() -> None:
    """Send what has not been sent, for :data:`FLUSH` seconds at most, and trace no more."""
    tracer = _tracer
    if tracer is None:
        return
    use(None)
    sending = threading.Thread(target=tracer.shutdown, name="traces", daemon=True)
    sending.start()
    sending.join(FLUSH)
    if sending.is_alive():
        LOG.warning("The collector of traces does not answer; the last spans are lost")


def address_of(url: str) -> dict[str, str | int]:
    """The attributes of a URL that something is sent to: no query, no user, no known secret."""
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
            f"[{GROUP}] enabled needs OpenTelemetry: pip install 'poppy[tracing]' ({exc})"
        ) from exc
    logs.learn((options.headers or {}).values())
    return trace_exporter.OTLPSpanExporter(
        endpoint=options.endpoint or None, headers=options.headers or None
    )


def _known(attributes: Attributes | None) -> dict[str, Value]:
    return {key: _short(it) for key, it in (attributes or {}).items() if it is not None}


def _short(value: Value) -> Value:
    return value[:LONGEST] if isinstance(value, str) else value


def _no_id() -> str | None:
    return None
