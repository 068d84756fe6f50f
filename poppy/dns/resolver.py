# SPDX-License-Identifier: Apache-2.0
"""Look up tenants' records at authoritative servers, to avoid stale cache entries."""

import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
from oslo_config import cfg

from poppy.common import addresses
from poppy.common.domains import RESOLVER_GROUP
from poppy.common.errors import ConfigError, RetryableError

#: Timeout in seconds for a query to one server.
_PATIENCE = 2.0
#: Maximum addresses of a zone's name servers to query.
_MOST_SERVERS = 4
_DNS_PORT = 53


def is_public(address: str) -> bool:
    """Return whether a name server at this address may be queried.

    Tenants choose the name servers of their zones. They must not make Poppy's workers send packets
    to internal networks.
    """
    try:
        addresses.check(ipaddress.ip_address(address))
    except addresses.Refused:
        return False
    return True


class Resolver:
    """A resolver for TXT and CNAME records.

    Args:
        nameservers: resolvers, as ``<address>`` or ``<address>:<port>``; if empty, the system's.
        authoritative: whether to query the zone's name servers before the resolvers.
        may_ask: returns whether a zone's name server at an address may be queried.
        port: the port of the zones' name servers.

    Raises:
        ConfigError: a resolver is malformed, or the system has none.
    """

    def __init__(
        self,
        nameservers: list[str],
        authoritative: bool,
        may_ask: Callable[[str], bool] = is_public,
        port: int = _DNS_PORT,
    ) -> None:
        try:
            self._resolver = dns.resolver.Resolver(configure=not nameservers)
            if nameservers:
                self._resolver.nameservers = [_server(text) for text in nameservers]
        except (ValueError, dns.exception.DNSException) as exc:
            raise ConfigError(f"[{RESOLVER_GROUP}] nameservers: {exc}") from exc
        self._authoritative = authoritative
        self._may_ask = may_ask
        self._port = port

    @classmethod
    def of(cls, conf: cfg.ConfigOpts) -> Self:
        """Create a resolver from the configuration."""
        options = conf[RESOLVER_GROUP]
        return cls(options.nameservers, options.authoritative)

    def texts(self, name: str, deadline: float) -> set[str]:
        """Return the values of a name's TXT records; see :meth:`values`."""
        return self.values(name, "TXT", deadline)

    def values(self, name: str, kind: str, deadline: float) -> set[str]:
        """Return the values of a name's records; empty if there are none.

        Args:
            kind: ``TXT``, or ``CNAME``: a target in lower case without a trailing dot.
            deadline: a time of ``time.monotonic()``.

        Raises:
            RetryableError: no server answered in time.
        """
        wanted = dns.name.from_text(name)
        rdtype = dns.rdatatype.from_text(kind)
        with _retryable(name):
            if self._authoritative:
                found = self._ask_zone(wanted, rdtype, deadline)
                if found is not None:
                    return found
            return _values(self._records(wanted, kind, deadline))

    def addresses(self, name: str, deadline: float) -> set[str]:
        """Return the IP addresses to which a name leads; empty if there are none.

        This asks the resolvers, because the addresses are in zones of others.

        Raises:
            RetryableError: no server answered in time.
        """
        wanted = dns.name.from_text(name)
        with _retryable(name):
            return {
                str(record.address)
                for kind in ("A", "AAAA")
                for record in self._records(wanted, kind, deadline)
            }

    def _ask_zone(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, deadline: float
    ) -> set[str] | None:
        """Query the zone's name servers; None if none of them answers.

        Try the next server if one has no value, because it may not have the latest changes yet.
        """
        told = None
        query = dns.message.make_query(name, rdtype)
        query.flags &= ~dns.flags.RD
        for address in self._servers(name, deadline):
            try:
                answer, _ = dns.query.udp_with_fallback(
                    query, address, _left(deadline), port=self._port
                )
            except (dns.exception.DNSException, OSError, ValueError):
                continue
            if not answer.flags & dns.flags.AA or answer.rcode() not in (
                dns.rcode.NOERROR,
                dns.rcode.NXDOMAIN,
            ):
                continue
            found = answer.get_rrset(answer.answer, name, dns.rdataclass.IN, rdtype)
            if found is None and answer.answer:
                return None  # a CNAME; let the resolver follow it
            told = _values(found or ())
            if told:
                break
        return told

    def _servers(self, name: dns.name.Name, deadline: float) -> Iterator[str]:
        """Yield the allowed addresses of the name servers of a name's zone."""
        try:
            zone = dns.resolver.zone_for_name(
                name, resolver=self._resolver, lifetime=_left(deadline)
            )
            hosts = sorted(str(entry.target) for entry in self._resolve(zone, "NS", deadline))
        except (dns.exception.DNSException, OSError):
            return
        given = 0
        for host in hosts:
            for kind in ("A", "AAAA"):
                try:
                    addresses = [str(it.address) for it in self._resolve(host, kind, deadline)]
                except (dns.exception.DNSException, OSError):
                    continue
                for address in filter(self._may_ask, addresses):
                    if given >= _MOST_SERVERS:
                        return
                    given += 1
                    yield address

    def _records(self, name: dns.name.Name, kind: str, deadline: float) -> Any:
        """Return the records that the resolvers know; none if there are none."""
        try:
            return self._resolve(name, kind, deadline)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()

    def _resolve(self, name: dns.name.Name | str, kind: str, deadline: float) -> Any:
        return self._resolver.resolve(name, kind, lifetime=_left(deadline), search=False)


@contextlib.contextmanager
def _retryable(name: str) -> Iterator[None]:
    """Make failures of a name's lookup retryable."""
    try:
        yield
    except (dns.exception.DNSException, OSError, ValueError) as exc:
        raise RetryableError(f"{name} could not be looked up ({type(exc).__name__})") from exc


def _left(deadline: float) -> float:
    """Return the timeout of the next query in seconds.

    Raises:
        dns.exception.Timeout: the deadline has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise dns.exception.Timeout
    return min(left, _PATIENCE)


def _values(records: Any) -> set[str]:
    return {
        b"".join(record.strings).decode("utf-8", "replace")
        if record.rdtype == dns.rdatatype.TXT
        else record.target.to_text(omit_final_dot=True).lower()
        for record in records
    }


def _server(text: str) -> dns.nameserver.Nameserver:
    """Parse the address and port of a resolver.

    Raises:
        ValueError: the text is invalid.
    """
    host, port = text.strip(), str(_DNS_PORT)
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} has no valid port")
    return dns.nameserver.Do53Nameserver(str(ipaddress.ip_address(host)), int(port))
