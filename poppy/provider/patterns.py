# SPDX-License-Identifier: Apache-2.0
"""Tenants' patterns: how they lie to each other, and as regular expressions for VCL (PCRE2).

In the expressions only letters, digits and what is made here are ever written: every other byte
of a tenant's text becomes ``\\xHH``. So no text can end the VCL string it stands in, or mean
anything in the expression, whatever is in it.
"""

import re

_SLASH = "(?:/|%2[Ff])+"

#: Paths with ``.`` or ``..`` as a segment. Browsers resolve these before they ask; who does not
#: wants an origin to see another path than the edge did.
DOT_SEGMENTS = "(?i)^[^?]*(?:/|%2f)(?:[.]|%2e){1,2}(?:/|%2f|[?]|$)"


def url_regex(pattern: str) -> str:
    """An expression for the URLs (as in ``req.url``) that a ``request_url`` is about.

    * ``*`` is any run of characters, ``/`` included; a missing leading ``/`` is added.
    * The path is compared as a web server would read it: percent-encoded or not, and with
      runs of slashes as one. So an encoded request is not a way around a restriction.
    * The query is ignored, unless the pattern itself has a ``?``; then all of it is compared.

    Each ``*`` but the last matches as little as it can and is never reconsidered (which loses
    nothing for such patterns), so that no pattern can make Varnish backtrack without end.
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
    """Matches the text, each of its bytes raw or percent-encoded."""
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
    """An expression for ``Referer`` headers from the host ``name`` or one below it."""
    host = "".join(
        character if character.isascii() and character.isalnum() else f"\\x{value:02x}"
        for value in name.encode("utf-8", "surrogatepass")
        for character in [chr(value)]
    )
    # A user name may stand before the host; whatever else has an "@" is another host.
    user = r"(?:[^/?#@\x5c]*@)?"
    return rf"(?i)^https?://{user}(?:[^/?#@:\x5c]+[.])?{host}[.]?(?::[0-9]*)?(?:[/?#]|$)"


def specificity(pattern: str) -> tuple[int, str]:
    """Sort key: patterns with more literal characters first, ``/*`` last."""
    return -len(pattern.replace("*", "")), pattern


def covers(pattern: str, other: str) -> bool:
    """Whether every path that the other pattern matches is matched by this one."""
    # A wildcard of the other is a character that only a wildcard of this one can take. Each
    # piece is best found as early as it can be.
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
