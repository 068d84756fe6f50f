# SPDX-License-Identifier: Apache-2.0
"""What tests of every kind may use."""

import logging

import pytest

from tests.spans import Spans


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


@pytest.fixture
def spans():
    """Has what this process traces kept in memory."""
    with Spans() as kept:
        yield kept
