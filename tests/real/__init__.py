# SPDX-License-Identifier: Apache-2.0
"""Real servers that tests start for themselves."""

import os
from typing import NoReturn

import pytest


def unavailable(reason: str, hint: str) -> NoReturn:
    """Skip the test because a server cannot be had; fail it with POPPY_TEST_REQUIRE_REAL=1.

    Args:
        reason: What is missing.
        hint: The command that would provide it.
    """
    message = f"{reason}; to have it: {hint}"
    if os.environ.get("POPPY_TEST_REQUIRE_REAL") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
