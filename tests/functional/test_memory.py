# SPDX-License-Identifier: Apache-2.0
"""Nothing is kept of requests and operations that are done with; counted in objects.

(What the processes hold in all is measured by ``tools/perf --only memory``.)
"""

import gc
import logging

import pytest
import webtest

from tests.functional.harness import PROJECT, Harness

ROUND = 40
#: Of a leak, each request or operation leaves at least one.
FEW = ROUND // 2
#: Whose objects count; how many a database's driver has depends on the moment.
OURS = ("poppy", "taskflow", "concurrent", "pecan", "webob", "requests")


@pytest.fixture
def poppy(tmp_path):
    made = Harness(tmp_path, {"drivers:storage": {"max_services_per_project": 1000}})
    # Else pytest keeps what is logged, with the runs that it is about.
    logging.disable(logging.CRITICAL)
    yield made
    logging.disable(logging.NOTSET)
    made.close()


def growth(work):
    """How many more objects there are after two rounds, once two have warmed everything up."""
    counts = []
    for number in range(4):
        work(number)
        gc.collect()
        gc.collect()  # what finalizers have let go of
        kinds = (str(type(it).__module__).partition(".")[0] for it in gc.get_objects())
        counts.append(sum(kind in OURS for kind in kinds))
    return counts[-1] - counts[1]


def test_of_operations_nothing_stays_in_a_worker(poppy):
    with poppy.working():

        def work(number):
            made = [poppy.create(domain=f"n{n}-{number}.example.com") for n in range(ROUND)]
            for service_id in made:
                poppy.settle(service_id)
                poppy.services.delete(PROJECT, service_id, None)
            for service_id in made:
                poppy.settle(service_id)
            # The harness's own record.
            poppy.cdn_a.calls.clear()

        assert growth(work) < FEW


def test_of_requests_nothing_stays_in_a_server(poppy):
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
