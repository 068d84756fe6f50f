# SPDX-License-Identifier: Apache-2.0
"""PowerDNS LUA records for names that point to several providers.

See https://doc.powerdns.com/authoritative/lua-records/ for the functions.
"""

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from poppy.common.errors import PermanentError
from poppy.dns.steering import (
    AddressPool,
    Policy,
    Target,
    continents,
    countries,
    everywhere,
    sharing,
    together,
)

#: Maximum characters of a string in a zone (RFC 1035, section 3.3). A script has several strings.
_STRING = 255
#: Maximum characters of a script. A zone transfer has each record in a message of 65,535 bytes.
_SCRIPT = 60_000
#: Allowed characters of names and codes. None of them can end a Lua string.
_SAFE = re.compile(r"[A-Za-z0-9_.-]+")

T = TypeVar("T", bound=Target)


def record(policy: Policy) -> str:
    """Return the content of a LUA record that returns a CNAME by a policy.

    ::

        CNAME ";if country('DE') then return 'a.example.' end return pickwhashed({...})"

    Raises:
        PermanentError: a name has characters that are not allowed in a script.
    """
    return _content("CNAME", _cases(policy, _choice))


def address_record(rdtype: str, pools: Sequence[AddressPool]) -> str:
    """Return the content of a LUA record that returns the addresses of one pool.

    ::

        A ";local p={{'192.0.2.1','192.0.2.2'},{'192.0.2.3'}} if country('DE') ..."

    Args:
        rdtype: ``A`` or ``AAAA``, the family of all addresses.

    Raises:
        PermanentError: there are too many addresses for a record.
    """
    numbers = {pool.name: number for number, pool in enumerate(pools, 1)}
    tables = (", ".join(f"'{it}'" for it in together([pool])) for pool in pools)
    choices = ", ".join(f"{{{table}}}" for table in tables)
    cases = _cases(pools, lambda some: f"p[{_number(some, numbers)}]")
    return _content(rdtype, f"local p = {{{choices}}} {cases}")


def _cases(policy: Sequence[T], choice: Callable[[Sequence[T]], str]) -> str:
    """Return a script that returns the choice for a client's location.

    Args:
        choice: returns a Lua expression that chooses one of some targets, always the same one for
            a client.
    """
    cases = [(f"country('{_safe(code)}')", it) for code, it in countries(policy).items()]
    cases += [(f"continent('{_safe(code)}')", it) for code, it in continents(policy).items()]
    lines = [f"if {condition} then return {choice(it)} end" for condition, it in cases]
    return " ".join([*lines, f"return {choice(everywhere(policy))}"])


def _content(rdtype: str, script: str) -> str:
    # The leading semicolon marks a script instead of an expression. The server joins the strings
    # with spaces, so split the script at spaces only.
    pieces = textwrap.wrap(f"; {script}", _STRING, break_long_words=False, break_on_hyphens=False)
    if max(map(len, pieces)) > _STRING:
        raise PermanentError("A name is too long for a LUA record")
    if len(script) > _SCRIPT:
        raise PermanentError("There are too many addresses for a LUA record")
    return f"{rdtype} " + " ".join(f'"{piece}"' for piece in pieces)


def _choice(policy: Policy) -> str:
    shares = sharing(policy)
    if len(shares) == 1:
        return _quoted(shares[0].name)
    return _pick((target.weight, _quoted(target.name)) for target in shares)


def _number(pools: Sequence[AddressPool], numbers: Mapping[str, int]) -> str:
    shares = sharing(pools)
    if len(shares) == 1:
        return str(numbers[shares[0].name])
    # The function returns strings only.
    picked = _pick((pool.weight, f"'{numbers[pool.name]}'") for pool in shares)
    return f"tonumber({picked})"


def _pick(choices: Iterable[tuple[int, str]]) -> str:
    pairs = ", ".join(f"{{{weight}, {choice}}}" for weight, choice in choices)
    return f"pickwhashed({{{pairs}}})"


def _quoted(name: str) -> str:
    return f"'{_safe(name)}.'"


def _safe(text: str) -> str:
    if not _SAFE.fullmatch(text):
        raise PermanentError(f"'{text}' can't be in a LUA record")
    return text
