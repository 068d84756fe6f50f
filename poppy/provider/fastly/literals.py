# SPDX-License-Identifier: Apache-2.0
"""Text as literals of Fastly's VCL.

In a string in quotes, ``%`` and two digits are a byte:
https://www.fastly.com/documentation/reference/vcl/types/string. So an escaped text can't end the
string.
"""

import re

_FIELD = re.compile("[A-Za-z][A-Za-z0-9_-]*")


def string(text: str) -> str:
    """Return printable ASCII as a string."""
    return '"' + text.replace("%", "%25").replace('"', "%22") + '"'


def expression(regex: str) -> str:
    """Return a regular expression without quotes as a string."""
    return '"' + regex.replace("%", r"\x25") + '"'


def exact(text: str) -> str:
    """Return a part of a regular expression that matches a text: letters, digits and escapes."""
    return "".join(
        chr(value) if chr(value).isascii() and chr(value).isalnum() else f"\\x{value:02x}"
        for value in text.encode("utf-8", "surrogatepass")
    )


def is_field(name: str) -> bool:
    """Return whether VCL can have a header field's name in a variable, such as req.http.X-A."""
    return _FIELD.fullmatch(name) is not None


def is_reserved(name: str) -> bool:
    """Return whether a header field directs Fastly or Poppy's VCL."""
    return name.lower().startswith(("fastly-", "surrogate-", "x-poppy-"))
