# SPDX-License-Identifier: Apache-2.0
"""Path patterns for Akamai's ``path`` criterion."""

import re
from urllib.parse import unquote

from poppy.common.errors import PermanentError
from poppy.model.document.paths import PathRule
from poppy.model.specs import Rule
from poppy.provider.patterns import covers

#: The pattern of every path.
EVERYTHING = "/*"
#: Encoded characters that are wildcards when decoded. (Also refused below: "{{", which starts a
#: variable, and invalid UTF-8, which decodes to one replacement character.)
_UNSAYABLE = re.compile("%2a|%3f", re.IGNORECASE)


def path_pattern(rule: Rule | PathRule) -> str:
    """Return the pattern of a rule's ``request_url``; ``*`` matches any run of characters.

    Akamai compares paths decoded, with runs of slashes as one.

    Raises:
        PermanentError: Akamai can't match the path; the message names the rule.
    """
    url = rule.request_url or EVERYTHING
    if "?" in url:
        # In a pattern, "?" matches any character, and the query is not compared.
        raise PermanentError(f"Rule '{rule.name}': Akamai does not match queries ({url!r})")
    pattern = unquote(re.sub(r"\*+", "*", f"/{url}"))
    if _UNSAYABLE.search(url) or "{{" in pattern or "\ufffd" in pattern:
        raise PermanentError(f"Rule '{rule.name}': Akamai can't match the characters of {url!r}")
    return re.sub("/+", "/", pattern)


def specificity(pattern: str) -> tuple[int, str]:
    """Sort key: patterns with fewer literal characters first, starting with ``/*``."""
    return len(pattern.replace("*", "")), pattern


def overlap(one: str, other: str) -> bool:
    """Return whether some path matches both patterns."""
    if "*" not in one or "*" not in other:
        return covers(other, one) or covers(one, other)
    # If prefixes and suffixes are compatible, each wildcard can match the rest of the other.
    begins = zip(one.partition("*")[0], other.partition("*")[0], strict=False)
    ends = zip(one.rpartition("*")[2][::-1], other.rpartition("*")[2][::-1], strict=False)
    return all(a == b for a, b in (*begins, *ends))
