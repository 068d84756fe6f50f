# SPDX-License-Identifier: Apache-2.0
"""Path patterns for CloudFront, and the list of cache behaviours.

A service has origin rules and caching rules, and the most specific one of each applies.
CloudFront has one list for both, in which the first match applies. So the list consists of all
pairs of an origin rule and a caching rule, with the paths that match both, sorted by specificity.
The first match of a request is then the pair of its two rules.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
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
#: Maximum patterns in the intersection of two patterns; a service above it is refused.
_MOST_COMMON = 50
_MOST_STEPS = 100_000
#: Maximum comparisons of patterns, about 0.2 s; a service above it is refused.
_MOST_COMPARISONS = 200_000

T = TypeVar("T")


class Behaviour(NamedTuple):
    """A cache behaviour for requests that match ``pattern``.

    Attributes:
        origin: the number of the origin.
        ttl: seconds; None if no caching rule matches.
    """

    pattern: str
    origin: int
    ttl: int | None


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


def behaviours(origins: Sequence[Origin], caching: Sequence[Caching]) -> list[Behaviour]:
    """Return the behaviours in the order of evaluation; the last one is the default.

    Raises:
        PermanentError: CloudFront can't match a path, or there are too many behaviours.
    """
    by_origin = _ranked((rule, number) for number, o in enumerate(origins) for rule in o.rules)
    by_ttl = _ranked((rule, entry.ttl) for entry in caching for rule in entry.rules)
    steps = iter(range(_MOST_STEPS))
    comparisons = 0
    kept: list[Behaviour] = []
    for first, origin in [*by_origin, (EVERYTHING, 0)]:
        for second, ttl in [*by_ttl, (EVERYTHING, None)]:
            comparisons += len(kept) + 1
            if comparisons > _MOST_COMPARISONS:
                raise PermanentError(
                    "CloudFront: the paths of origins and caching need too many behaviours"
                )
            for pattern in sorted(common(first, second, steps), key=specificity):
                if not any(covers(known.pattern, pattern) for known in kept):
                    kept.append(Behaviour(pattern, origin, ttl))
    default = kept[-1]
    # Drop trailing behaviours that equal the default.
    while len(kept) > 1 and kept[-2][1:] == default[1:]:
        del kept[-2]
    if len(kept) - 1 > MOST_BEHAVIOURS:
        raise PermanentError(
            f"The paths of origins and caching together need {len(kept) - 1} behaviours; "
            f"CloudFront allows {MOST_BEHAVIOURS}"
        )
    for behaviour in kept:
        if len(behaviour.pattern) > _LONGEST:
            raise PermanentError(f"CloudFront matches at most {_LONGEST} characters of a path")
    return kept


def _ranked(rules: Iterable[tuple[Rule, T]]) -> list[tuple[str, T]]:
    found = [(path_pattern(rule), value) for rule, value in rules]
    return sorted(found, key=lambda entry: specificity(entry[0]))


def common(first: str, second: str, steps: Iterator[int]) -> frozenset[str]:
    """Return patterns for the intersection of two patterns; empty if they do not overlap.

    Args:
        steps: a shared budget; each step takes one item from it.

    Raises:
        PermanentError: the budget is exhausted.
    """
    if covers(first, second):
        return frozenset({second})
    if covers(second, first):
        return frozenset({first})

    @functools.cache
    def rest(i: int, j: int) -> frozenset[str]:
        """Return the intersection of ``first[i:]`` and ``second[j:]``."""
        a, b = first[i : i + 1], second[j : j + 1]
        if next(steps, None) is None:
            raise PermanentError(f"The paths {first} and {second} overlap in too many ways")
        if not a and not b:
            return frozenset({""})
        if a == "*" and b == "*":
            found = [f"*{tail.lstrip('*')}" for tail in rest(i + 1, j) | rest(i, j + 1)]
        elif a == "*":
            found = [*rest(i + 1, j), *(b + tail for tail in (rest(i, j + 1) if b else ()))]
        elif b == "*":
            found = [*rest(i, j + 1), *(a + tail for tail in (rest(i + 1, j) if a else ()))]
        else:
            found = [a + tail for tail in rest(i + 1, j + 1)] if a == b else []
        if len(found) > _MOST_COMMON:
            raise PermanentError(f"The paths {first} and {second} overlap in too many ways")
        return frozenset(found)

    found = rest(0, 0)
    return frozenset(
        one for one in found if not any(other != one and covers(other, one) for other in found)
    )
