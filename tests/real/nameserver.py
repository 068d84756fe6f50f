# SPDX-License-Identifier: Apache-2.0
"""The base of the tests' name servers: two zones for Poppy, and how to look at them."""

import base64
import contextlib
import secrets
import socket

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.tsig
import dns.update
import dns.zone

from tests.real.process import ServerProcess

SUFFIX = "cdn.example.net"
SHARED_SUFFIX = "secure.example.net"
ZONES = (SUFFIX, SHARED_SUFFIX)

ZONE_FILE = """$TTL 60
@ SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 1
@ NS ns.example.net.
taken A 192.0.2.1
odd HINFO "odd" "odd"
"""


class NameServer(ServerProcess):
    """An authoritative server for :data:`ZONES`, on a free port of 127.0.0.1.

    Attributes:
        key_name: the TSIG key that may change the zones.
        secret: of that key, in base64.
    """

    key_name = "poppy"

    def __init__(self) -> None:
        """Prepare without starting."""
        super().__init__()
        # BIND listens on addresses of interfaces, and loopback may have just one.
        self.host, self.port = "127.0.0.1", free_port()
        self.secret = base64.b64encode(secrets.token_bytes(32)).decode()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def key(self) -> dns.tsig.Key | None:
        """The TSIG key, if there is one."""
        return dns.tsig.Key(self.key_name, self.secret, "hmac-sha256")

    def answers(self) -> bool:
        """Return whether it serves its last zone."""
        query = dns.message.make_query(ZONES[-1], "SOA")
        try:
            answer = dns.query.udp(query, self.host, 0.5, self.port)
        except (dns.exception.DNSException, OSError):
            return False
        return answer.rcode() == dns.rcode.NOERROR and bool(answer.answer)

    def resolve(self, name: str) -> str | None:
        """Return the CNAME of a name as a resolver finds it; None if there is none."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [self.host], self.port
        resolver.lifetime = 5
        try:
            answer = resolver.resolve(dns.name.from_text(name), "CNAME")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        return str(answer[0].target.to_text(omit_final_dot=True))

    def values(self, name: str, kind: str) -> set[str]:
        """Return the strings of a name's TXT records, or the text of other records."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, self.host, 5, self.port).answer
        return {
            b"".join(record.strings).decode() if kind == "TXT" else record.to_text()
            for found in answer
            for record in found
        }

    def ttl(self, name: str) -> int:
        """Return the TTL of a name's CNAME."""
        query = dns.message.make_query(name, "CNAME")
        return int(dns.query.udp(query, self.host, 5, self.port).answer[0].ttl)

    def serial(self, zone: str) -> int:
        """Return the serial number of a zone, which grows by one with each update."""
        query = dns.message.make_query(zone, "SOA")
        return int(dns.query.udp(query, self.host, 5, self.port).answer[0][0].serial)

    def records(self, zone: str = SUFFIX) -> dict[tuple[str, str], list[str]]:
        """Return all records of a zone except its SOA: data by name and type."""
        found = dns.zone.Zone(zone, relativize=False)
        query = dns.message.make_query(zone, "AXFR")
        if self.key is not None:
            query.use_tsig(self.key)
        dns.query.inbound_xfr(self.host, found, query, port=self.port, lifetime=10)
        return {
            (name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rdataset.rdtype)): sorted(
                data.to_text() for data in rdataset
            )
            for name, rdataset in found.iterate_rdatasets()
            if rdataset.rdtype != dns.rdatatype.SOA
        }

    def change(self, zone: str, *changes: tuple[str, ...]) -> None:
        """Change a zone by hand: ``(name, type)`` removes; with a TTL and data, it adds."""
        update = dns.update.UpdateMessage(zone, keyring=self.key)
        for name, rdtype, *data in changes:
            if data:
                update.add(dns.name.from_text(name), 60, rdtype, *data)
            else:
                update.delete(dns.name.from_text(name), rdtype)
        answer = dns.query.tcp(update, self.host, 5, self.port)
        assert answer.rcode() == dns.rcode.NOERROR, answer

    def clear(self) -> None:
        """Remove every CNAME."""
        for zone in ZONES:
            found = [key for key in self.records(zone) if key[1] == "CNAME"]
            if found:
                self.change(zone, *found)


def free_port() -> int:
    """Return a port that is free for UDP and TCP."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagram.bind(("127.0.0.1", port))
                return port
