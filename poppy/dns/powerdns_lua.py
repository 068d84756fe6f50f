# SPDX-License-Identifier: Apache-2.0
"""LUA records of PowerDNS, for names that lead to several providers.

See https://doc.powerdns.com/authoritative/lua-records/ for the functions.
"""

import re
import textwrap

from poppy.common.errors import PermanentError
from poppy.dns.steering import Policy, continents, countries, everywhere, sharing

#: The most characters of a string in a zone (RFC 1035, section 3.3); a script is several.
_STRING = 255
#: What names and codes may be made of, so that none ends the string that it stands in.
_SAFE = re.compile(r"[A-Za-z0-9_.-]+")


def record(policy: Policy) -> str:
    """The content of a LUA record that gives a CNAME by a policy.

    ::

        CNAME ";if country('DE') then return 'a.example.' end return pickwhashed({...})"

    Raises:
        PermanentError: a name can't be in a script.
    """
    cases = [(f"country('{_safe(code)}')", it) for code, it in countries(policy).items()]
    cases += [(f"continent('{_safe(code)}')", it) for code, it in continents(policy).items()]
    lines = [f"if {condition} then return {_choice(it)} end" for condition, it in cases]
    script = " ".join([*lines, f"return {_choice(everywhere(policy))}"])
    # The semicolon says that it is a script, and not just an expression. The server puts spaces
    # between the pieces, so that they begin and end where there was one.
    pieces = textwrap.wrap(f"; {script}", _STRING, break_long_words=False, break_on_hyphens=False)
    if max(map(len, pieces)) > _STRING:
        raise PermanentError("A name is too long for a LUA record")
    return "CNAME " + " ".join(f'"{piece}"' for piece in pieces)


def _choice(policy: Policy) -> str:
    """A Lua expression for one of several targets, the same one for a client each time."""
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
