# SPDX-License-Identifier: Apache-2.0
"""Restrictions as rules of Property Manager that deny access.

A rule of a whitelist refuses those who are not on it, one of a blacklist those who are. Nothing
ever allows what another rule has refused, so that the kinds of restrictions are independent.
"""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from poppy.common.errors import PermanentError
from poppy.model.services import ServiceSpec
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.patterns import EVERYTHING, overlap, path_pattern, specificity
from poppy.provider.geography import country_codes
from poppy.provider.patterns import covers

_LONGEST_NAME = 100
#: What Akamai's logs say of a refusal.
_REASON = "poppy-{access}-{kind}"


class Denial(NamedTuple):
    """Who is refused where.

    Attributes:
        kind: ``referrer``, ``client_ip`` or ``geography``.
        access: ``whitelist`` refuses those who are not among ``values``, ``blacklist`` those
            who are.
        pattern: the paths that it is about ...
        others: ... without these.
    """

    kind: str
    access: str
    pattern: str
    others: tuple[str, ...]
    values: tuple[str, ...]


def denials(spec: ServiceSpec) -> list[Denial]:
    """Who is refused where, from all restrictions of a service.

    Raises:
        PermanentError: it can't be said in Akamai's rules; names the offender.
    """
    groups: dict[tuple[str, str], dict[str, set[str]]] = {}
    for entry in spec.restrictions:
        for rule in entry.rules:
            if rule.kind is None:
                continue
            by_pattern = groups.setdefault((rule.kind, entry.access), {})
            value = str(getattr(rule, rule.kind))
            by_pattern.setdefault(path_pattern(rule), set()).update(_values(rule.kind, value))
    found = []
    for (kind, access), by_pattern in sorted(groups.items()):
        for pattern in sorted(by_pattern, key=specificity):
            found.append(_denial(kind, access, pattern, by_pattern))
    return found


def _denial(kind: str, access: str, pattern: str, by_pattern: dict[str, set[str]]) -> Denial:
    values = set(by_pattern[pattern])
    others: list[str] = []
    if access == "whitelist":
        # A path that several rules are about is for everyone whom one of them lets in.
        for other, more in by_pattern.items():
            if other == pattern or not overlap(pattern, other):
                continue
            if covers(other, pattern):
                values |= more
            elif covers(pattern, other):
                others.append(other)
            else:
                raise PermanentError(
                    f"The whitelists by {kind} for {pattern} and {other} are about some common "
                    "paths: Akamai can't do that unless one has all paths of the other"
                )
    ordered = sorted(others, key=specificity)
    return Denial(kind, access, pattern, tuple(ordered), tuple(sorted(values)))


def _values(kind: str, value: str) -> frozenset[str]:
    """As Akamai compares them."""
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
    """The rule that holds all restrictions; none without."""
    rules = [_denying(denial) for denial in denials(spec)]
    if not rules:
        return []
    # The same rules are done where one server of Akamai asks another, whose address and place
    # are not the client's.
    criterion = {
        "name": "requestType",
        "options": {"matchOperator": "IS", "value": "CLIENT_REQ"},
    }
    return [rule("Restrictions", [criterion], children=rules)]


def _denying(denial: Denial) -> Document:
    where = [] if denial.pattern == EVERYTHING else [path([denial.pattern])]
    if denial.others:
        where.append(path(denial.others, matches=False))
    reason = _REASON.format(access=denial.access, kind=denial.kind.replace("_", "-"))
    behaviors = [{"name": "denyAccess", "options": {"enabled": True, "reason": reason}}]
    who = rule("Clients", _who(denial), behaviors, any_of=True)
    return rule(f"{denial.access} {denial.kind} {denial.pattern}", where, children=[who])


def _who(denial: Denial) -> list[Document]:
    """Criteria of which one has to hold for a client to be refused."""
    listed = denial.access == "blacklist"
    operator = "IS_ONE_OF" if listed else "IS_NOT_ONE_OF"
    if denial.kind == "client_ip":
        options = {
            "matchOperator": operator,
            "values": list(denial.values),
            # By Akamai's reference: the address that connects, whatever a header says.
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
    # No Referer is on no list.
    return found if listed else [*found, _header("DOES_NOT_EXIST")]


def _referrers(name: str, *, below: bool) -> list[str]:
    """Patterns of ``Referer`` headers from a host.

    ``*`` matches a ``/`` as well. So "from below the host" is a guess that a page elsewhere could
    meet by its path, which is no harm where it is refused, but would let it in.
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


def path(patterns: Sequence[str], *, matches: bool = True) -> Document:
    """A criterion: the path matches one of the patterns, or none of them."""
    operator = "MATCHES_ONE_OF" if matches else "DOES_NOT_MATCH_ONE_OF"
    options = {
        "matchOperator": operator,
        "values": list(patterns),
        "matchCaseSensitive": True,
        # So that spelling a path differently is no way around.
        "normalize": True,
    }
    return {"name": "path", "options": options}


def rule(
    name: str,
    criteria: Sequence[Document] = (),
    behaviors: Sequence[Document] = (),
    children: Sequence[Document] = (),
    *,
    any_of: bool = False,
) -> Document:
    """A rule for requests that meet all criteria, or any of them."""
    return {
        "name": name[:_LONGEST_NAME],
        "criteria": list(criteria),
        "criteriaMustSatisfy": "any" if any_of else "all",
        "behaviors": list(behaviors),
        "children": list(children),
    }
