# SPDX-License-Identifier: Apache-2.0
"""HAProxy with the sections of :mod:`poppy.edge.plane.origins`, and origins for it."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from oslo_config import cfg

from poppy.edge import options
from poppy.edge.plane import origins, origins_options
from poppy.edge.plane.files import Files
from poppy.edge.program import Upstream
from tests.real.process import ServerProcess

#: The ID of the service of requests.
SERVICE = "s-1"

_TIMEOUT = 15.0  # Seconds.
_CONFIG = """\
global
    nbthread 1
    tune.bufsize 81920
    log stdout format raw local0
{sections}"""


def make_settings(**overrides: Any) -> options.Settings:
    """Return a node's settings with short timeouts.

    Args:
        **overrides: options of the group ``[edge]``.
    """
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([], project="poppy-edge")
    short = {"connect_timeout": 1.0, "first_byte_timeout": 1.5, "between_bytes_timeout": 1.5}
    for name, value in {**short, **overrides}.items():
        conf.set_override(name, value, group="edge")
    return options.read(conf)


class Answer(NamedTuple):
    """A response; names of fields are in lower case, as received."""

    status: int
    fields: Sequence[tuple[str, str]]
    body: bytes
    is_whole: bool

    def value(self, name: str) -> str | None:
        """Return the first value of a field."""
        return next((value for key, value in self.fields if key == name), None)


class OriginSide(ServerProcess):
    """HAProxy towards the origins, without Varnish and the front."""

    PROGRAM = "haproxy"
    PACKAGE = "haproxy"

    def __init__(self, settings: options.Settings, more: str = "") -> None:
        """Prepare without starting.

        Args:
            settings: of the node.
            more: sections to add to the configuration.
        """
        super().__init__()
        self._settings, self._more = settings, more

    def prepare(self) -> None:
        """Write haproxy.cfg."""
        settings = replace(self._settings, state_directory=self.directory)
        files = Files(settings)
        files.policies.mkdir(parents=True)
        files.sick.touch()
        sections = origins.section(settings, self.directory)
        (self.directory / "haproxy.cfg").write_text(_CONFIG.format(sections=sections) + self._more)

    def refers(self, *upstreams: Upstream) -> Sequence[str]:
        """Write the options of the origins of a service, and return the entries of the origins."""
        entries, digest, content = origins_options.entries(upstreams, self._settings)
        path = Files(replace(self._settings, state_directory=self.directory)).policies
        (path / f"{SERVICE}-{digest}").write_text(content)
        return entries

    def command(self, program: str) -> Sequence[str]:
        """Run in the foreground."""
        return [program, "-db", "-dW", "-f", str(self.directory / "haproxy.cfg")]

    def answers(self) -> bool:
        """Return whether it accepts connections."""
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> socket.socket:
        """Return a connection like one of Varnish."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(str(self.directory / "origin.sock"))
        except OSError:
            connection.close()
            raise
        return connection

    def ask(
        self,
        origin: str,
        method: str = "GET",
        path: str = "/",
        body: bytes | None = None,
        tls: bool = False,
        **fields: str,
    ) -> Answer:
        """Send a request to ``host:port``, or an entry, and return the response."""
        sent = {
            "Host": "www.example.com",
            "x-p-origin": origin if "|" in origin else f"{origin}|{'1' if tls else ''}",
            "x-p-service": SERVICE,
            **fields,
        }
        client = http.client.HTTPConnection("www.example.com")
        client.sock = self.connect()
        with client.sock.dup() as end:
            # HAProxy may answer and close before it has read the body.
            with contextlib.suppress(BrokenPipeError):
                client.request(method, path, body, sent)
            response = client.getresponse()
            found = [(name.lower(), value) for name, value in response.getheaders()]
            try:
                answer = Answer(response.status, found, response.read(), True)
            except http.client.IncompleteRead as exc:
                answer = Answer(response.status, found, exc.partial, False)
            client.close()
            # Only then is the origin's connection free for the next request.
            with contextlib.suppress(ConnectionError):
                assert not end.recv(1)
        return answer

    def log(self) -> str:
        """Return what it has logged."""
        return (self.directory / "log").read_text()

    def logged(self, origin: str) -> str:
        """Wait for the line about a failed request to ``host:port``, and return it."""
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            for line in self.log().splitlines():
                if line.startswith(f"origin {origin} "):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"nothing is logged about {origin}")


