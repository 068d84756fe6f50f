# SPDX-License-Identifier: Apache-2.0
"""One name server: DNS messages to it, signed, with every failure as a driver error."""

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

#: Bytes; larger messages go by TCP at once: what networks carry in one piece (RFC 9715, 3.1).
MAX_UDP = 1232

#: Refusals of a message as such, which no waiting mends.
_HOPELESS: Mapping[int, str] = {
    dns.rcode.FORMERR: "does not understand it (FORMERR)",
    dns.rcode.NOTIMP: "does not do dynamic updates (NOTIMP)",
    dns.rcode.NOTZONE: "says that a name is not in the zone (NOTZONE)",
}
#: What the operator can mend while operations wait.
_REFUSES_US: Mapping[int, str] = {
    dns.rcode.REFUSED: "refuses it (REFUSED): may the key do that, or is the zone frozen?",
    dns.rcode.NOTAUTH: "does not have the zone, or not the TSIG key (NOTAUTH)",
}
_TSIG: Mapping[type[dns.exception.DNSException], str] = {
    dns.tsig.PeerBadKey: "does not know the TSIG key, or by another algorithm (BADKEY)",
    dns.tsig.PeerBadSignature: "has another secret for the TSIG key (BADSIG)",
    dns.tsig.PeerBadTime: "has a clock too different from this machine's (BADTIME)",
    dns.tsig.PeerBadTruncation: "wants longer TSIG signatures (BADTRUNC)",
}

#: Codes that say how things stand, and not that something went wrong.
_ANSWERS = {"NOERROR", "NXDOMAIN", "YXRRSET", "YXDOMAIN"}

_DNSSEC = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}

_ADDRESS = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<v6port>\d+))?|(?P<host>[^\[\]:]+)(?::(?P<port>\d+))?"
)


@dataclass(frozen=True)
class Server:
    """A name server that takes updates.

    Attributes:
        host: an address or a name.
        key: TSIG key that messages are signed with, and answers have to be.
        timeout: seconds for the answer to one message.
    """

    host: str
    port: int
    key: dns.tsig.Key | None
    timeout: float

    @classmethod
    def parse(cls, text: str, key: dns.tsig.Key | None, timeout: float) -> "Server":
        """From ``host``, ``host:port``, ``[address]`` or ``[address]:port``.

        Raises:
            ConfigError: it is none of these.
        """
        match = _ADDRESS.fullmatch(text.strip())
        port = int((match and (match["port"] or match["v6port"])) or 53)
        if match is None or not 0 < port < 65536:
            raise ConfigError(f"'{text}' is neither host:port nor [IPv6 address]:port")
        return cls(match["host"] or match["v6"], port, key, timeout)

    def update(self, update: dns.update.UpdateMessage, zone: str) -> bool:
        """Send an UPDATE; whether its prerequisites were met, so that it was done.

        Raises:
            RetryableError: no answer, or the server failed at it.
            Unauthorized: the server does not take the key, or the key may not do that.
            PermanentError: such an update is never done.
        """
        what = f"an update of zone {zone}"
        rcode = self._exchange(update, what).rcode()
        if rcode in (dns.rcode.YXRRSET, dns.rcode.YXDOMAIN):
            return False
        self._check(rcode, what)
        return True

    def look(self, name: dns.name.Name, rdtype: str) -> dns.message.Message:
        """What the server answers for a name, which may be that there is none.

        Raises:
            RetryableError: no answer, or one without meaning.
            PermanentError: such a query is never answered.
        """
        query = dns.message.make_query(name, rdtype, flags=0)
        what = f"a query for {rdtype} of {name}"
        # Servers are short about ANY by UDP (RFC 8482).
        answer = self._exchange(query, what, tcp=rdtype == "ANY")
        if answer.rcode() != dns.rcode.NXDOMAIN:
            self._check(answer.rcode(), what)
        return answer

    def types(self, name: dns.name.Name) -> list[str]:
        """The types of records that a name has, but for what DNSSEC adds by itself."""
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
                # By TCP when the answer does not fit.
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
                f"{self} answered {what} with what can't be read: {exc or type(exc).__name__}"
            ) from exc
        # Older dnspython checks a signature only if there is one.
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
        # A server that fails at one name may serve the others, but says the same when it is down.
        scope = Scope.PROVIDER if rcode == dns.rcode.SERVFAIL else Scope.SERVICE
        raise RetryableError(f"{self} does not do {what}: it answers {words}", scope=scope)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
