# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``rfc2136``: options, and unusual answers."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import dns.rcode
import pytest

from poppy.common import tracing
from poppy.common.errors import (
    ConfigError,
    PermanentError,
    RetryableError,
    Scope,
    Unauthorized,
)
from poppy.dns.rfc2136.driver import RFC2136
from poppy.dns.rfc2136.server import Server
from tests.spans import Spans
from tests.unit.dns.making import make_driver

KEY = {"tsig_key_name": "poppy", "tsig_key_secret": "c2VjcmV0"}
NAME = "www.example.org.cdn.example.net"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("ns.example.net:5353", "ns.example.net", 5353),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
    ],
)
def test_servers_are_parsed(text: str, host: str, port: int) -> None:
    server = Server.parse(text, None, 1.0)
    assert (server.host, server.port) == (host, port)


@pytest.mark.parametrize("text", ["", "a:b", "2001:db8::1", "ns:0", "ns:99999", "[::1]53"])
def test_invalid_servers_are_reported(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\[drivers:dns:tested\]"):
        make_driver(RFC2136, servers=[text])


def test_a_server_is_required() -> None:
    with pytest.raises(ConfigError, match="servers"):
        make_driver(RFC2136, servers=[])


TOO_LONG = ".".join(["a" * 60] * 4) + ".com.cdn.example.net"


def test_an_impossible_name_is_refused_and_counts_as_removed() -> None:
    """No query is sent: there is no server at this port."""
    driver = make_driver(RFC2136, servers=["127.0.0.1:1"], zones=["cdn.example.net"])
    with pytest.raises(PermanentError, match="can't be in DNS"):
        driver.ensure({TOO_LONG: "edge.example.com"})
    with pytest.raises(PermanentError, match="can't be in DNS"):
        driver.ensure({NAME: TOO_LONG})
    driver.remove([TOO_LONG, f"{'a' * 64}.cdn.example.net"])


@pytest.mark.parametrize("missing", KEY)
def test_an_incomplete_key_is_reported(missing: str) -> None:
    options = {name: value for name, value in KEY.items() if name != missing}
    with pytest.raises(ConfigError, match="go together"):
        make_driver(RFC2136, **options)


def test_an_invalid_secret_is_reported_but_not_shown() -> None:
    with pytest.raises(ConfigError, match="not base64") as caught:
        make_driver(RFC2136, tsig_key_name="poppy", tsig_key_secret="s3cr*t")
    assert "s3cr*t" not in str(caught.value)


@contextlib.contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Run a server with scripted answers, and yield its address."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, client = sock.recvfrom(65535)
                if data == b"end":
                    return
                sock.sendto(answer(data), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "{}:{}".format(*sock.getsockname())
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as other:
                other.sendto(b"end", sock.getsockname())
            thread.join()


def plain(rcode: int) -> Callable[[bytes], bytes]:
    """Answer with a code only (RFC 1035, section 4.1; RFC 2136, section 2.2)."""

    def answer(asked: bytes) -> bytes:
        opcode = asked[2] & 0x78
        flags = bytes([0x80 | opcode, rcode])
        if opcode:
            return asked[:2] + flags + bytes(8)
        return asked[:2] + flags + asked[4:6] + bytes(6) + asked[12:]

    return answer


def test_an_unsigned_answer_is_refused() -> None:
    with answering(plain(dns.rcode.NOERROR)) as address:
        driver = make_driver(RFC2136, servers=[address], zones=["example.net"], **KEY)
        with pytest.raises(RetryableError, match="without a signature|requires a TSIG"):
            driver.remove([NAME])


@pytest.mark.parametrize(
    ("rcode", "error", "words"),
    [
        (dns.rcode.SERVFAIL, RetryableError, "SERVFAIL"),
        (dns.rcode.REFUSED, Unauthorized, "zone is frozen"),
        (dns.rcode.NOTAUTH, Unauthorized, "NOTAUTH"),
        (dns.rcode.NOTIMP, PermanentError, "does not support dynamic updates"),
        (dns.rcode.NOTZONE, PermanentError, "not in the zone"),
        (dns.rcode.FORMERR, PermanentError, "FORMERR"),
        (dns.rcode.NXRRSET, RetryableError, "answers NXRRSET"),
    ],
)
def test_refusals_are_distinguished(rcode: int, error: type[Exception], words: str) -> None:
    with answering(plain(rcode)) as address:
        driver = make_driver(RFC2136, servers=[address], zones=["example.net"])
        with pytest.raises(error, match=rf"{address} does not do an update of .*{words}"):
            driver.ensure({NAME: "edge.example.com"})


@pytest.mark.parametrize(
    ("rcode", "scope"),
    [
        (dns.rcode.SERVFAIL, Scope.PROVIDER),
        (dns.rcode.NXRRSET, Scope.SERVICE),
        (dns.rcode.REFUSED, Scope.PROVIDER),
    ],
)
def test_scopes_of_refusals(rcode: int, scope: Scope) -> None:
    with answering(plain(rcode)) as address:
        driver = make_driver(RFC2136, servers=[address], zones=["example.net"])
        with pytest.raises(RetryableError) as caught:
            driver.ensure({NAME: "edge.example.com"})
    assert caught.value.scope is scope


def test_an_update_that_is_not_served_yet_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secondary that forwards updates serves them only after the next transfer."""
    # The query uses TCP, which this server does not support.
    monkeypatch.setattr(Server, "types", lambda self, name: [])
    with answering(plain(dns.rcode.NOERROR)) as address:
        driver = make_driver(RFC2136, servers=[address], zones=["example.net"])
        with pytest.raises(RetryableError, match="does not serve .* yet"):
            driver.ensure({NAME: "edge.example.com"})


def test_an_invalid_dns_message_is_reported() -> None:
    def answer(asked: bytes) -> bytes:
        return asked[:2] + b"\xa8\x00\x00"

    with answering(answer) as address:
        driver = make_driver(RFC2136, servers=[address], zones=["example.net"], timeout=0.5)
        with pytest.raises(RetryableError, match=f"{address} "):
            driver.remove([NAME])
        assert driver.health() is False


@pytest.mark.parametrize(
    ("rcode", "error_type"), [(dns.rcode.NOERROR, None), (dns.rcode.REFUSED, "REFUSED")]
)
def test_messages_are_traced(rcode: int, error_type: str | None, spans: Spans) -> None:
    with answering(plain(rcode)) as address, tracing.span("call", parent={}):
        driver = make_driver(RFC2136, servers=[address], zones=["example.net"], timeout=0.5)
        with contextlib.suppress(RetryableError):
            driver.ensure({NAME: "edge.example.com"})
    update = spans.named("DNS UPDATE")[0]
    assert update.attributes["server.address"] == "127.0.0.1"
    assert update.attributes["dns.question.name"] == "example.net."
    assert update.attributes.get("error.type") == error_type


def test_a_missing_answer_is_traced_as_a_failure(spans: Spans) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, tracing.span("call", parent={}):
        sock.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*sock.getsockname())
        driver = make_driver(RFC2136, servers=[address], zones=["example.net"], timeout=0.1)
        with pytest.raises(RetryableError):
            driver.ensure({NAME: "edge.example.com"})
    assert spans.named("DNS UPDATE")[0].attributes["error.type"] == "TimedOut"
