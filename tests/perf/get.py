# SPDX-License-Identifier: Apache-2.0
"""GET of a service: Poppy's complete application compared with a bare Pecan application.

Both run the same SELECT by primary key on the same database file, with engines of the same
configuration, and return the row's JSON. Poppy adds its middleware, request checks, hooks,
manager, model and views. Both are called directly in this thread, without sockets.
"""

import json

from tests.perf import bare, seed
from tests.perf.common import PROJECT, Effort, alternate, call, poppy, rate
from tests.perf.results import Goal, Result

GOAL = Goal(">=", 0.75)


def run(effort: Effort) -> list[Result]:
    """Measure requests per second."""
    requests = effort.pick(600, 300)
    with poppy() as made:
        service_id = seed.services(made.url, {PROJECT: 100})[PROJECT][50]
        other = bare.make(made.url)
        path, other_path = f"/v1.0/services/{service_id}", f"/services/{service_id}"
        same_document(call(made.application, "GET", path), call(other, "GET", other_path))
        a, b = alternate(
            effort.pick(21, 7),
            lambda: rate(lambda: call(made.application, "GET", path), requests),
            lambda: rate(lambda: call(other, "GET", other_path), requests),
        )
    return [Result("get", "req/s", ("Poppy", a), ("bare Pecan", b), GOAL)]


def same_document(ours: bytes, theirs: bytes) -> None:
    """Check that both responses describe the same service.

    Raises:
        RuntimeError: they don't.
    """
    one, other = json.loads(ours), json.loads(theirs)
    for name in ("id", "domains", "origins", "caching"):
        if one[name] != other[name]:
            raise RuntimeError(f"'{name}' differs: {one[name]} and {other[name]}")
