# SPDX-License-Identifier: Apache-2.0
"""A DNS client for one name server, with TSIG. Every failure becomes a driver error."""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update

from poppy.common import tracing
from poppy.common.errors import (
    ConfigError,
    PermanentError,
    RetryableError,
    Scope,
    TimedOut,
    Unauthorized,
)

#: Bytes; larger messages use TCP, to avoid fragmentation (RFC 9715, section 3.1).
MAX_UDP = 1232

#: Response codes for which a retry does not help.
_HOPELESS: Mapping[int, str] = {
    dns.rcode.FORMERR: "does not understand it (FORMERR)",
    dns.rcode.NOTIMP: "does not support dynamic updates (NOTIMP)",
    dns.rcode.NOTZONE: "says that a name is not in the zone (NOTZONE)",
}
#: Response codes that the operator can fix while operations wait.
_REFUSES_US: Mapping[int, str] = {
    dns.rcode.REFUSED: "refuses it (REFUSED): the key may lack permission, or the zone is frozen",
    dns.rcode.NOTAUTH: "does not have the zone or the TSIG key (NOTAUTH)",
}
_TSIG: Mapping[type[dns.exception.DNSException], str] = {
    dns.tsig.PeerBadKey: "does not know the TSIG key, or has another algorithm for it (BADKEY)",
    dns.tsig.PeerBadSignature: "has another secret for the TSIG key (BADSIG)",
    dns.tsig.PeerBadTime: "has a clock too different from this machine's (BADTIME)",
    dns.tsig.PeerBadTruncation: "requires longer TSIG signatures (BADTRUNC)",
}

#: Response codes that are not failures.
_ANSWERS = {"NOERROR", "NXDOMAIN", "YXRRSET", "YXDOMAIN"}

_DNSSEC = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}

_ADDRESS = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<v6port>\d+))?|(?P<host>[^\[\]:]+)(?::(?P<port>\d+))?"
)


@dataclass(frozen=True)
class Server:
    """A name server that accepts updates.

    Attributes:
        host: an address or a name.
        key: the TSIG key that signs messages; answers must be signed with it too.
        timeout: seconds to wait for the answer to a message.
    """

    host: str
    port: int
    key: dns.tsig.Key | None
    timeout: float

    @classmethod
    def parse(cls, text: str, key: dns.tsig.Key | None, timeout: float) -> "Server":
        """Parse ``host``, ``host:port``, ``[address]`` or ``[address]:port``.

        Raises:
            ConfigError: the text has none of these forms.
        """
        match = _ADDRESS.fullmatch(text.strip())
        port = int((match and (match["port"] or match["v6port"])) or 53)
        if match is None or not 0 < port < 65536:
            raise ConfigError(f"'{text}' is neither host:port nor [IPv6 address]:port")
        return cls(match["host"] or match["v6"], port, key, timeout)

    def update(self, update: dns.update.UpdateMessage, zone: str) -> bool:
        """Send an UPDATE. Return False if a prerequisite was not met and nothing was changed.

        Raises:
            RetryableError: no answer, or a server failure.
            Unauthorized: the server refuses the key or its permissions.
            PermanentError: a retry does not help.
        """
        what = f"an update of zone {zone}"
        rcode = self._exchange(update, what).rcode()
        if rcode in (dns.rcode.YXRRSET, dns.rcode.YXDOMAIN):
            return False
        self._check(rcode, what)
        return True

    def look(self, name: dns.name.Name, rdtype: str) -> dns.message.Message:
        """Query a name and return the answer, which may be NXDOMAIN.

        Raises:
            RetryableError: no answer, or an unusable one.
            PermanentError: a retry does not help.
        """
        query = dns.message.make_query(name, rdtype, flags=0)
        what = f"a query for {rdtype} of {name}"
        # Servers may answer ANY over UDP with a subset (RFC 8482).
        answer = self._exchange(query, what, tcp=rdtype == "ANY")
        if answer.rcode() != dns.rcode.NXDOMAIN:
            self._check(answer.rcode(), what)
        return answer

    def types(self, name: dns.name.Name) -> list[str]:
        """Return the types of a name's records, without those that DNSSEC adds."""
        found = {entry.rdtype for entry in self.look(name, "ANY").answer if entry.name == name}
        return sorted(map(dns.rdatatype.to_text, found - _DNSSEC))

    def _exchange(
        self, message: dns.message.Message, what: str, tcp: bool = False
    ) -> dns.message.Message:
        opcode = dns.opcode.to_text(message.opcode())
        with tracing.span(f"DNS {opcode}", tracing.Kind.CLIENT) as span:
            if span.recording:
                span.set({"server.address": self.host, "server.port": self.port})
                span.set({"dns.question.name": str(message.question[0].name)})
            answer = self._send(message, what, tcp)
            rcode = dns.rcode.to_text(answer.rcode())
            span.set({"poppy.dns.rcode": rcode})
            if rcode not in _ANSWERS:
                span.fail(rcode)
        return answer

    def _send(self, message: dns.message.Message, what: str, tcp: bool) -> dns.message.Message:
        if self.key is not None:
            message.use_tsig(self.key)
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
            address = str(found[0][4][0])
            if tcp or len(message.to_wire()) > MAX_UDP:
                answer = dns.query.tcp(message, address, self.timeout, self.port)
            else:
                # Falls back to TCP if the answer is truncated.
                answer, _by_tcp = dns.query.udp_with_fallback(
                    message, address, self.timeout, self.port, ignore_unexpected=True
                )
        except tuple(_TSIG) as exc:
            raise Unauthorized(f"{self} does not do {what}: it {_TSIG[type(exc)]}") from exc
        except (dns.exception.Timeout, OSError, EOFError) as exc:
            if isinstance(exc, dns.exception.Timeout | TimeoutError):
                raise TimedOut(f"{self} did not answer {what} in time") from exc
            raise RetryableError(
                f"{self} did not answer {what} ({exc})", scope=Scope.PROVIDER
            ) from exc
        except dns.exception.DNSException as exc:
            raise RetryableError(
                f"{self} sent an invalid answer to {what}: {exc or type(exc).__name__}"
            ) from exc
        # Older dnspython versions accept an answer without a signature.
        if self.key is not None and not answer.had_tsig and answer.rcode() == dns.rcode.NOERROR:
            raise RetryableError(f"{self} answered {what} without a signature")
        return answer

    def _check(self, rcode: int, what: str) -> None:
        if rcode == dns.rcode.NOERROR:
            return
        if rcode in _HOPELESS:
            raise PermanentError(f"{self} does not do {what}: it {_HOPELESS[rcode]}")
        if rcode in _REFUSES_US:
            raise Unauthorized(f"{self} does not do {what}: it {_REFUSES_US[rcode]}")
        words = dns.rcode.to_text(dns.rcode.Rcode(rcode))
        # SERVFAIL may concern one name, but a server that is down also sends it.
        scope = Scope.PROVIDER if rcode == dns.rcode.SERVFAIL else Scope.SERVICE
        raise RetryableError(f"{self} does not do {what}: it answers {words}", scope=scope)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
