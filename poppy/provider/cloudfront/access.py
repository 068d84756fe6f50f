# SPDX-License-Identifier: Apache-2.0
"""CloudFront functions for restrictions and origins that a distribution can't express.

Tenants' text is inserted in the function's code only as ASCII JSON, which is valid JavaScript, so
it can't inject code.
"""

import importlib.resources
import ipaddress
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from poppy.common.errors import PermanentError
from poppy.model import headers
from poppy.model.specs import Restriction, Rule, ServiceSpec
from poppy.provider.cloudfront.origins import Routing
from poppy.provider.cloudfront.paths import EVERYTHING
from poppy.provider.geography import country_codes

#: Maximum bytes of a function's code. AWS can't raise this quota.
LONGEST_CODE = 10_240

#: The code itself knows those that begin with "x-forwarded".
_UNTRUSTED = [name.lower() for name in headers.UNTRUSTED if not name.startswith("X-Forwarded")]


def _read(name: str) -> str:
    """Return code without comments and indentation, which count towards the size."""
    text = importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
    return re.sub(r"^\s*//.*\n|^\s+", "", text, flags=re.MULTILINE)


_FUNCTION, _RESTRICTIONS, _ROUTING = map(_read, ("function.js", "restrictions.js", "routing.js"))


class Countries(NamedTuple):
    """A geographic restriction of a whole distribution.

    Attributes:
        kind: ``whitelist``, ``blacklist`` or ``none``.
        codes: ISO 3166-1 alpha-2, in order.
    """

    kind: str = "none"
    codes: tuple[str, ...] = ()


class Access(NamedTuple):
    """The restrictions of a service at CloudFront, and its function.

    Attributes:
        countries: the part that CloudFront does by itself.
        code: the function for the rest, for the choice of origins, and for header fields that
            must not reach origins.
        is_shared: whether the function has nothing of the service's own in it.
        needs_country: whether the function looks at the viewer's country.
    """

    countries: Countries
    code: str
    needs_country: bool
    is_shared: bool = False


def access(spec: ServiceSpec, origins: Routing) -> Access:
    """Divide restrictions between CloudFront's geographic restriction and a function.

    Args:
        origins: how the function is to choose origins.

    Raises:
        PermanentError: CloudFront can't express a rule; the message names it.
    """
    rules = [rule for entry in spec.restrictions for rule in entry.rules]
    geography = [rule for rule in rules if rule.kind == "geography"]
    by_path = any(_reach(rule) != EVERYTHING for rule in geography)
    countries = Countries() if by_path else _countries(spec.restrictions)
    kinds = ["client_ip", "referrer"] + (["geography"] if by_path else [])
    lists = [
        {"access": kind_of_list, "kind": kind, "rules": found}
        for kind_of_list in ("blacklist", "whitelist")
        for kind in kinds
        if (found := _rules(spec.restrictions, kind_of_list, kind))
    ]
    is_shared = not lists and not origins.choices
    return Access(countries, _code(lists, origins), by_path, is_shared)


def _code(lists: Sequence[Any], origins: Routing) -> str:
    parts = [
        "import cf from 'cloudfront';\n" if origins.choices else "",
        f"var UNTRUSTED = {_json(_UNTRUSTED)};\nvar LISTS = {_json(lists)};\n",
        f"var CHOICES = {_json(origins.choices)};\nvar ROUTES = {_json(origins.routes)};\n",
        _RESTRICTIONS if lists else "",
        _ROUTING if origins.choices else "",
        _FUNCTION,
    ]
    code = "".join(parts)
    if len(code) > LONGEST_CODE:
        raise PermanentError(
            "The restrictions and the paths of origins need a function of "
            f"{len(code)} bytes; CloudFront allows {LONGEST_CODE}"
        )
    return code


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def _rules(restrictions: Sequence[Restriction], kind_of_list: str, kind: str) -> list[Any]:
    """Return the rules of a list as pairs of paths and values, without repetitions.

    A pair means that each of its values applies to each of its paths. Fifty countries for a path,
    or fifty paths for a continent, are one pair; so long lists fit the size of a function.
    """
    paths: dict[str, dict[str, None]] = {}
    for entry in restrictions:
        for rule in entry.rules:
            if entry.access == kind_of_list and rule.kind == kind:
                for value in _values(rule):
                    paths.setdefault(value, {})[_reach(rule)] = None
    values: dict[tuple[str, ...], list[str]] = {}
    for value, reached in paths.items():
        values.setdefault(tuple(reached), []).append(value)
    return [
        [reached, "".join(sorted(found)) if kind == "geography" else [*map(json.loads, found)]]
        for reached, found in values.items()
    ]


def _reach(rule: Rule) -> str:
    """Return the decoded path pattern of a restriction rule, as the function compares it."""
    url = rule.request_url or "/*"
    if "?" in url:
        raise PermanentError(f"Rule '{rule.name}': CloudFront does not match queries ({url!r})")
    if "%2a" in url.lower():
        # When decoded, it would become a wildcard.
        raise PermanentError(f"Rule '{rule.name}': CloudFront can't match the * in {url!r}")
    pattern = re.sub("/+", "/", re.sub(r"\*+", "*", f"/{unquote(url)}"))
    return EVERYTHING if pattern == "/*" else pattern


def _values(rule: Rule) -> list[str]:
    """Return what a rule matches: country codes, or a network or host as JSON."""
    if rule.geography is not None:
        return sorted(_codes(rule))
    return [_json(_network(rule.client_ip) if rule.client_ip else (rule.referrer or "").lower())]


def _network(text: str) -> list[Any]:
    """Return a network as its 16-bit groups and its prefix length."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise PermanentError(f"{text!r} is not an IP address or CIDR block") from exc
    packed = network.network_address.packed
    groups = [int.from_bytes(packed[n : n + 2], "big") for n in range(0, len(packed), 2)]
    return [groups, network.prefixlen]


def _codes(rule: Rule) -> frozenset[str]:
    try:
        return country_codes(rule.geography or "")
    except KeyError as exc:
        raise PermanentError(f"There is no country or continent {rule.geography!r}") from exc


def _countries(restrictions: Sequence[Restriction]) -> Countries:
    """Return the countries of all geography rules; each rule applies to every path."""
    codes: dict[str, set[str]] = {"whitelist": set(), "blacklist": set()}
    for entry in restrictions:
        for rule in entry.rules:
            if rule.kind == "geography":
                codes[entry.access] |= _codes(rule)
    if not codes["whitelist"]:
        black = tuple(sorted(codes["blacklist"]))
        return Countries("blacklist", black) if black else Countries()
    left = tuple(sorted(codes["whitelist"] - codes["blacklist"]))
    if not left:
        raise PermanentError("The geography restrictions allow no country")
    return Countries("whitelist", left)
