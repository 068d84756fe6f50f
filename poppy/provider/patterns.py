# SPDX-License-Identifier: Apache-2.0
"""Tenants' patterns: comparison, and conversion to regular expressions for VCL (PCRE2).

The expressions contain tenants' letters and digits only; every other byte of a tenant's text
becomes ``\\xHH``. So the text can't end the VCL string, and has no special meaning in the
expression.
"""

import re

#: Parameters of a path segment (RFC 3986, section 3.3), which some origins drop before they look
#: for a file, and others do not.
_PARAMETERS = "(?:;[^/?]*?)?"
_SLASHES = "(?:/|%2[Ff])+"


def url_regex(pattern: str, *, captures: bool = False) -> str:
    """Return an expression for the URLs (``req.url``) that a ``request_url`` matches.

    * ``*`` is any run of characters, ``/`` included; a missing leading ``/`` is added.
    * The path is compared as a web server would read it: percent-encoded or not, with runs of
      slashes as one, and with or without the ``;parameters`` of a segment. So no spelling of a
      path is a way around a restriction.
    * The query is ignored, unless the pattern itself has a ``?``; then all of it is compared.

    Each ``*`` except the last is lazy and atomic, which is equivalent for such patterns. So no
    pattern can cause excessive backtracking.

    Args:
        pattern: the ``request_url``.
        captures: whether each ``*`` is a group.
    """
    if not pattern.startswith("/"):
        pattern = f"/{pattern}"
    path, has_query, query = pattern.partition("?")
    if not has_query:
        return "^" + _glob(path, "[^?]", f"{_PARAMETERS}(?:[?]|$)", _PARAMETERS, captures)
    before = "^" + _glob(path, "[^?]", "", _PARAMETERS, captures)
    return f"{before}{_PARAMETERS}[?]" + _glob(query, ".", "$", captures=captures)


def encoded(text: str) -> str:
    """Return an expression for a text, each of its bytes raw or percent-encoded."""
    return "".join(_byte(value, "/") for value in _unescape(text))


def _glob(
    pattern: str, any_character: str, end: str, before_slash: str = "", captures: bool = False
) -> str:
    slashes = before_slash + _SLASHES
    first, *others = (_literal(part, slashes) for part in re.split(r"\*+", pattern))
    if not others:
        return first + end
    *middle, last = others
    opening, closing = "()" if captures else ("", "")
    runs = "".join(f"(?>{opening}{any_character}*?{closing}{part})" for part in middle)
    if not last and end and not captures:
        return first + runs
    return f"{first}{runs}{opening}{any_character}*{closing}{last}{end}"


def _literal(text: str, slashes: str) -> str:
    """Matches the text, each of its bytes raw or percent-encoded, and runs of slashes as one."""
    return "".join(_byte(value, slashes) for value in re.sub(b"/+", b"/", _unescape(text)))


def _unescape(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), raw)


def _byte(value: int, slashes: str) -> str:
    if value == ord("/"):
        return slashes
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