class Request(NamedTuple):
    """A request as an origin received it.

    Attributes:
        connection: the number of the connection, from 1.
        name: the server name that the client asked for (SNI), if any.
    """

    connection: int
    name: str | None
    method: str
    path: str
    fields: Sequence[tuple[str, str]]
    body: bytes

    def value(self, name: str) -> str | None:
        """Return the first value of a field."""
        return next((value for key, value in self.fields if key.lower() == name), None)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: What an origin does with a request; False closes the connection.
Reply = Callable[[socket.socket, Request], bool]


def sends(*parts: bytes, keeps: bool = True) -> Reply:
    """Return a reply of these bytes."""

    def reply(connection: socket.socket, _request: Request) -> bool:
        for part in parts:
            connection.sendall(part)
        return keeps

    return reply


@dataclass
class Origin:
    """A server that answers on raw connections.

    Args:
        address: of loopback.
        reply: for all requests; may be replaced.
        tls: for TLS.
        names: for TLS with these names.
        port: a free one by default.

    Attributes:
        requests: those received, in order.
        alpn: the protocols that clients of TLS offered and the server chose.
    """

    address: str = "127.1.0.1"
    reply: Reply = sends(OK)
    tls: ssl.SSLContext | None = None
    port: int = 0
    names: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    alpn: list[str | None] = field(default_factory=list)

    def __enter__(self) -> Self:
        version = ip_address(self.address).version
        self._listener = socket.create_server(
            (self.address, self.port),
            family=socket.AF_INET6 if version == 6 else socket.AF_INET,
        )
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse connections, and close those that are open."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @property
    def at(self) -> str:
        """``address:port``."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else self.named(self.address)

    def named(self, name: str) -> str:
        """Return ``name:port``."""
        return f"{name}:{self.port}"

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(_TIMEOUT)
        names: list[str | None] = []

        def named(wrapped: ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
            names.append(name)
            wrapped.context = self.names.get(name or "", context)

        with contextlib.suppress(OSError, ValueError):
            if self.tls is not None:
                self.tls.sni_callback = named
                connection = self.tls.wrap_socket(connection, server_side=True)
                self.alpn.append(connection.selected_alpn_protocol())
            with connection.makefile("rb") as stream:
                while self._serve_one(connection, stream, number, (names or [None])[0]):
                    pass
        connection.close()

    def _serve_one(
        self, connection: socket.socket, stream: BinaryIO, number: int, name: str | None
    ) -> bool:
        line = stream.readline().decode("latin-1").split()
        if len(line) != 3:
            # Without a request this was only a test of the address.
            return False
        fields = http.client.parse_headers(stream)
        body = stream.read(int(fields.get("Content-Length", 0)))
        request = Request(number, name, line[0], line[1], fields.items(), body)
        self.requests.append(request)
        return self.reply(connection, request)


class Authority:
    """A certificate authority.

    Args:
        directory: for the files.
    """

    def __init__(self, directory: Path, name: str = "authority") -> None:
        """Create its certificate, ``file``."""
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        usage = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._name, self._key.public_key(), 1)
        certificate = certificate.add_extension(usage, critical=True)
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(
            certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def context(self, name: str, days: int = 1) -> ssl.SSLContext:
        """Return a server's settings with a certificate for a name.

        Args:
            days: of its validity from now; negative: it has expired.
        """
        file = self._directory / f"{name}-{days}-{self.file.stem}.pem"
        file.write_text("".join(self.issue(name, days=days)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def issue(self, *names: str, days: int = 1) -> tuple[str, str]:
        """Return a certificate for names, and its private key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        certificate = self._builder(subject, key.public_key(), days)
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        certificate = certificate.add_extension(alternatives, critical=False)
        signed = certificate.sign(self._key, hashes.SHA256())
        return (
            signed.public_bytes(serialization.Encoding.PEM).decode(),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        end = datetime.now(UTC) + timedelta(days=days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - timedelta(days=30))
            .not_valid_after(end)
        )


def _alternative(name: str) -> x509.GeneralName:
    """Return a name, or an address as one (RFC 5280, section 4.2.1.6)."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
