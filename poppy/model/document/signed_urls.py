# SPDX-License-Identifier: Apache-2.0
"""``signed_urls``: paths for which requests need a token; ``doc/source/signed-urls.rst``."""

from dataclasses import dataclass
from typing import Annotated

from poppy.common.errors import InvalidRequest
from poppy.model.document.paths import PathRule, check_unique
from poppy.model.schema_parts import IDENTIFIER, VISIBLE, text
from poppy.model.secrets import Secret

DEFAULT_QUERY = "token"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with which the tenant signs tokens."""

    id: Annotated[str, text("How tokens name the key.", 1, 64, IDENTIFIER)]
    secret: Annotated[
        Secret,
        {
            "description": "The key of HMAC-SHA256; or, to keep the stored one, what GET shows.",
            "minLength": 32,
            "maxLength": 256,
            "pattern": VISIBLE,
        },
    ]


@dataclass(frozen=True, slots=True)
class SignedURLs:
    """Paths for which requests need a token."""

    keys: Annotated[
        tuple[SigningKey, ...],
        {
            "description": "The keys; a token of any of them is valid.",
            "minItems": 1,
            "maxItems": 10,
        },
    ]
    rules: Annotated[
        tuple[PathRule, ...] | None,
        {"description": "The paths, without a query; every path if empty."},
    ] = None
    query: Annotated[
        str | None,
        text("Name of the query parameter and cookie with the token.", 1, 64, IDENTIFIER)
        | {"default": DEFAULT_QUERY},
    ] = None


def check(signed_urls: SignedURLs) -> None:
    """Check the rules that no schema expresses.

    Raises:
        InvalidRequest: the message names the field.
    """
    seen: set[str] = set()
    for key in signed_urls.keys:
        if key.id in seen:
            raise InvalidRequest(f"signed_urls.keys has the id {key.id!r} more than once")
        seen.add(key.id)
    places = [
        (rule.request_url, f"signed_urls.rules[{number}].request_url")
        for number, rule in enumerate(signed_urls.rules or ())
    ]
    check_unique(places)
    for url, place in places:
        if "?" in url:
            raise InvalidRequest(f"{place} has a query, which clients could change: {url[:80]!r}")
