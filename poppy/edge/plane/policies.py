# SPDX-License-Identifier: Apache-2.0
"""What HAProxy knows of a service: entries of its maps, and for most rules a policy.

The maps::

    hosts        host -> service ID
    services     service ID -> entry
    challenges   host and path -> key authorization

An entry is ``host:port|tls|Host field|ttl|use``. ``tls`` is ``1`` or empty, and refers to options
of the origin, if there are any (:mod:`poppy.edge.plane.origins_options`). The Host field may be
empty, for the requested one, and ``ttl`` for the origin's own; it may have options
(:mod:`poppy.edge.plane.lifetimes`). ``use`` is ``cached``, or
``direct`` for TTL 0. If a service's entry depends on the request, it has a policy, and the map has
``@`` and the policy's digest, followed by ``|signed`` if requests may need a token, and by the
marks of :mod:`poppy.edge.plane.changes`. Either ends with ``|rules`` if the service has asked for
more rules than those for origins, TTLs and restrictions. A mark before it is for the access log
(:mod:`poppy.edge.plane.access_log`). A policy is a file, from which
``policy.lua`` makes an entry::

    origin host:port|tls|Host field
    route <number of the origin> <pattern>
    ttl <ttl>|<use> <pattern>
    access blacklist|whitelist <kind>
    clients <pattern>
    value <host, country, or the bits of a network after its version>

and lines of :mod:`poppy.edge.plane.changes` and :mod:`poppy.edge.plane.signed_urls`.
"""

import hashlib
import ipaddress
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from poppy.edge.errors import Refused
from poppy.edge.options import Settings
from poppy.edge.plane import (
    access_log,
    changes,
    delivery,
    lifetimes,
    origins_options,
    signed_urls,
)
from poppy.edge.plane.certificates import Served as ServedCertificate
from poppy.edge.plane.certificates import served as served_certificate
from poppy.edge.plane.origins_health import Check, checks
from poppy.edge.program import Access, Program
from poppy.model.document.caching import CacheOptions

#: The paths of challenges (RFC 8555, section 8.3).
CHALLENGES = "/.well-known/acme-challenge/"
#: The end of an entry whose requests need :func:`poppy.edge.plane.clients.service_rules`.
RULES = "|rules"

_ALL = "/*"
_WORD = re.compile("[!-~]+")


@dataclass(frozen=True, slots=True)
class Served:
    """A service as HAProxy's maps and a file have it.

    Attributes:
        service_id: the key in the map of services.
        hosts: the keys in the map of hosts.
        value: the value in the map of services.
        policy_name: the name of the policy file; empty if there is none.
        policy: the content of that file.
        options_name: the name of the file with the options of origins, likewise.
        options: the content of that file.
        checks: the health checks.
        delivery: the value in the map of deliveries; empty if it has none.
        certificates: none if the node has no addresses for HTTPS.
        challenges: keys and values in the map of challenges.
    """

    service_id: str
    hosts: tuple[str, ...]
    value: str
    policy_name: str
    policy: str
    options_name: str
    options: str
    checks: tuple[Check, ...]
    delivery: str
    certificates: tuple[ServedCertificate, ...]
    challenges: tuple[tuple[str, str], ...]

    @property
    def files(self) -> Mapping[str, str]:
        """The contents of the files in the directory of policies, by name."""
        found = {self.policy_name: self.policy, self.options_name: self.options}
        return {name: text for name, text in found.items() if name}


def served(program: Program, settings: Settings) -> Served:
    """Return how HAProxy serves a program.

    Raises:
        Refused: this node can't serve it.
    """
    if not program.checked:
        try:
            # Every byte of the program goes into files that others read line by line.
            program = Program.from_dict(program.to_dict())
        except ValueError as exc:
            raise Refused(f"The program is invalid: {exc}") from exc
    kinds = {access.kind for access in program.restrictions}
    if "geography" in kinds and settings.geography_database is None:
        raise Refused("This node has no geography database")
    kept = list(_lifetimes(program, settings))
    has_lifetime = bool(kept) and program.ttls[0].pattern == _ALL
    lifetime = kept[0] if has_lifetime else lifetimes.text(None, CacheOptions(), settings.grace)
    route = program.routes[0] if program.routes else None
    is_simple = (
        (not program.ttls or has_lifetime)
        and (route is None or route.pattern == _ALL)
        and not program.restrictions
        and not changes.has_any(program)
        and program.signed_urls is None
    )
    entries, options_digest, options = origins_options.entries(program.origins, settings)
    origin = entries[route.value if route and is_simple else 0]
    policy = "" if is_simple else "".join(f"{line}\n" for line in _lines(program, entries, kept))
    digest = hashlib.sha256(policy.encode()).hexdigest()[:16] if policy else ""
    certificates = tuple(
        served_certificate(program.service_id, it, delivery.bind_options(program))
        for it in (program.certificates if settings.https else ())
    )
    delivered = delivery.entry(program, [name for it in certificates for name in it.names])
    mark = "" if program.signed_urls is None else signed_urls.MARK
    mark += changes.marks(program)
    mark += RULES if mark or delivered or any(it.key for it in program.caching) else ""
    return Served(
        service_id=program.service_id,
        hosts=program.domains,
        value=access_log.marked(
            (f"@{digest}" if policy else f"{origin}|{lifetime}") + mark, program.log_project
        ),
        policy_name=f"{program.service_id}-{digest}" if policy else "",
        policy=policy,
        options_name=f"{program.service_id}-{options_digest}" if options else "",
        options=options,
        checks=tuple(checks(program, entries)),
        delivery=delivered,
        certificates=certificates,
        challenges=tuple(
            (f"{it.domain}{CHALLENGES}{it.token}", it.value) for it in program.challenges
        ),
    )


def _lines(program: Program, entries: Sequence[str], kept: Sequence[str]) -> Iterator[str]:
    for entry in entries:
        yield f"origin {entry}"
    for route in program.routes:
        yield f"route {route.value} {route.pattern}"
    for ttl, lifetime in zip(program.ttls, kept, strict=True):
        yield f"ttl {lifetime} {ttl.pattern}"
    for access in program.restrictions:
        yield f"access {access.access} {access.kind}"
        for clients in access.rules:
            yield f"clients {clients.pattern}"
            for value in clients.values:
                yield f"value {_value(access, value)}"
    yield from changes.lines(program)
    yield from signed_urls.lines(program.signed_urls)


def _value(access: Access, value: str) -> str:
    if access.kind != "client_ip":
        return value
    network = ipaddress.ip_network(value)
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"
    return f"{network.version}{bits[: network.prefixlen]}"


def _lifetimes(program: Program, settings: Settings) -> Iterator[str]:
    options = program.caching or itertools.repeat(CacheOptions())
    for ttl, own in zip(program.ttls, options, strict=False):
        yield lifetimes.text(ttl.value, own, settings.grace)
