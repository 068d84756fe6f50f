# SPDX-License-Identifier: Apache-2.0
"""What tests of every kind may use."""

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from poppy.common import logs
from tests.spans import Spans

# An example may take long on a busy machine. That is no fault.
settings.register_profile("poppy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("poppy")

_ROOT = Path(__file__).parent
#: The files that take longest come first: minutes each, mostly of waiting for servers.
LONGEST = (
    "integration/test_storage_cassandra.py",
    "chaos/test_outages.py",
    "integration/test_pages.py",
    "api/test_schemathesis.py",
    "integration/test_storage_mariadb.py",
    "integration/test_storage_postgresql.py",
    "integration/test_daemons.py",
    "integration/test_dns_designate.py",
    "chaos/test_random.py",
    "integration/test_edge_agent.py",
    "integration/test_backbone_failures.py",
    "integration/fastly/test_convergence.py",
)
#: Then those with processes and servers.
_ORDER = ("integration", "chaos", "security", "functional", "api")


def pytest_collection_modifyitems(items):
    """Run the files that take minutes first, so that no process of pytest-xdist ends late."""

    def place(item):
        path = item.path.relative_to(_ROOT)
        first = LONGEST.index(str(path)) if str(path) in LONGEST else len(LONGEST)
        kind = path.parts[0]
        rank = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
        return first, item.get_closest_marker("nightly") is None, rank

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Run each file in one process of pytest-xdist, and those of :func:`unit_of` together."""
    if config.getvalue("dist") != "loadfile":
        return None

    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return unit_of(super()._split_scope(nodeid))

    return Scheduling(config, log)


def unit_of(file):
    """Return the name of the files that share a process with a file.

    The files of chaos tests share a site, which takes 15 s of CPU time to start, but the random
    run has its own.
    """
    together = file.startswith("tests/chaos/") and not file.endswith("/test_random.py")
    return "tests/chaos" if together else file


@pytest.fixture(autouse=True)
def pristine_log_handlers():
    """Undo what a test's log setup does to the root logger, which all tests share."""
    saved = [(it, list(it.filters), it.formatter) for it in logging.root.handlers]
    errors = {it: it.__dict__.get("handleError") for it, _, _ in saved}
    yield
    logging.root.handlers[:] = [it for it, _, _ in saved]
    for handler, filters, formatter in saved:
        handler.filters[:] = filters
        handler.setFormatter(formatter)
        if errors[handler] is None:
            handler.__dict__.pop("handleError", None)


@pytest.fixture(autouse=True)
def forgotten_secrets():
    """Forget the secrets of a test, or those that are words would be masked in all others."""
    known = set(logs._known)
    yield
    logs._known.intersection_update(known)


@pytest.fixture
def spans():
    """Has what this process traces kept in memory."""
    with Spans() as kept:
        yield kept
