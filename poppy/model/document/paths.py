# SPDX-License-Identifier: Apache-2.0
"""The rules that select requests by their path."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from poppy.common.errors import InvalidRequest
from poppy.model import paths
from poppy.model.schema_parts import MAX_REQUEST_URL, PATH, text

NAME = text("A name for it.", 1, 256)
REQUEST_URL = text(
    "A path, with a / at the beginning; * matches any run of characters.",
    1,
    MAX_REQUEST_URL,
    PATH,
)


@dataclass(frozen=True, slots=True)
class PathRule:
    """Selects the requests for a path."""

    name: Annotated[str, NAME]
    request_url: Annotated[str, REQUEST_URL]


def check_path(url: str, place: str) -> None:
    """Refuse a path that no request can match.

    Raises:
        InvalidRequest: the message names the place.
    """
    reason = 'it does not begin with "/"' if not url.startswith("/") else paths.problem(url)
    if reason:
        raise InvalidRequest(f"No request can match {url[:80]!r} in {place}: {reason}")


def check_unique(urls: Iterable[tuple[str, str]]) -> None:
    """Check paths, and refuse two that match the same requests.

    Args:
        urls: pairs of path and place.

    Raises:
        InvalidRequest: the message names the place.
    """
    seen: dict[str, str] = {}
    for url, place in urls:
        check_path(url, place)
        known = seen.setdefault(paths.canonical(url), place)
        if known != place:
            raise InvalidRequest(f"{place} has the same path as {known}: {url[:80]}")
