# SPDX-License-Identifier: Apache-2.0
"""The cost of the transport: GET of a service compared with a bare Pecan handler, no queries.

Both return the same document. Poppy makes it from a model object each time; the bare handler has
it as a dictionary. Both are called directly in this thread.
"""

from typing import Any

import pecan

from poppy.transport.pecan import views
from poppy.transport.pecan.driver import PecanTransport
from tests.functional import fakes
from tests.perf.common import Application, Effort, Poppy, alternate, call, poppy, rate
from tests.perf.results import Result


def run(effort: Effort) -> list[Result]:
    """Measure requests per second."""
    requests = effort.pick(1000, 500)
    path = f"/v1.0/services/{fakes.SERVICE_ID}"
    with poppy() as made:
        one, other = full(made), bare()
        a, b = alternate(
            effort.pick(15, 5),
            lambda: rate(lambda: call(one, "GET", path), requests),
            lambda: rate(lambda: call(other, "GET", "/service"), requests),
        )
    return [Result("get, no query", "req/s", ("transport", a), ("bare Pecan", b))]


def bare() -> Application:
    """Return a minimal Pecan application."""
    document = views.service(fakes.service(), "http://localhost:8888/v1.0")

    class Root:
        @pecan.expose("json")  # type: ignore[untyped-decorator]
        def service(self) -> dict[str, Any]:
            return document

    application: Application = pecan.make_app(Root())
    return application


def full(made: Poppy) -> Application:
    """Return the real application with a manager that returns one Service object."""
    manager: Any = fakes.FakeManager()
    found = fakes.service()
    manager.services.get = lambda project_id, service_id: found
    application: Application = PecanTransport(made.boot.conf, "pecan", manager=manager).application
    return application
