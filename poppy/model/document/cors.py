# SPDX-License-Identifier: Apache-2.0
"""``cors``: which other sites' scripts may read responses (Fetch Standard, section 3.2)."""

import re
from dataclasses import dataclass
from typing import Annotated

from poppy.common.errors import InvalidRequest
from poppy.model.schema_parts import Schema, text

ANY = "*"

_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
_TOKEN = re.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, section 5.6.2.


def _names(description: str, most: int) -> Schema:
    return {"description": description, "items": text("A name.", 1, 100), "maxItems": most}


@dataclass(frozen=True, slots=True)
class CORS:
    """Which other sites' scripts may read responses; the edge answers preflight requests."""

    allow_origins: Annotated[
        tuple[str, ...],
        {
            "description": "Origins such as https://app.example.com, or * for all.",
            "items": text("An origin.", 1, 300),
            "minItems": 1,
            "maxItems": 100,
        },
    ]
    allow_methods: Annotated[
        tuple[str, ...] | None, _names("Methods besides GET, HEAD and POST.", 20)
    ] = None
    allow_headers: Annotated[
        tuple[str, ...] | None, _names("Request fields that scripts may set, or *.", 100)
    ] = None
    expose_headers: Annotated[
        tuple[str, ...] | None, _names("Response fields that scripts may read, or *.", 100)
    ] = None
    max_age: Annotated[
        int | None,
        {
            "description": "Seconds for which browsers may remember a preflight's answer.",
            "minimum": 0,
            "maximum": 86400,
        },
    ] = None
    allow_credentials: Annotated[
        bool | None,
        {"description": "Whether requests may have cookies; not with * anywhere."},
    ] = None


def check(cors: CORS) -> None:
    """Check the rules that no schema expresses.

    Raises:
        InvalidRequest: the message names the field.
    """
    lists = {
        "allow_origins": cors.allow_origins,
        "allow_methods": cors.allow_methods or (),
        "allow_headers": cors.allow_headers or (),
        "expose_headers": cors.expose_headers or (),
    }
    for name, values in lists.items():
        pattern = _ORIGIN if name == "allow_origins" else _TOKEN
        for value in values:
            if value == ANY:
                if cors.allow_credentials:
                    raise InvalidRequest(f"cors.{name} can't be * with cors.allow_credentials")
                if len(values) > 1:
                    raise InvalidRequest(f"cors.{name} has * and others")
            elif not pattern.fullmatch(value):
                what = "an origin in lower case" if pattern is _ORIGIN else "a name (RFC 9110)"
                raise InvalidRequest(f"cors.{name}: {value[:100]!r} is not {what}")
        if sum(map(len, values)) > 4096:
            raise InvalidRequest(f"cors.{name} has more than 4096 characters")
