# SPDX-License-Identifier: Apache-2.0
"""Path patterns for CloudFront, and ordered lists of them.

A service has origin rules and caching rules, and the most specific one of each applies. CloudFront
applies the first match of a list, so each list is sorted by specificity. The function has the list
of origins, and the distribution's behaviours are the list of TTLs.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import quote, unquote

from poppy.common.errors import PermanentError
from poppy.model.lifetimes import DEFAULT_TTL
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.patterns import covers, specificity

#: The pattern of every path.
EVERYTHING = "*"
#: Maximum behaviours besides the default one. AWS may raise this quota for an account.
MOST_BEHAVIOURS = 75
#: Seconds; the maximum TTL if the origin's lifetime counts (a year).
LONGEST_TTL = 31536000
#: Maximum and allowed characters of a pattern ("Path pattern" in the CloudFront developer guide).
_LONGEST = 255
_ALLOWED = re.compile(r"[A-Za-z0-9_.*$/~\"'@:+&-]*")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

T = TypeVar("T")


class Behaviour(NamedTuple):
    """A cache behaviour for requests that match ``pattern``.

    Attributes:
        default_ttl: seconds for responses without a lifetime.
        max_ttl: seconds; a longer lifetime of the origin is cut.
    """

    pattern: str
    default_ttl: int = DEFAULT_TTL
    max_ttl: int = LONGEST_TTL


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


def decoded(name: str, path: str, encoding: str = "utf-8") -> str:
    """Return a percent-decoded path as a pattern for the function.

    Args:
        name: the rule's, for messages.
        path: of a document.
        encoding: of the bytes; ``latin-1`` makes a character of each.

    Raises:
        PermanentError: it has an encoded wildcard.
    """
    if "%2a" in path.lower():
        # When decoded, it would become a wildcard.
        raise PermanentError(f"Rule '{name}': CloudFront can't match the * in {path!r}")
    text = unquote(quote(path, safe=_PRINTABLE), encoding)
    pattern = re.sub("/+", "/", re.sub(r"\*+", "*", f"/{text}"))
    return EVERYTHING if pattern == "/*" else pattern


def place(name: str, url: str) -> list[str]:
    """Return a ``request_url`` for the function: the decoded path, and the query if there is one.

    Raises:
        PermanentError: as :func:`decoded`.
    """
    path, question, text = url.partition("?")
    return [decoded(name, path), *([unquote(re.sub(r"\*+", "*", text))] if question else [])]


def behaviours(caching: Sequence[Caching]) -> list[Behaviour]:
    """Return the behaviours in the order of evaluation; the last one is the default.

    Raises:
        PermanentError: CloudFront can't match a path, or there are too many behaviours.
    """
    found = [
        Behaviour(pattern, *ttls)
        for pattern, ttls in by_path(caching, _ttls, (DEFAULT_TTL, LONGEST_TTL))
    ]
    if len(found) - 1 > MOST_BEHAVIOURS:
        raise PermanentError(
            f"The paths of caching need {len(found) - 1} behaviours; "
            f"CloudFront allows {MOST_BEHAVIOURS}"
        )
    return found


def by_path(
    caching: Sequence[Caching], value: Callable[[Caching], T], otherwise: T
) -> list[tuple[str, T]]:
    """Return a value of caching entries by pattern, in the order of evaluation.

    Args:
        value: of an entry.
        otherwise: of paths without an entry.

    Raises:
        PermanentError: CloudFront can't match a path.
    """
    return _ranked(((rule, value(it)) for it in caching for rule in it.rules), otherwise)


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


def _ttls(entry: Caching) -> tuple[int, int]:
    """Return the default and the maximum TTL of a caching entry.

    There is no minimum, with which CloudFront would keep responses that are private. So a shorter
    lifetime of the origin applies in each mode.
    """
    if entry.mode == "bypass":
        return 0, 0
    return entry.ttl, LONGEST_TTL if entry.mode == "respect_origin" else entry.ttl
