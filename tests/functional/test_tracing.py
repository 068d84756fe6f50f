# SPDX-License-Identifier: Apache-2.0
"""One trace from a request through its operation's runs to the drivers' calls."""

import datetime
import logging

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from poppy.common import errors, logs, tracing
from poppy.model.membership import Breaker, BreakerState
from poppy.provider.base import Deployment
from tests.functional import fakes
from tests.functional.harness import PROJECT, Harness, Hold

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"
TRACE = "0af7651916cd43dd8448eb211c80319c"
GIVEN = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "vendor=1"}


@pytest.fixture(autouse=True)
def service(manager):
    manager.services.found[fakes.PROJECT, fakes.SERVICE_ID] = fakes.service()


@pytest.fixture
def app(make):
    return make(tracing__enabled=True)


class TestRequest:
    def test_span_is_named_after_the_route(self, app, spans):
        response = app.get(SERVICE + "?domain=secret", status=200)
        (span,) = spans.all()
        assert span.name == "GET /v1.0/services/{service_id}"
        assert span.kind is SpanKind.SERVER
        assert dict(span.attributes) == {
            "http.request.method": "GET",
            "url.scheme": "http",
            "http.route": "/v1.0/services/{service_id}",
            "http.response.status_code": 200,
            "openstack.request_id": response.headers["X-OpenStack-Request-ID"],
            "openstack.project_id": fakes.PROJECT,
        }

    def test_to_an_unknown_path_does_not_record_the_path(self, app, spans):
        app.get("/v1.0/secret", status=404)
        (span,) = spans.all()
        assert (span.name, span.status.status_code) == ("GET", StatusCode.UNSET)
        assert span.attributes["http.response.status_code"] == 404
        assert "secret" not in spans.text()

    def test_with_an_unknown_method_is_recorded_as_other(self, make, spans):
        make(lint=False, tracing__enabled=True).request(SERVICE, method="SECRET", status=405)
        (span,) = spans.all()
        assert span.name.startswith("HTTP")
        assert span.attributes["http.request.method"] == "_OTHER"

    def test_failure_is_recorded_as_an_error(self, app, manager, spans):
        def broken(*_):
            raise RuntimeError("s3cr3t")

        manager.services.get = broken
        app.get(SERVICE, status=500)
        (span,) = spans.all()
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == "500"
        assert "s3cr3t" not in spans.text()

    def test_of_an_untrusted_client_begins_a_new_trace(self, app, spans):
        app.get(SERVICE, headers=GIVEN, status=200)
        assert spans.all()[0].parent is None

    def test_of_a_trusted_client_continues_its_trace(self, make, spans):
        app = make(tracing__enabled=True, tracing__trust_clients=True)
        app.get(SERVICE, headers=GIVEN, status=200)
        (span,) = spans.all()
        assert f"{span.context.trace_id:032x}" == TRACE
        assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
        assert span.context.trace_state.get("vendor") == "1"

    def test_of_a_trusted_client_honors_the_sampled_flag(self, make, spans):
        app = make(tracing__enabled=True, tracing__trust_clients=True)
        app.get(SERVICE, headers={"traceparent": GIVEN["traceparent"][:-1] + "0"}, status=200)
        assert spans.all() == []

    def test_is_not_traced_by_default(self, make, spans):
        make().get(SERVICE, status=200)
        assert spans.all() == []


@pytest.fixture
def poppy(tmp_path):
    made = Harness(tmp_path)
    yield made
    made.close()


def create(poppy, **changes):
    """Create a service within a span, as a request does."""
    with tracing.span("request", tracing.Kind.SERVER, parent={}):
        return poppy.create(**changes)


def parent_of(span, spans):
    """Return the name of a span's parent."""
    return next(it.name for it in spans.all() if it.context.span_id == span.parent.span_id)


