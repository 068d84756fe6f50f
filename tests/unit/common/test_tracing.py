# SPDX-License-Identifier: Apache-2.0
"""Spans, and their export with OpenTelemetry."""

import io
import json
import logging
import sys
import threading
import time

import pytest
from opentelemetry.trace import StatusCode

from poppy.common import config, errors, logs, tracing
from tests.real.collector import Collector

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def make_conf(**options):
    conf = config.new()
    conf([])
    for name, value in options.items():
        conf.set_override(name, value, group=tracing.GROUP)
    return conf


@pytest.fixture
def started(monkeypatch):
    """Trace in this process as configured, and return the spans after it stops."""
    for name in ("OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(logs, "_known", set())

    def started(**options):
        tracing.start(make_conf(enabled=True, **options), "poppy-server")

    yield started
    tracing.stop()
    # An exporter that still waits would log during a later test.
    for thread in threading.enumerate():
        if thread.name == "traces":
            thread.join()


def test_disabled_tracing_does_nothing():
    with tracing.span("a", parent={}) as span:
        span.set({"a": 1})
        span.event("b")
        span.fail("c")
        span.name("d")
        assert not span.recording
    tracing.event("e")
    assert tracing.traceparent() is None


def test_spans_have_the_current_span_as_parent(spans):
    with tracing.span("outer", tracing.Kind.SERVER, {"a": 1, "b": None}, {}) as outer:
        with tracing.span("inner"):
            tracing.event("noted", {"c": "d"})
        outer.name("renamed")
    inner, renamed = spans.all()
    assert (inner.name, renamed.name) == ("inner", "renamed")
    assert inner.parent.span_id == renamed.context.span_id
    assert renamed.parent is None
    assert dict(renamed.attributes) == {"a": 1}
    assert [(it.name, dict(it.attributes)) for it in inner.events] == [("noted", {"c": "d"})]


def test_a_span_without_a_parent_is_not_traced(spans):
    with tracing.span("health check"):
        pass
    assert spans.all() == []


def test_a_trace_continues_in_another_process(spans):
    with tracing.span("here", parent={}):
        text = tracing.traceparent()
        with tracing.span("there", parent={"traceparent": text}):
            pass
        with tracing.span("of its own", parent={}):
            pass
    there, alone, here = spans.all()
    assert there.parent.span_id == here.context.span_id
    assert there.context.trace_id == here.context.trace_id != alone.context.trace_id


@pytest.mark.parametrize("given", ["", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\x00"])
def test_an_invalid_traceparent_starts_a_trace(spans, given):
    with tracing.span("here", parent={"traceparent": given}):
        pass
    assert spans.one("here").parent is None


def test_an_error_is_recorded_by_class_only(spans):
    with pytest.raises(errors.PermanentError), tracing.span("a", parent={}):
        raise errors.PermanentError("the key is s3cr3t-4711")
    span = spans.one("a")
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "PermanentError"
    assert "s3cr3t" not in spans.text()


def test_the_first_failure_counts(spans):
    with pytest.raises(errors.RetryableError), tracing.span("a", parent={}) as span:
        span.fail("503")
        raise errors.RetryableError("busy")
    assert spans.one("a").attributes["error.type"] == "503"


def test_in_progress_is_not_a_failure(spans):
    with pytest.raises(errors.InProgressError), tracing.span("a", parent={}):
        raise errors.InProgressError("wait", 1.0)
    assert spans.one("a").status.status_code is StatusCode.UNSET


def test_attributes_are_short(spans):
    with tracing.span("a", attributes={"b": "x" * 10_000}, parent={}) as span:
        span.set({"c": "y" * 10_000})
        span.event("d", {"e": "z" * 10_000})
    assert len(spans.text()) < 4 * tracing.LONGEST + 2000


def test_work_in_other_threads_keeps_the_submitters_span(spans):
    def work():
        with tracing.span("inner"):
            return threading.current_thread().name

    with tracing.Threads(1, "pool") as pool:
        for name in ("one", "two"):
            with tracing.span(name, parent={}):
                assert pool.submit(work).result() == "pool_0"
    first, one, second, two = spans.all()
    assert [first.parent.span_id, second.parent.span_id] == [
        one.context.span_id,
        two.context.span_id,
    ]


def test_a_url_is_recorded_without_secrets(monkeypatch):
    monkeypatch.setattr(logs, "_known", {"k3y-in-path"})
    told = tracing.address_of("https://me:pass@api.example.com/v1/k3y-in-path/x?token=t#f")
    assert told == {
        "url.full": "https://api.example.com/v1/***/x",
        "server.address": "api.example.com",
        "server.port": 443,
    }
    assert tracing.address_of("http://[::1]:8080/a")["server.address"] == "::1"
    assert tracing.address_of("http://[::1:8080/a") == {}


def traced(name="a", **options):
    with tracing.span(name, **{"parent": {}, **options}) as span:
        return span.recording


def test_spans_are_sent_at_the_end_with_their_resource(started):
    with Collector() as collector:
        started(endpoint=collector.url, headers={"x-key": "s3cr3t-4711"})
        traced()
        tracing.stop()
        (span,) = collector.spans
        assert (span.name, span.service) == ("a", "poppy-server")
        ((path, fields),) = collector.requests
        assert path == "/v1/traces"
        assert fields["x-key"] == "s3cr3t-4711"
        assert logs.mask("s3cr3t-4711") == logs.MASK
    assert not traced()


def test_unset_options_default_to_the_environment(started, monkeypatch):
    with Collector() as collector:
        base = collector.url.removesuffix("/v1/traces")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of-the-environment")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "north")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        started()
        assert not traced()
        assert traced(parent={"traceparent": GIVEN})
        tracing.stop()
        (span,) = collector.spans
        assert span.service == "north"
        assert collector.requests[0][1]["x-key"] == "of-the-environment"


def test_options_override_the_environment(started, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "north")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with Collector() as collector:
        started(endpoint=collector.url, service_name="south", sample_ratio=1.0)
        assert traced()
        tracing.stop()
        assert [span.service for span in collector.spans] == ["south"]


def test_sampled_requests_are_traced_completely(started):
    shares = []
    with Collector() as collector:
        started(endpoint=collector.url, sample_ratio=0.25)
        for _ in range(2000):
            with tracing.span("request", parent={}) as span:
                shares.append(span.recording)
                parent = tracing.traceparent()
                with tracing.span("call") as call:
                    assert call.recording is span.recording
            assert traced(parent={"traceparent": parent}) is span.recording
        tracing.stop()
    assert 350 < sum(shares) < 650  # of 2000, at 0.25: five standard deviations are 97


def test_a_collector_that_never_answers_delays_nothing(started):
    with Collector() as collector:
        started(endpoint=collector.url)
        collector.stall()
        begin = time.monotonic()
        for _ in range(10_000):
            traced(attributes={"b": "x" * 100})
        assert time.monotonic() - begin < 10
        (processor,) = tracing._provider._active_span_processor._span_processors
        assert len(processor._batch_processor._queue) <= 2048
        begin = time.monotonic()
        tracing.stop()
        assert time.monotonic() - begin < tracing.FLUSH + 1


def test_a_missing_exporter_is_reported_at_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(errors.ConfigError, match=r"pip install 'poppy-cdn\[tracing\]'"):
        tracing.check(make_conf(enabled=True))
    tracing.check(make_conf())


@pytest.mark.parametrize(
    ("name", "value"), [("endpoint", "collector:4318"), ("sample_ratio", 1.5), ("headers", "x")]
)
def test_an_invalid_option_is_reported(tmp_path, name, value):
    file = tmp_path / "poppy.conf"
    file.write_text(f"[tracing]\n{name} = {value}\n")
    with pytest.raises(errors.ConfigError, match=rf"\[tracing\] {name}"):
        config.validate(config.load([], files=[str(file)]))


@pytest.mark.parametrize("as_json", [False, True])
def test_log_lines_have_the_trace_id(spans, as_json):
    conf = make_conf(enabled=True)
    conf.set_override("use_json", as_json)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("poppy.test_tracing")
    root, level = list(logging.root.handlers), logging.root.level
    try:
        logs.setup(conf)
        (made,) = (it for it in logging.root.handlers if it not in root)
        handler.setFormatter(made.formatter)
        logger.addHandler(handler)
        with tracing.span("a", parent={"traceparent": GIVEN}):
            logger.warning("within")
        logger.warning("outside")
    finally:
        logger.removeHandler(handler)
        logging.root.handlers[:] = root
        logging.root.setLevel(level)
    within, outside = stream.getvalue().splitlines()
    if as_json:
        assert json.loads(within)["extra"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert "trace_id" not in json.loads(outside)["extra"]
    else:
        assert "trace_id=0af7651916cd43dd8448eb211c80319c] within" in within
        assert "trace_id=-] outside" in outside
