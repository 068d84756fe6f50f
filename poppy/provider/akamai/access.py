# SPDX-License-Identifier: Apache-2.0
"""Restrictions as Property Manager rules that deny access.

A whitelist rule denies clients that are not listed; a blacklist rule denies clients that are. No
rule allows what another one denies, so the kinds of restrictions are independent.
"""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from poppy.common.errors import PermanentError
from poppy.model.specs import ServiceSpec
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import CLIENT, DENIED, assign, behavior, path, rule
from poppy.provider.akamai.patterns import EVERYTHING, overlap, path_pattern, specificity
from poppy.provider.geography import country_codes
from poppy.provider.patterns import covers

#: The reason of a denial in Akamai's logs.
_REASON = "poppy-{access}-{kind}"
#: Paths with parameters of a segment (RFC 3986, section 3.3). Some origins drop these before they
#: look for a file, and no pattern covers the spellings of another path with them.
_PARAMETERS = "/*;*"


class Denial(NamedTuple):
    """Clients to deny for some paths.

    Attributes:
        kind: ``referrer``, ``client_ip`` or ``geography``.
        access: ``whitelist`` denies clients that are not in ``values``; ``blacklist`` denies
            those that are.
        pattern: the paths to match.
        others: exceptions from ``pattern``.
    """

    kind: str
    access: str
    pattern: str
    others: tuple[str, ...]
    values: tuple[str, ...]


def denials(spec: ServiceSpec) -> list[Denial]:
    """Return the denials for all restrictions of a service.

    Raises:
        PermanentError: Akamai's rules can't express a restriction; the message names it.
    """
    groups: dict[tuple[str, str], dict[str, set[str]]] = {}
    for entry in spec.restrictions:
        for one in entry.rules:
            if one.kind is None:
                continue
            by_pattern = groups.setdefault((one.kind, entry.access), {})
            value = str(getattr(one, one.kind))
            by_pattern.setdefault(path_pattern(one), set()).update(_values(one.kind, value))
    found = []
    for (kind, access), by_pattern in sorted(groups.items()):
        for pattern in sorted(by_pattern, key=specificity):
            found.append(_denial(kind, access, pattern, by_pattern))
    return found


def _denial(kind: str, access: str, pattern: str, by_pattern: dict[str, set[str]]) -> Denial:
    values = set(by_pattern[pattern])
    others: list[str] = []
    if access == "whitelist":
        # If several rules match a path, it is open to clients that any of them allows.
        for other, more in by_pattern.items():
            if other == pattern or not overlap(pattern, other):
                continue
            if covers(other, pattern):
                values |= more
            elif covers(pattern, other):
                others.append(other)
            else:
                raise PermanentError(
                    f"The whitelists by {kind} for {pattern} and {other} overlap: Akamai supports "
                    "that only if one includes all paths of the other"
                )
    ordered = sorted(others, key=specificity)
    return Denial(kind, access, pattern, tuple(ordered), tuple(sorted(values)))


def _values(kind: str, value: str) -> frozenset[str]:
    """Return a rule's value in the form that Akamai compares."""
    if kind == "geography":
        try:
            return country_codes(value)
        except KeyError as exc:
            raise PermanentError(f"There is no country or continent {value!r}") from exc
    if kind == "client_ip":
        network = ipaddress.ip_network(value, strict=False)
        whole = network.prefixlen == network.max_prefixlen
        return frozenset({str(network.network_address) if whole else str(network)})
    return frozenset({value.lower()})


def restrictions(spec: ServiceSpec) -> list[Document]:
    """Return the rule of all restrictions; an empty list if there are none."""
    found = denials(spec)
    rules = [_denying(denial) for denial in found]
    if not rules:
        return []
    if any(denial.pattern != EVERYTHING for denial in found):
        rules.insert(0, rule("Path parameters", [path([_PARAMETERS])], deny("poppy-parameters")))
    return [rule("Restrictions", [CLIENT], children=rules)]


def _denying(denial: Denial) -> Document:
    where = [] if denial.pattern == EVERYTHING else [path([denial.pattern])]
    if denial.others:
        where.append(path(denial.others, matches=False))
    reason = _REASON.format(access=denial.access, kind=denial.kind.replace("_", "-"))
    who = rule("Clients", _who(denial), deny(reason), any_of=True)
    return rule(f"{denial.access} {denial.kind} {denial.pattern}", where, children=[who])


def deny(reason: str) -> list[Document]:
    """Return behaviours that refuse a request with 403, and let later rules know it."""
    return [behavior("denyAccess", enabled=True, reason=reason), assign(DENIED, "1")]


def _who(denial: Denial) -> list[Document]:
    """Return criteria; a client is denied if one of them matches."""
    listed = denial.access == "blacklist"
    operator = "IS_ONE_OF" if listed else "IS_NOT_ONE_OF"
    if denial.kind == "client_ip":
        options = {
            "matchOperator": operator,
            "values": list(denial.values),
            # Akamai's reference: use the connecting address and ignore headers.
            "useHeaders": True,
        }
        return [{"name": "clientIp", "options": options}]
    if denial.kind == "geography":
        options = {
            "field": "COUNTRY",
            "matchOperator": operator,
            "countryValues": list(denial.values),
            "checkIps": "CONNECTING",
        }
        return [{"name": "userLocation", "options": options}]
    patterns = [p for name in denial.values for p in _referrers(name, below=listed)]
    found = [_header(operator, patterns)]
    # A request without a Referer matches no list.
    return found if listed else [*found, _header("DOES_NOT_EXIST")]


def _referrers(name: str, *, below: bool) -> list[str]:
    """Return patterns of ``Referer`` headers from a host.

    ``*`` also matches ``/``, so the path of a page elsewhere can match the pattern for subdomains.
    That is harmless on a blacklist, but on a whitelist it would allow access.
    """
    hosts = [name, f"*.{name}"] if below else [name]
    tails = ["", "/*", ":*"] if below else ["", "/*"]
    return [
        f"{scheme}://{host}{tail}"
        for scheme in ("http", "https")
        for host in hosts
        for tail in tails
    ]


def _header(operator: str, values: Sequence[str] | None = None) -> Document:
    options: Document = {
        "headerName": "Referer",
        "matchOperator": operator,
        "matchWildcardName": False,
    }
    if values is not None:
        options |= {
            "values": list(values),
            "matchWildcardValue": True,
            "matchCaseSensitiveValue": False,
        }
    return {"name": "requestHeader", "options": options}