class TestOperation:
    def test_is_in_the_trace_of_its_request(self, poppy, spans):
        service_id = create(poppy)
        with poppy.working():
            poppy.settle(service_id)
        (operation,) = poppy.operations(service_id)
        assert len({span.context.trace_id for span in spans.all()}) == 1
        run = spans.one("run create")
        assert run.kind is SpanKind.CONSUMER
        assert parent_of(run, spans) == "request"
        assert dict(run.attributes) == {
            "poppy.operation.kind": "create",
            "poppy.operation.id": operation.operation_id,
            "poppy.operation.attempt": 1,
            "poppy.service.id": service_id,
            "openstack.project_id": PROJECT,
            "openstack.request_id": "req-1",
            "poppy.outcome": "succeeded",
        }
        assert spans.one("post create").kind is SpanKind.PRODUCER
        calls = [spans.one("ensure provider:cdn-a"), spans.one("ensure dns:scripted")]
        assert [parent_of(call, spans) for call in calls] == ["run create", "run create"]
        assert [call.attributes["poppy.outcome"] for call in calls] == ["done", "done"]

    def test_includes_the_spans_of_drivers(self, poppy, spans):
        def call_vendor():
            with tracing.span("GET", tracing.Kind.CLIENT):
                pass

        poppy.cdn_a.script, poppy.cdn_b.script = [call_vendor], [call_vendor]
        service_id = create(poppy, flavor_id="both")
        with poppy.working():
            poppy.settle(service_id)
        parents = {parent_of(call, spans) for call in spans.named("GET")}
        assert parents == {"ensure provider:cdn-a", "ensure provider:cdn-b"}

    def test_retries_are_runs_of_one_trace(self, poppy, spans):
        busy = errors.RetryableError("the key is s3cr3t", retry_after=2.1)
        again = Deployment("id", {"www.example.com": "x.example"}, in_progress=True, poll_after=0)
        poppy.cdn_a.script = [errors.RetryableError("busy", retry_after=0), again, busy]
        service_id = create(poppy)
        with poppy.working():
            poppy.settle(service_id)
        assert len({span.context.trace_id for span in spans.all()}) == 1
        runs = spans.named("run create")
        assert [run.attributes["poppy.operation.attempt"] for run in runs] == [1, 2, 3]
        assert [run.attributes["poppy.outcome"] for run in runs] == [
            "parked",
            "retried",
            "succeeded",
        ]
        calls = spans.named("ensure provider:cdn-a")
        assert [call.attributes["poppy.outcome"] for call in calls] == [
            "in_progress",
            "retryable",
            "done",
        ]
        assert [[event.name for event in call.events] for call in calls] == [["retry"], [], []]
        assert [call.attributes.get("error.type") for call in calls] == [
            None,
            "RetryableError",
            None,
        ]
        assert "s3cr3t" not in spans.text()

    def test_failure_is_recorded_as_an_error(self, poppy, spans):
        poppy.cdn_a.script = [errors.PermanentError("no")]
        service_id = create(poppy)
        with poppy.working():
            poppy.settle(service_id)
        assert spans.one("run create").attributes["error.type"] == "failed"

    def test_compensating_a_late_call_is_in_the_trace_of_that_call(self, tmp_path, spans):
        poppy, hold = Harness(tmp_path, step_timeout=0.2), Hold()
        poppy.cdn_a.script = [hold]
        service_id = create(poppy)
        with poppy.working():
            poppy.settle(service_id)
            hold.go.set()
            poppy.wait(lambda: len(poppy.operations(service_id)) == 2)
            poppy.settle(service_id)
        poppy.close()
        hung = spans.named("ensure provider:cdn-a")[0]
        assert hung.attributes["poppy.outcome"] == "retryable"
        assert parent_of(spans.one("run update"), spans) == "request"

    def test_records_deferred_calls(self, poppy, spans):
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1.5)
        opened = Breaker("provider:cdn-a").next(state=BreakerState.OPEN, until=soon)
        assert poppy.storage.membership.swap(opened)
        service_id = create(poppy)
        with poppy.working():
            poppy.settle(service_id)
        first = spans.named("run create")[0]
        assert first.attributes["poppy.outcome"] == "parked"
        (event,) = first.events
        assert (event.name, event.attributes["poppy.driver"]) == ("deferred", "provider:cdn-a")

    def test_without_a_request_has_a_trace_for_each_run(self, poppy, spans):
        service_id = poppy.create()
        with poppy.working():
            poppy.settle(service_id)
        assert spans.one("run create").parent is None

    def test_logs_its_trace_id(self, poppy, spans, caplog):
        ids = []

        class Handler(logging.Handler):
            def emit(self, record):
                ids.append((record.getMessage().partition(":")[2].strip(), logs.trace_id()))

        logger, handler = logging.getLogger("poppy.distributed_task"), Handler()
        logger.addHandler(handler)
        caplog.set_level(logging.DEBUG, "poppy.distributed_task")
        try:
            service_id = create(poppy, flavor_id="both")
            with poppy.working():
                poppy.settle(service_id)
        finally:
            logger.removeHandler(handler)
        expected = f"{spans.one('request').context.trace_id:032x}"
        for words in ("begins", "provider:cdn-b is done", "succeeded"):
            assert (words, expected) in ids
