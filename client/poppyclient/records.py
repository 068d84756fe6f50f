# SPDX-License-Identifier: Apache-2.0
"""The DNS records of a service: as lines of a zone file, and how to look them up."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import dns.exception
import dns.nameserver
import dns.resolver
from osc_lib import exceptions

#: The status of a record that is right; others are ``missing``, ``wrong`` and ``unknown``.
OK = "ok"
#: Seconds for each lookup.
_TIMEOUT = 5.0
_DNS_PORT = 53
#: The maximum bytes of a string in a TXT record (RFC 1035, section 3.3).
_LONGEST_STRING = 255


@dataclass(frozen=True)
class Record:
    """A record, as in ``dns_records`` of a service."""

    domain: str
    purpose: str
    type: str
    name: str
    value: str
    provider: str | None
    status: str
    checked_at: str | None


def zone_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield lines of a zone file.

    An ALIAS is no record of a zone file, so it becomes a comment.
    """
    for record in records:
        if record.type == "TXT":
            yield f"{record.name}. IN TXT {_strings(record.value)}"
        elif record.type == "ALIAS":
            yield f"; {record.name}. needs an ALIAS or ANAME to {record.value.rstrip('.')}."
        else:
            yield f"{record.name}. IN {record.type} {record.value.rstrip('.')}."


class Lookup:
    """Looks up records.

    Args:
        nameserver: the resolver to ask, as ``<address>`` or ``<address>:<port>`` (``[...]:<port>``
            for IPv6); None for the system's.

    Raises:
        CommandError: the name server is not an address, or the system has none.
    """

    def __init__(self, nameserver: str | None = None) -> None:
        try:
            self._resolver = dns.resolver.Resolver(configure=nameserver is None)
            if nameserver is not None:
                self._resolver.nameservers = [_server(nameserver)]
        except (ValueError, dns.exception.DNSException) as exc:
            raise exceptions.CommandError(f"Name server: {exc}") from exc

    def status(self, record: Record) -> str:
        """Look a record up.

        Returns:
            ``ok``, ``wrong``, ``missing``, or ``unknown`` if no server answers.
        """
        try:
            if record.type == "ALIAS":
                found = self._addresses(record.name)
                right = bool(found & self._addresses(record.value))
            else:
                found = self._values(record.name, record.type)
                right = _canonical(record.type, record.value) in found
        except dns.exception.DNSException:
            return "unknown"
        if right:
            return OK
        return "wrong" if found else "missing"

    def _addresses(self, name: str) -> set[str]:
        return self._values(name, "A") | self._values(name, "AAAA")

    def _values(self, name: str, kind: str) -> set[str]:
        try:
            answer = self._resolver.resolve(name, kind, lifetime=_TIMEOUT, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return set()
        if kind == "TXT":
            return {b"".join(record.strings).decode("utf-8", "replace") for record in answer}
        return {_canonical(kind, record.to_text()) for record in answer}


def _canonical(kind: str, value: str) -> str:
    return value if kind == "TXT" else value.rstrip(".").lower()


def _strings(text: str) -> str:
    parts = [
        text[start : start + _LONGEST_STRING] for start in range(0, len(text), _LONGEST_STRING)
    ]
    escaped = (part.replace("\\", "\\\\").replace('"', '\\"') for part in parts)
    return " ".join(f'"{part}"' for part in escaped)


def _server(text: str) -> dns.nameserver.Nameserver:
    host, port = text, str(_DNS_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} has no valid port")
    return dns.nameserver.Do53Nameserver(str(ipaddress.ip_address(host)), int(port))
