# SPDX-License-Identifier: Apache-2.0
"""Traces of daemons that run as processes, with a vendor and a collector over HTTP."""

import re
import statistics
import time

import pytest

from tests.real.collector import Collector
from tests.real.fastly import LOST_ANSWER, NONE, TOKEN, Fastly
from tests.real.poppy import Installation, free_port, wait

KEY = "s3cr3t-collector-key"


@pytest.fixture
def fastly():
    with Fastly() as made:
        yield made


@pytest.fixture
def collector():
    with Collector() as made:
        yield made


def install(directory, fastly, endpoint):
    """Install a server and a worker with tracing, and Fastly as the only provider."""
    options = {
        "DEFAULT": {"debug": True},
        "drivers": {"providers": "fastly"},
        "drivers:provider:fastly": {"token": TOKEN, "api_url": fastly.url, "timeout": 5},
        "tracing": {"enabled": True, "endpoint": endpoint, "headers": f"x-key:{KEY}"},
    }
    # Export spans almost at once.
    made = Installation(directory, options, {"OTEL_BSP_SCHEDULE_DELAY": "100"})
    made.sync()
    return made


def test_one_trace_covers_request_worker_and_vendor(tmp_path, fastly, collector):
    poppy = install(tmp_path, fastly, collector.url)
    lost = iter([LOST_ANSWER])
    with poppy.daemon("poppy-server"), poppy.daemon("poppy-worker"):
        poppy.wait_until_up()
        poppy.create_flavor("fastly")
        fastly.fault = lambda request: next(lost, NONE) if request.method == "POST" else NONE
        url = poppy.create_service()
        poppy.wait_for(url, "deployed")
        wait(lambda: collector.named("run create"), 10)
        wait(lambda: collector.named("POST /v1.0/services"), 10)

    (request,) = collector.named("POST /v1.0/services")
    (run,) = collector.named("run create")
    (call,) = collector.named("ensure provider:fastly")
    assert (request.service, request.parent) == ("poppy-server", "")
    assert (run.service, run.parent, run.trace) == ("poppy-worker", request.id, request.trace)
    assert (call.parent, call.trace, call.events) == (run.id, request.trace, ["retry"])
    asked = [span for span in collector.spans if span.parent == call.id]
    assert {span.trace for span in asked} == {request.trace}
    # What the vendor received, in order, including the request with the lost response.
    told = [it.attributes for it in asked]
    assert [(it["http.request.method"], it["url.full"]) for it in told] == [
        (it.method, fastly.url + it.path) for it in fastly.seen
    ]
    (unheard,) = [it for it in told if "http.response.status_code" not in it]
    assert (unheard["http.request.method"], unheard["error.type"]) == ("POST", "ConnectionError")
    log = (tmp_path / "poppy.log").read_text()
    assert re.search(
        rf"{request.attributes['openstack.request_id']} .*trace_id={request.trace}\]", log
    )
    assert re.search(rf"trace_id={request.trace}\].* succeeded", log)

    sent = repr(collector.spans)
    assert all(fields["x-key"] == KEY for _, fields in collector.requests)
    for secret in (TOKEN, KEY):
        assert secret not in sent
        assert secret not in log


def test_dead_collector_does_not_affect_tenants(tmp_path, fastly):
    poppy = install(tmp_path, fastly, f"http://127.0.0.1:{free_port()}/v1/traces")
    with poppy.daemon("poppy-server"), poppy.daemon("poppy-worker"):
        poppy.wait_until_up()
        poppy.create_flavor("fastly")
        poppy.wait_for(poppy.create_service(), "deployed")
        begin = time.monotonic()
    # Both were stopped, one after the other.
    assert time.monotonic() - begin < 15


def test_hanging_collector_does_not_slow_requests(tmp_path, fastly, collector):
    poppy = install(tmp_path, fastly, collector.url)
    with poppy.daemon("poppy-server"):
        poppy.wait_until_up()
        poppy.create_flavor("fastly")

        def median():
            times = []
            for _ in range(300):
                begin = time.monotonic()
                assert poppy.session.get(f"{poppy.base}/v1.0/flavors", timeout=10).ok
                times.append(time.monotonic() - begin)
            return statistics.median(times)

        before = median()
        collector.stall()
        # These requests create more spans than fit in a batch.
        assert median() < 3 * before
        begin = time.monotonic()
    assert time.monotonic() - begin < 10
