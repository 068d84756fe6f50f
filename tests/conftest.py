# SPDX-License-Identifier: Apache-2.0
"""What tests of every kind may use."""

import pytest

from tests.spans import Spans


@pytest.fixture
def spans():
    """Has what this process traces kept in memory."""
    with Spans() as kept:
        yield kept
