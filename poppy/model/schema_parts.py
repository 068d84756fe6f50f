# SPDX-License-Identifier: Apache-2.0
"""Parts of JSON Schemas (Draft 2020-12), and the messages for strings that don't match.

They are plain dictionaries without ``$ref``, so that an OpenAPI 3.1 document can include them
unchanged and validation follows no references. They declare no dialect, because this one is the
default of OpenAPI 3.1.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

CONTINENTS = ("AF", "AN", "AS", "EU", "NA", "OC", "SA")

MAX_REQUEST_URL = 1024

# In Python "$" also matches before a trailing line feed, but not in ECMA 262, which JSON Schema
# uses. The look-ahead makes both behave the same.
TEXT = r"^[^\u0000-\u001f\u007f-\u009f\ud800-\udfff]*$(?!\n)"
PATH_SAFE_TEXT = r"^[^/\u0000-\u001f\u007f-\u009f\ud800-\udfff]*$(?!\n)"
PATH = r"^[!-~]*$(?!\n)"
PROJECT_ID = r"^[A-Za-z0-9._:-]*$(?!\n)"
#: Of a node or pool of the operator's own edge.
NODE_NAME = r"^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$(?!\n)"
POINTER = r"^(?:/(?:[^/~\u0000-\u001f\u007f-\u009f\ud800-\udfff]|~[01])*)*$(?!\n)"
COUNTRY = r"^[A-Z]{2}$(?!\n)"
IDENTIFIER = r"^[A-Za-z0-9_-]*$(?!\n)"
FINGERPRINT = r"^[0-9a-f]{8}$(?!\n)"
VISIBLE = r"^[!-~]+$(?!\n)"
TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$(?!\n)"

PATTERNS: Mapping[str, str] = {
    TEXT: "has a control character or a lone surrogate",
    PATH_SAFE_TEXT: 'has a "/", a control character or a lone surrogate',
    PATH: (
        "has characters other than printable ASCII without spaces; percent-encode them"
        " (RFC 3986, section 2.1)"
    ),
    PROJECT_ID: "has other characters than letters, digits, '.', '_', ':' and '-'",
    NODE_NAME: (
        "is not lower-case letters, digits, dots and hyphens, with a letter or digit at both ends"
    ),
    POINTER: "is not a JSON Pointer (RFC 6901)",
    COUNTRY: "is not a country code of two upper-case letters (ISO 3166-1)",
    IDENTIFIER: "has other characters than letters, digits, '_' and '-'",
    FINGERPRINT: "is not 8 hexadecimal digits in lower case",
    VISIBLE: "has characters other than printable ASCII without spaces",
    TOKEN: "is not a token (RFC 9110, section 5.6.2)",
}
"""The error message for a string that does not match, by pattern."""

#: Members that are or contain secrets, so that no message quotes a value in them.
SECRETIVE = frozenset({"signed_urls", "secret_header", "auth"})


def record(title: str, properties: Schema, required: tuple[str, ...]) -> Schema:
    """Return the schema of an object with these keys and no others."""
    return {
        "type": "object",
        "title": title,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def text(
    description: str, shortest: int, longest: int | None = None, pattern: str = TEXT
) -> Schema:
    """Return the schema of a string; lengths are in code points, as in JSON Schema."""
    schema: Schema = {"type": "string", "description": description, "minLength": shortest}
    if longest is not None:
        schema["maxLength"] = longest
    return schema | {"pattern": pattern}


def host(description: str, longest: int = 253) -> Schema:
    """Return the schema of a host name or address; ``rules`` checks it with better messages.

    A name of 255 octets on the wire (RFC 1035, section 2.3.4) has 253 characters.
    """
    return {
        "type": "string",
        "description": description,
        "minLength": 3,
        "maxLength": longest,
    }
