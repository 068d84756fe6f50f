# SPDX-License-Identifier: Apache-2.0
"""Tenants' patterns: comparison, and conversion to regular expressions for VCL (PCRE2).

The expressions contain tenants' letters and digits only; every other byte of a tenant's text
becomes ``\\xHH``. So the text can't end the VCL string, and has no special meaning in the
expression.
"""

import re

_SLASH = "(?:/|%2[Ff])+"

#: Paths with a ``.`` or ``..`` segment. Browsers resolve these before sending a request. Other
#: clients may try to make the origin see another path than the edge.
DOT_SEGMENTS = "(?i)^[^?]*(?:/|%2f)(?:[.]|%2e){1,2}(?:/|%2f|[?]|$)"


def url_regex(pattern: str) -> str:
    """Return an expression for the URLs (``req.url``) that a ``request_url`` matches.

    * ``*`` matches any run of characters, including ``/``. A missing leading ``/`` is added.
    * The path is compared as a web server reads it: percent-encoded or not, with runs of slashes
      as one. So encoding a request does not bypass a restriction.
    * The query is ignored, unless the pattern has a ``?``; then the whole query is compared.

    Each ``*`` except the last is lazy and atomic, which is equivalent for such patterns. So no
    pattern can cause excessive backtracking in Varnish.
    """
    if not pattern.startswith("/"):
        pattern = f"/{pattern}"
    path, has_query, query = pattern.partition("?")
    path = re.sub("/+", "/", path)
    if not has_query:
        return "^" + _glob(path, "[^?]", "(?:[?]|$)")
    return "^" + _glob(path, "[^?]", "") + "[?]" + _glob(query, ".", "$")


def _glob(pattern: str, any_character: str, end: str) -> str:
    first, *others = (_literal(part) for part in re.split(r"\*+", pattern))
    if not others:
        return first + end
    *middle, last = others
    runs = "".join(f"(?>{any_character}*?{part})" for part in middle)
    if not last and end:
        return first + runs
    return f"{first}{runs}{any_character}*{last}{end}"


def _literal(text: str) -> str:
    """Return an expression that matches the text with each byte raw or percent-encoded."""
    return "".join(_byte(value) for value in _unescape(text))


def _unescape(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), raw)


def _byte(value: int) -> str:
    if value == ord("/"):
        return _SLASH
    character = chr(value)
    plain = character if character.isascii() and character.isalnum() else f"\\x{value:02x}"
    high, low = (d if d.isdigit() else f"[{d}{d.lower()}]" for d in f"{value:02X}")
    return f"(?:{plain}|%{high}{low})"


def referrer_regex(name: str) -> str:
    """Return an expression for ``Referer`` headers from the host ``name`` or its subdomains."""
    host = "".join(
        character if character.isascii() and character.isalnum() else f"\\x{value:02x}"
        for value in name.encode("utf-8", "surrogatepass")
        for character in [chr(value)]
    )
    # A user name may precede the host; any other "@" means another host.
    user = r"(?:[^/?#@\x5c]*@)?"
    return rf"(?i)^https?://{user}(?:[^/?#@:\x5c]+[.])?{host}[.]?(?::[0-9]*)?(?:[/?#]|$)"


def specificity(pattern: str) -> tuple[int, str]:
    """Sort key: patterns with more literal characters first, ``/*`` last."""
    return -len(pattern.replace("*", "")), pattern


def covers(pattern: str, other: str) -> bool:
    """Return whether ``pattern`` matches every path that ``other`` matches."""
    # Treat a wildcard of the other pattern as a character that only a wildcard can match. Finding
    # each piece as early as possible is optimal.
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == other
    last = middle.pop()
    if not (other.startswith(first) and other.endswith(last)):
        return False
    position, end = len(first), len(other) - len(last)
    for piece in middle:
        position = other.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return position <= end
