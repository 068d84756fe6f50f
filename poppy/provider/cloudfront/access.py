# SPDX-License-Identifier: Apache-2.0
"""The restrictions of a service: CloudFront's own, and the rest for the function. No I/O."""

import ipaddress
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from poppy.common.errors import PermanentError
from poppy.model.specs import Restriction, Rule, ServiceSpec
from poppy.provider.cloudfront.paths import EVERYTHING, decoded
from poppy.provider.cloudfront.programs import Step
from poppy.provider.geography import country_codes


class Countries(NamedTuple):
    """A geographic restriction of a whole distribution.

    Attributes:
        kind: ``whitelist``, ``blacklist`` or ``none``.
        codes: ISO 3166-1 alpha-2, in order.
    """

    kind: str = "none"
    codes: tuple[str, ...] = ()


class Access(NamedTuple):
    """The restrictions of a service at CloudFront.

    Attributes:
        countries: the part that CloudFront does by itself.
        needs_country: whether the function looks at the viewer's country.
        steps: of the function, for the rest; one or none.
    """

    countries: Countries
    needs_country: bool
    steps: tuple[Step, ...]


def access(spec: ServiceSpec) -> Access:
    """Divide restrictions between CloudFront's geographic restriction and a function.

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
    files = ("patterns.js", "addresses.js", "restrictions.js")
    step = Step("restrict", files, {"LISTS": lists})
    return Access(countries, by_path, (step,) if lists else ())


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
    return decoded(rule.name, url)


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
