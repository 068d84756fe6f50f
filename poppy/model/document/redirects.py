# SPDX-License-Identifier: Apache-2.0
"""``redirects``: paths for which the edge answers with another location."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from poppy.common.errors import InvalidRequest
from poppy.model import names
from poppy.model.document.paths import NAME, REQUEST_URL, check_unique
from poppy.model.schema_parts import PATH, text

DEFAULT_STATUS = 301
MAX_CAPTURES = 9  #: References in one location.
#: A reference to a wildcard of the path, by its number.
CAPTURE = re.compile(r"\$([1-9])")

_ABSOLUTE = re.compile(r"https?://([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?(?=[/?#]|$)")


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect of the requests for a path. The most specific path applies."""

    name: Annotated[str, NAME]
    request_url: Annotated[str, REQUEST_URL]
    location: Annotated[
        str,
        text(
            "The target: an http or https URL, or a path at the same host. $1 to $9 are the texts"
            " that the wildcards of request_url match. The request's query is appended, unless"
            " request_url or location has one.",
            1,
            2048,
            PATH,
        ),
    ]
    status: Annotated[
        Literal[301, 302, 303, 307, 308] | None,
        {"description": "Status of the answer.", "default": DEFAULT_STATUS},
    ] = None


def check(redirects: Sequence[Redirect]) -> None:
    """Check the rules that no schema expresses.

    Raises:
        InvalidRequest: the message names the entry.
    """
    check_unique(
        (entry.request_url, f"redirects[{number}].request_url")
        for number, entry in enumerate(redirects)
    )
    for number, entry in enumerate(redirects):
        reason = _problem(entry)
        if reason:
            raise InvalidRequest(f"redirects[{number}].location {entry.location[:80]!r}: {reason}")


def _problem(entry: Redirect) -> str | None:
    """Return why a location is invalid. Its host is fixed: no request can choose it."""
    wildcards = len(re.findall(r"\*+", entry.request_url))
    captures = [int(number) for number in CAPTURE.findall(entry.location)]
    if max(captures, default=0) > wildcards:
        return f"${max(captures)} has no wildcard in request_url"
    if len(captures) > MAX_CAPTURES:
        return f"it refers to wildcards more than {MAX_CAPTURES} times"
    if "\\" in entry.location:
        return "it has a backslash; %5C is the character itself"
    if entry.location.startswith("/"):
        return 'it begins with "//"' if entry.location.startswith("//") else None
    found = _ABSOLUTE.match(entry.location)
    if found is None:
        return "it is neither a path nor a URL with http or https and a fixed host"
    if int(found[2] or 80) not in range(1, 65536):
        return f"there is no port {found[2]}"
    host = found[1].lower()
    return None if names.address(host) else names.problem(host)
