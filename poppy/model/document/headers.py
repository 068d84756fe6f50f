# SPDX-License-Identifier: Apache-2.0
"""``headers``: header fields that the edge sets, adds or removes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from poppy.common.errors import InvalidRequest
from poppy.model import headers
from poppy.model.capabilities import Capability
from poppy.model.document.paths import NAME, PathRule, check_path
from poppy.model.schema_parts import Schema, text

MAX_FIELDS = 50  #: Of each list of an entry.
MAX_VALUE = 1024
MAX_BYTES = 4096  #: Of all fields that a service sets or adds, for each direction.

#: Fields that belong to the connection, to the message's framing and routing, or to the cache, so
#: that changing them would break or bypass the edge (RFC 9110, sections 6 to 8 and 13).
PROTECTED = frozenset(
    name.lower()
    for name in (
        *("Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "TE", "Trailer"),
        *("Proxy-Authorization", "Proxy-Authentication-Info", "Transfer-Encoding", "Upgrade"),
        *("Host", "Content-Length", "Content-Encoding", "Content-Range", "Accept-Ranges"),
        *("Expect", "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since"),
        *(
            "If-Unmodified-Since",
            "Accept-Encoding",
            "Age",
            "Date",
            "Via",
            "CDN-Loop",
            "HTTP2-Settings",
        ),
        *("X-Cache", "X-Cache-Hits", "X-Varnish", "Xkey", "Sec-WebSocket-Accept"),
        *headers.UNTRUSTED,
    )
)

_FIELD_NAME = re.compile("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, section 5.6.2.
_VALUE = re.compile("(?:[!-~](?:[ -~]*[!-~])?)?")


def _fields(description: str) -> Schema:
    return {
        "description": f"{description} Values are printable ASCII.",
        "maxProperties": MAX_FIELDS,
        "additionalProperties": {"type": "string", "maxLength": MAX_VALUE},
    }


_REMOVED: Schema = {
    "description": "Names of fields to remove.",
    "items": text("Name of a field.", 1, 100),
    "maxItems": MAX_FIELDS,
}


@dataclass(frozen=True, slots=True)
class RequestChanges:
    """Changes of what the client sends, before the cache and the origin see it."""

    set: Annotated[Mapping[str, str] | None, _fields("Fields to replace, by name.")] = None
    remove: Annotated[tuple[str, ...] | None, _REMOVED] = None


@dataclass(frozen=True, slots=True)
class ResponseChanges:
    """Changes of what the cache or the origin sends to the client."""

    set: Annotated[Mapping[str, str] | None, _fields("Fields to replace, by name.")] = None
    add: Annotated[Mapping[str, str] | None, _fields("Fields to add, by name.")] = None
    remove: Annotated[tuple[str, ...] | None, _REMOVED] = None


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Changes of header fields for some paths.

    All entries that match a request apply, in their order; each removes first, then sets and adds.
    """

    name: Annotated[str, NAME]
    rules: Annotated[
        tuple[PathRule, ...] | None, {"description": "Paths to match; every path if missing."}
    ] = None
    request: Annotated[
        RequestChanges | None,
        {"description": "Changes of requests."},
        Capability.REQUEST_HEADERS,
    ] = None
    response: Annotated[
        ResponseChanges | None,
        {"description": "Changes of responses."},
        Capability.RESPONSE_HEADERS,
    ] = None


def check(entries: Sequence[HeaderRules]) -> None:
    """Check the rules that no schema expresses.

    Raises:
        InvalidRequest: the message names the field.
    """
    for number, entry in enumerate(entries):
        for index, rule in enumerate(entry.rules or ()):
            check_path(rule.request_url, f"headers[{number}].rules[{index}].request_url")
    for direction in ("request", "response"):
        size = 0
        for number, entry in enumerate(entries):
            changes = getattr(entry, direction)
            if changes is not None:
                size += _check(changes, f"headers[{number}].{direction}")
        if size > MAX_BYTES:
            raise InvalidRequest(
                f"The fields that headers sets for each {direction} have {size} bytes; the limit"
                f" is {MAX_BYTES}"
            )


def _check(changes: RequestChanges | ResponseChanges, place: str) -> int:
    """Check the changes of an entry, and return the bytes of its fields."""
    size = 0
    seen: dict[str, str] = {}
    for action, name, value in _each(changes):
        field = f"{place}.{action}: the field {name[:100]!r}"
        if not is_name(name):
            raise InvalidRequest(f"{field} is not a name of up to 100 characters (RFC 9110)")
        if is_protected(name):
            raise InvalidRequest(f"{field} belongs to the edge and can't be changed")
        if not _VALUE.fullmatch(value):
            raise InvalidRequest(
                f"{field} has a value that is not printable ASCII, or begins or ends with a space"
            )
        known = seen.setdefault(name.lower(), action)
        if known != action:
            raise InvalidRequest(f"{field} is also in {known}")
        size += len(name) + len(value) + 4 if action != "remove" else 0
    return size


def is_name(name: str) -> bool:
    """Return whether a text is the name of a field, of up to 100 characters."""
    return _FIELD_NAME.fullmatch(name) is not None


def is_protected(name: str) -> bool:
    """Return whether tenants can't change a field; CGI reads ``_`` and ``-`` as the same."""
    name = name.lower().replace("_", "-")
    return name in PROTECTED or name.startswith("x-p-")


def _each(changes: RequestChanges | ResponseChanges) -> Iterator[tuple[str, str, str]]:
    for action in ("set", "add"):
        for name, value in (getattr(changes, action, None) or {}).items():
            yield action, name, value
    for name in changes.remove or ():
        yield "remove", name, ""
