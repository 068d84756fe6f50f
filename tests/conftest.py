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
#: Tests with processes and servers first.
_ORDER = ("integration", "chaos", "security", "functional", "api")


def pytest_collection_modifyitems(items):
    """Run the files that take minutes first, so that no process of pytest-xdist ends late."""

    def place(item):
        kind = item.path.relative_to(_ROOT).parts[0]
        rank = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
        return item.get_closest_marker("nightly") is None, rank

    items.sort(key=place)


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
