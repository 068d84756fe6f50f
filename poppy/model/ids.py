# SPDX-License-Identifier: Apache-2.0
"""Identifiers that sort by creation time."""

import os
import time
import uuid


def new() -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7). Its text sorts by creation time.

    The 12 bits after the milliseconds hold a fraction of a millisecond (section 6.2, method 3), so
    identifiers of one process sort with a resolution of a quarter of a microsecond.
    """
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random
    return str(uuid.UUID(int=value))


def earliest(nanoseconds: int) -> str:
    """What all identifiers sort behind that are made at this time of the clock or later.

    Args:
        nanoseconds: since 1970.
    """
    return str(uuid.UUID(int=(nanoseconds // 1_000_000) << 80 | 0x7 << 76 | 0b10 << 62))


def is_uuid(text: str) -> bool:
    """Return whether ``text`` is a UUID in canonical form (RFC 9562, section 4)."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
