# SPDX-License-Identifier: Apache-2.0
"""``error_pages``: pages of the origin that replace the bodies of errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from poppy.common.errors import InvalidRequest
from poppy.model.document.paths import NAME, check_path
from poppy.model.schema_parts import MAX_REQUEST_URL, PATH, text

# An edge may have the whole list in a header field.
MAX_STATUSES = 30
MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """A page of the origin that clients get in place of an error's own body."""

    name: Annotated[str, NAME]
    status: Annotated[
        tuple[int, ...],
        {
            "description": "The statuses; each in one entry only. Clients still get the status.",
            "items": {
                "type": "integer",
                "description": "A status.",
                "minimum": 400,
                "maximum": 599,
            },
            "minItems": 1,
            "maxItems": MAX_STATUSES,
        },
    ]
    path: Annotated[str, text("Path of the page, without *.", 1, MAX_REQUEST_URL, PATH)]
    ttl: Annotated[
        int | None,
        {
            "description": "Seconds that an edge may cache the page.",
            "minimum": 0,
            "maximum": 31536000,
        },
    ] = None


def check(pages: Sequence[ErrorPage]) -> None:
    """Check the rules that no schema expresses.

    Raises:
        InvalidRequest: the message names the entry.
    """
    seen: set[int] = set()
    for number, entry in enumerate(pages):
        place = f"error_pages[{number}]"
        check_path(entry.path, f"{place}.path")
        if "*" in entry.path or "?" in entry.path:
            raise InvalidRequest(f"{place}.path can't have * or a query: {entry.path[:80]!r}")
        for status in entry.status:
            if status in seen:
                raise InvalidRequest(f"{place}.status: {status} has a page already")
            seen.add(status)
    if len(seen) > MAX_STATUSES:
        raise InvalidRequest(f"error_pages has {len(seen)} statuses; the limit is {MAX_STATUSES}")
    size = sum(len(entry.path) * len(entry.status) for entry in pages)
    if size > MAX_BYTES:
        raise InvalidRequest(
            f"The paths of error_pages, once for each status, have {size} characters; the limit is"
            f" {MAX_BYTES}"
        )
