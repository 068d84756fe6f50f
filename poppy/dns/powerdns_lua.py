# SPDX-License-Identifier: Apache-2.0
"""PowerDNS LUA records for names that point to several providers.

See https://doc.powerdns.com/authoritative/lua-records/ for the functions.
"""

import re
import textwrap

from poppy.common.errors import PermanentError
from poppy.dns.steering import Policy, continents, countries, everywhere, sharing

#: Maximum characters of a string in a zone (RFC 1035, section 3.3). A script has several strings.
_STRING = 255
#: Allowed characters of names and codes. None of them can end a Lua string.
_SAFE = re.compile(r"[A-Za-z0-9_.-]+")


def record(policy: Policy) -> str:
    """Return the content of a LUA record that returns a CNAME by a policy.

    ::

        CNAME ";if country('DE') then return 'a.example.' end return pickwhashed({...})"

    Raises:
        PermanentError: a name has characters that are not allowed in a script.
    """
    cases = [(f"country('{_safe(code)}')", it) for code, it in countries(policy).items()]
    cases += [(f"continent('{_safe(code)}')", it) for code, it in continents(policy).items()]
    lines = [f"if {condition} then return {_choice(it)} end" for condition, it in cases]
    script = " ".join([*lines, f"return {_choice(everywhere(policy))}"])
    # The leading semicolon marks a script instead of an expression. The server joins the strings
    # with spaces, so split the script at spaces only.
    pieces = textwrap.wrap(f"; {script}", _STRING, break_long_words=False, break_on_hyphens=False)
    if max(map(len, pieces)) > _STRING:
        raise PermanentError("A name is too long for a LUA record")
    return "CNAME " + " ".join(f'"{piece}"' for piece in pieces)


def _choice(policy: Policy) -> str:
    """Return a Lua expression that chooses a target, always the same one for a client."""
    shares = sharing(policy)
    if len(shares) == 1:
        return _quoted(shares[0].name)
    pairs = ", ".join(f"{{{target.weight}, {_quoted(target.name)}}}" for target in shares)
    return f"pickwhashed({{{pairs}}})"


def _quoted(name: str) -> str:
    return f"'{_safe(name)}.'"


def _safe(text: str) -> str:
    if not _SAFE.fullmatch(text):
        raise PermanentError(f"'{text}' can't be in a LUA record")
    return text
