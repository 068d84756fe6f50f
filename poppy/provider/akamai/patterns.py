# SPDX-License-Identifier: Apache-2.0
"""Paths as Akamai's criterion ``path`` matches them, and how two patterns lie to each other."""

import re
from urllib.parse import unquote

from poppy.common.errors import PermanentError
from poppy.model.services import Rule
from poppy.provider.patterns import covers

#: The pattern of every path.
EVERYTHING = "/*"
#: Encoded wildcards, which decoded would be some. (Two braces would begin a variable, and bytes
#: that are no UTF-8 all look alike.)
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
    if _UNSAYABLE.search(url) or "{{" in pattern or "\ufffd" in pattern:
        raise PermanentError(f"Rule '{rule.name}': Akamai can't match the characters of {url!r}")
    return re.sub("/+", "/", pattern)


def specificity(pattern: str) -> tuple[int, str]:
    """Sort key: patterns with fewer characters besides ``*`` first, ``/*`` before all."""
    return len(pattern.replace("*", "")), pattern


def overlap(one: str, other: str) -> bool:
    """Whether there is a path that both patterns match."""
    if "*" not in one or "*" not in other:
        return covers(other, one) or covers(one, other)
    # Between what both begin and what both end with, a wildcard of each takes the other's rest.
    begins = zip(one.partition("*")[0], other.partition("*")[0], strict=False)
    ends = zip(one.rpartition("*")[2][::-1], other.rpartition("*")[2][::-1], strict=False)
    return all(a == b for a, b in (*begins, *ends))
