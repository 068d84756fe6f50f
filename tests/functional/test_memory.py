# SPDX-License-Identifier: Apache-2.0
"""Finished requests and operations leave no objects behind.

``tools/perf --only memory`` measures the total memory of the processes.
"""

import gc
import logging

import pytest
import webtest

from tests.functional.harness import PROJECT, Harness

ROUND = 40
#: With a leak, each request or operation leaves at least one object.
FEW = ROUND // 2
#: Only objects of these packages are counted; the number of a database driver's objects varies.
OURS = ("poppy", "taskflow", "concurrent", "pecan", "webob", "requests")


@pytest.fixture
def poppy(tmp_path):
    # Each thread of a worker keeps its engines; with one thread all are made in the warm-up.
    options = {"drivers:storage": {"max_services_per_project": 1000}}
    made = Harness(tmp_path, options, concurrency=1)
    # Otherwise pytest keeps the log records, and the runs to which they refer.
    logging.disable(logging.CRITICAL)
    yield made
    logging.disable(logging.NOTSET)
    made.close()


def growth(work):
    """Return the growth in objects over two rounds, after two rounds of warm-up."""
    counts = []
    for number in range(4):
        work(number)
        gc.collect()
        gc.collect()  # objects released by finalizers
        kinds = (str(type(it).__module__).partition(".")[0] for it in gc.get_objects())
        counts.append(sum(kind in OURS for kind in kinds))
    return counts[-1] - counts[1]


def test_worker_does_not_leak_objects_of_operations(poppy):
    with poppy.working():

        def work(number):
            made = [poppy.create(domain=f"n{n}-{number}.example.com") for n in range(ROUND)]
            for service_id in made:
                poppy.settle(service_id)
                poppy.services.delete(PROJECT, service_id, None)
            for service_id in made:
                poppy.settle(service_id)
            # The harness keeps a record of calls.
            poppy.cdn_a.calls.clear()

        assert growth(work) < FEW


def test_server_does_not_leak_objects_of_requests(poppy):
    app = webtest.TestApp(poppy.boot.transport.application, {"HTTP_X_PROJECT_ID": PROJECT})

    def work(number):
        for n in range(ROUND):
            body = poppy.document(f"n{n}-{number}.example.com")
            url = app.post_json("/v1.0/services", body, status=202).headers["Location"]
            for _ in range(3):
                app.get(url, status=200)
                app.get("/v1.0/services?limit=20", status=200)
                app.get("/v1.0/services/none", status=400)

    assert growth(work) < FEW
