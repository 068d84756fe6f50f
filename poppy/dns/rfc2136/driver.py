# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``rfc2136``: any server with dynamic updates (BIND, Knot, PowerDNS ...)."""

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from oslo_config import cfg

from poppy.common.errors import ConfigError, PermanentError, RetryableError, succeeds
from poppy.dns.base import COMMON_OPTS, DNSDriver, difference, occupied, possible
from poppy.dns.rfc2136.server import Server
from poppy.dns.servers import Servers
from poppy.dns.steering import Policy
from poppy.dns.zones import ZONES_OPT, Zones

#: Maximum seconds per server in health checks.
HEALTH_TIMEOUT = 2.0
#: Common types of foreign records: an update is refused as a whole if a name has one. Other types
#: are found by the query after the update.
_FOREIGN = ("A", "AAAA", "NS", "MX", "TXT")


class RFC2136(DNSDriver):
    """Send one UPDATE (RFC 2136) per zone, signed with TSIG (RFC 8945).

    An UPDATE is atomic. But servers silently skip a CNAME next to other records (RFC 2136, section
    3.4.2.2), so the driver queries the names afterwards.
    """

    TEXTS: ClassVar[bool] = True
    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *COMMON_OPTS,
        cfg.ListOpt(
            "servers",
            default=["127.0.0.1"],
            help="Servers that accept updates, as host or host:port ([address]:port for IPv6). If "
            "one does not answer, the next one is used. All must serve the same zones.",
        ),
        ZONES_OPT,
        cfg.StrOpt("tsig_key_name", help="Name of the TSIG key. Unset: messages are not signed."),
        cfg.StrOpt("tsig_key_secret", secret=True, help="The TSIG key, in base64."),
        cfg.StrOpt(
            "tsig_algorithm",
            default="hmac-sha256",
            choices=["hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1"],
            help="Algorithm of the TSIG key.",
        ),
        cfg.FloatOpt(
            "timeout", default=5.0, min=0.1, help="Timeout in seconds for the answer to a message."
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        options = self.options
        try:
            key = _key(options.tsig_key_name, options.tsig_key_secret, options.tsig_algorithm)
            servers = [Server.parse(text, key, options.timeout) for text in options.servers]
        except ConfigError as exc:
            raise self.config_error(str(exc)) from exc
        if not servers:
            raise self.config_error("servers is empty")
        self._servers = Servers(servers)
        timeout = min(HEALTH_TIMEOUT, options.timeout)
        self._asked_briefly = Servers([replace(server, timeout=timeout) for server in servers])
        self._zones = Zones(options.zones, options.suffix, self._find_zone)

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs with one message per zone; see :meth:`DNSDriver.ensure`."""
        for zone, names in self._zones.group(cnames).items():
            wanted = {_absolute(name): _absolute(cnames[name]) for name in names}
            update = dns.update.UpdateMessage(zone)
            for name, target in wanted.items():
                for rdtype in _FOREIGN:
                    update.absent(name, rdtype)
                update.replace(name, self.options.ttl, "CNAME", target.to_text())
            self._servers.call(lambda it: _ensure(it, zone, update, wanted))  # noqa: B023

    def differences(self, policies: Mapping[str, Policy]) -> Sequence[str]:
        """Query the server for the CNAMEs; see :meth:`DNSDriver.differences`."""
        found = []
        for name, policy in policies.items():
            target = self._servers.call(lambda it: _target(it, _absolute(name)))  # noqa: B023
            if target is None:
                # A name with other records can't become a CNAME.
                self._servers.call(lambda it: _check_free(it, _absolute(name)))  # noqa: B023
            text = target.to_text(omit_final_dot=True) if target is not None else None
            found.append(difference(name, text, policy[0].name))
        return [it for it in found if it]

    def set_texts(self, name: str, values: Sequence[str]) -> None:
        """Replace the TXT records with one message; see :meth:`DNSDriver.set_texts`."""
        zone = self._zones.of(name)
        update = dns.update.UpdateMessage(zone)
        update.delete(_absolute(name), "TXT")
        for value in values:
            update.add(_absolute(name), self.options.ttl, "TXT", f'"{value}"')
        self._servers.call(lambda it: it.update(update, zone))

    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs with one message per zone; see :meth:`DNSDriver.remove`."""
        for zone, members in self._zones.group(possible(names)).items():
            update = dns.update.UpdateMessage(zone)
            for name in members:
                update.delete(_absolute(name), "CNAME")
            self._servers.call(lambda it: it.update(update, zone))  # noqa: B023

    def health(self) -> bool:
        """Return whether a server answers a query for the suffix."""
        suffix = _absolute(self.options.suffix)
        return succeeds(lambda: self._asked_briefly.call(lambda it: it.look(suffix, "SOA")))

    def _find_zone(self, name: str) -> str | None:
        if self.options.zones:
            return name
        apex = _absolute(name)
        answer = self._servers.call(lambda it: it.look(apex, "SOA"))
        found = answer.get_rrset(answer.answer, apex, dns.rdataclass.IN, dns.rdatatype.SOA)
        return name if found else None


def _ensure(
    server: Server,
    zone: str,
    update: dns.update.UpdateMessage,
    wanted: Mapping[dns.name.Name, dns.name.Name],
) -> None:
    done = server.update(update, zone)
    for name, target in wanted.items():
        if done and _target(server, name) == target:
            continue
        _check_free(server, name)
        if done:
            raise RetryableError(f"{server} was updated, but does not serve {name} yet")
    if not done:
        raise RetryableError(f"{server} found conflicting records in zone {zone}, now gone")


def _check_free(server: Server, name: dns.name.Name) -> None:
    """Raise PermanentError if a name has other records than a CNAME."""
    foreign = [rdtype for rdtype in server.types(name) if rdtype != "CNAME"]
    if foreign:
        raise occupied(name.to_text(omit_final_dot=True), ", ".join(foreign))


def _target(server: Server, name: dns.name.Name) -> dns.name.Name | None:
    answer = server.look(name, "CNAME")
    found = answer.get_rrset(answer.answer, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
    return found[0].target if found else None


def _absolute(name: str) -> dns.name.Name:
    try:
        return dns.name.from_text(name)
    except dns.exception.DNSException as exc:
        raise PermanentError(f"{name} can't be in DNS: {exc}") from exc


def _key(name: str | None, secret: str | None, algorithm: str) -> dns.tsig.Key | None:
    if not name and not secret:
        return None
    if not name or not secret:
        raise ConfigError("tsig_key_name and tsig_key_secret go together: one of them is missing")
    try:
        return dns.tsig.Key(name, secret, algorithm)
    except (binascii.Error, ValueError) as exc:
        # Its message may quote the secret.
        raise ConfigError("tsig_key_secret is not base64") from exc
