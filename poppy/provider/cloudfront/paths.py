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
#: Request headers that can't be part of a key ("HTTP request headers and CloudFront behavior",
#: developer guide), besides those that no document may have.
_NO_KEYS = ("cache-control", "max-forwards", "pragma", "request-range")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

T = TypeVar("T")


class Behaviour(NamedTuple):
    """A cache behaviour for requests that match ``pattern``.

    Attributes:
        default_ttl: seconds for responses without a lifetime.
        max_ttl: seconds; a longer lifetime of the origin is cut.
        headers: names of request headers that the document adds to the cache key.
        origin: the number of the origin; None for the default one, or the function's choice.
        hides_host: whether the origin gets its own name as the Host header in any case.
    """

    pattern: str
    default_ttl: int = DEFAULT_TTL
    max_ttl: int = LONGEST_TTL
    headers: tuple[str, ...] = ()
    origin: int | None = None
    hides_host: bool = False


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
    otherwise: tuple[int, int, tuple[str, ...]] = (DEFAULT_TTL, LONGEST_TTL, ())
    found = [Behaviour(pattern, *it) for pattern, it in by_path(caching, _kept, otherwise)]
    check_count(found)
    return found


def check_count(found: Sequence[Behaviour]) -> None:
    """Check the number of behaviours, with the default one.

    Raises:
        PermanentError: there are too many.
    """
    if len(found) - 1 > MOST_BEHAVIOURS:
        raise PermanentError(
            f"The paths of caching and of error_pages need {len(found) - 1} behaviours; "
            f"CloudFront allows {MOST_BEHAVIOURS}"
        )


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


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern matches a path, which has no wildcard."""
    return covers(pattern, path)


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


def _kept(entry: Caching) -> tuple[int, int, tuple[str, ...]]:
    """Return the default TTL, the maximum TTL and the headers of the key of a caching entry.

    There is no minimum, with which CloudFront would keep responses that are private. So a shorter
    lifetime of the origin applies in each mode.
    """
    headers = tuple(sorted((entry.key and entry.key.headers) or ()))
    for name in headers:
        if name.lower() in _NO_KEYS:
            raise PermanentError(
                f"caching '{entry.name}': CloudFront can't have {name} in a cache key"
            )
    if entry.mode == "bypass":
        return 0, 0, headers
    return entry.ttl, LONGEST_TTL if entry.mode == "respect_origin" else entry.ttl, headers
