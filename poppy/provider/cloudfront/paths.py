# SPDX-License-Identifier: Apache-2.0
"""Path patterns for CloudFront, and ordered lists of them.

A service has origin rules and caching rules, and the most specific one of each applies. CloudFront
applies the first match of a list, so each list is sorted by specificity. The function has the list
of origins, and the distribution's behaviours are the list of TTLs.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from poppy.common.errors import PermanentError
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.patterns import covers, specificity

#: The pattern of every path.
EVERYTHING = "*"
#: Maximum behaviours besides the default one. AWS may raise this quota for an account.
MOST_BEHAVIOURS = 75
#: Maximum and allowed characters of a pattern ("Path pattern" in the CloudFront developer guide).
_LONGEST = 255
_ALLOWED = re.compile(r"[A-Za-z0-9_.*$/~\"'@:+&-]*")

T = TypeVar("T")


class Behaviour(NamedTuple):
    """A cache behaviour for requests that match ``pattern``.

    Attributes:
        ttl: seconds; None if no caching rule matches.
    """

    pattern: str
    ttl: int | None


class Route(NamedTuple):
    """The number of the origin for requests that match ``pattern``."""

    pattern: str
    origin: int


def path_pattern(rule: Rule) -> str:
    """Return the pattern of a rule's ``request_url``.

    Raises:
        PermanentError: CloudFront can't match the path; the message names the rule.
    """
    url = rule.request_url or "/*"
    pattern = re.sub(r"\*+", "*", url if url.startswith("/") else f"/{url}")
    if pattern == "/*":
        return EVERYTHING
    if "?" in pattern:
        raise PermanentError(f"Rule '{rule.name}': CloudFront does not match queries ({url!r})")
    if not _ALLOWED.fullmatch(pattern):
        raise PermanentError(
            f"Rule '{rule.name}': CloudFront does not match all characters of {url!r}"
        )
    if len(pattern) > _LONGEST:
        raise PermanentError(
            f"Rule '{rule.name}': CloudFront matches at most {_LONGEST} characters"
        )
    return pattern


def behaviours(caching: Sequence[Caching]) -> list[Behaviour]:
    """Return the behaviours in the order of evaluation; the last one is the default.

    Raises:
        PermanentError: CloudFront can't match a path, or there are too many behaviours.
    """
    rules = ((rule, entry.ttl) for entry in caching for rule in entry.rules)
    found = [Behaviour(pattern, ttl) for pattern, ttl in _ranked(rules, None)]
    if len(found) - 1 > MOST_BEHAVIOURS:
        raise PermanentError(
            f"The paths of caching need {len(found) - 1} behaviours; "
            f"CloudFront allows {MOST_BEHAVIOURS}"
        )
    return found


def routes(origins: Sequence[Origin]) -> list[Route]:
    """Return the routes in the order of evaluation; the last one is for every path.

    Raises:
        PermanentError: CloudFront can't match a path.
    """
    rules = ((rule, number) for number, origin in enumerate(origins) for rule in origin.rules)
    return [Route(pattern, number) for pattern, number in _ranked(rules, 0)]


def _ranked(rules: Iterable[tuple[Rule, T]], otherwise: T) -> list[tuple[str, T]]:
    """Return values by pattern, the most specific first; the last one is for every path."""
    found = [(path_pattern(rule), value) for rule, value in rules]
    found.sort(key=lambda entry: specificity(entry[0]))
    kept: list[tuple[str, T]] = []
    for pattern, value in [*found, (EVERYTHING, otherwise)]:
        if not any(covers(known, pattern) for known, _ in kept):
            kept.append((pattern, value))
    # Drop trailing patterns with the same value as every other path.
    while len(kept) > 1 and kept[-2][1] == kept[-1][1]:
        del kept[-2]
    return kept
