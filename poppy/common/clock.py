# SPDX-License-Identifier: Apache-2.0
"""The time."""

import datetime


def now_utc() -> datetime.datetime:
    """Return the current time in UTC, with its time zone."""
    return datetime.datetime.now(datetime.UTC)
