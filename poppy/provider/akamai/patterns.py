# SPDX-License-Identifier: Apache-2.0
"""Paths as Akamai's criterion ``path`` matches them, and how two patterns lie to each other."""

import re
from urllib.parse import unquote

from poppy.common.errors import PermanentError
from poppy.model.services import Rule

#: The pattern of every path.
EVERYTHING = "/*"
#: Encoded wildcards, which decoded would be some. (Two braces would begin a variable.)
_UNSAYABLE = re.compile("%2a|%3f", re.IGNORECASE)


def path_pattern(rule: Rule) -> str:
    """The pattern for a rule's ``request_url``; ``*`` is any run of characters.

    As Akamai compares paths: decoded, and with runs of slashes as one.

    Raises:
        PermanentError: Akamai can't match it; names the rule.
    """
    url = rule.request_url or EVERYTHING
    if "?" in url:
        # There it stands for any one character; and the query is no part of what is matched.
        raise PermanentError(f"Rule '{rule.name}': Akamai does not match queries ({url!r})")
    pattern = unquote(re.sub(r"\*+", "*", f"/{url}"))
    if _UNSAYABLE.search(url) or "{{" in pattern:
        raise PermanentError(f"Rule '{rule.name}': Akamai can't match the characters of {url!r}")
    return re.sub("/+", "/", pattern)


def specificity(pattern: str) -> tuple[int, str]:
    """Sort key: patterns with fewer characters besides ``*`` first, ``/*`` before all."""
    return len(pattern.replace("*", "")), pattern


def overlap(one: str, other: str) -> bool:
    """Whether there is a path that both patterns match."""
    # Row by row: whether what is left of ``one`` and of ``other`` has a common text.
    below = [False] * (len(other) + 1)
    for i in range(len(one), -1, -1):
        row = [False] * (len(other) + 1)
        for j in range(len(other), -1, -1):
            a, b = one[i : i + 1], other[j : j + 1]
            if not a and not b:
                row[j] = True
            elif a == "*":
                row[j] = below[j] or (bool(b) and row[j + 1])
            elif b == "*":
                row[j] = row[j + 1] or (bool(a) and below[j])
            else:
                row[j] = a == b and below[j + 1]
        below = row
    return below[0]
