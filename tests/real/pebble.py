# SPDX-License-Identifier: Apache-2.0
"""Pebble, Let's Encrypt's ACME authority for tests, and a place to publish challenges.

https://github.com/letsencrypt/pebble describes its options. It forgets everything when it stops.
"""

import datetime
import http.server
import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.real import golang
from tests.real.nameserver import free_port
from tests.real.process import ServerProcess

_MODULE, _VERSION = "github.com/letsencrypt/pebble/v2", "v2.10.3"
_PREFIX = "/.well-known/acme-challenge/"
#: The external account that :class:`Pebble` knows: key ID and HMAC key.
EXTERNAL = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")
#: Pebble refuses names below it.
BLOCKED = "blocked.example"
PROFILES = {"default": 90 * 86400, "shortlived": 6 * 86400}  #: Lifetimes in seconds.


def program(name: str) -> str:
    """Return the path of ``pebble`` or ``pebble-challtestsrv``, which are built first.

    The test is skipped if they can't be built.
    """
    return str(
        golang.programs(_MODULE, _VERSION, ["cmd/pebble", "cmd/pebble-challtestsrv"]) / name
    )


class Published(ServerProcess):
    """A name server in which all names have the address 127.0.0.1, and a server for http-01.

    Attributes:
        http: key authorizations by token.
        http_port: of 127.0.0.1.
        asked: the name and path of each request to it, in order.
        delay: seconds before it answers.
    """

    def __init__(self) -> None:
        """Prepare without starting."""
        super().__init__()
        self.PROGRAM = program("pebble-challtestsrv")
        self.dns = f"127.0.0.1:{free_port()}"
        self._management = f"127.0.0.1:{free_port()}"
        self.http: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.delay = 0.0
        published = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host = self.headers["Host"].partition(":")[0]
                published.asked.append((host, self.path))
                time.sleep(published.delay)
                value = published.http.get(self.path.removeprefix(_PREFIX))
                body = (value or "").encode()
                self.send_response(404 if value is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http_port = self._server.server_address[1]

    def set_address(self, name: str, address: str) -> None:
        """Give a name another address than 127.0.0.1."""
        self._post("add-a", host=f"{name}.", addresses=[address])

    def set_txt(self, name: str, value: str) -> None:
        """Add a TXT record, besides others of the same name."""
        self._post("set-txt", host=f"{name}.", value=value)

    def clear_txt(self, name: str) -> None:
        """Remove a name's TXT records."""
        self._post("clear-txt", host=f"{name}.")

    def break_dns(self, name: str) -> None:
        """Answer queries for a name with SERVFAIL."""
        self._post("set-servfail", host=f"{name}.")

    def _post(self, path: str, **values: str | list[str]) -> None:
        reply = requests.post(f"http://{self._management}/{path}", json=values, timeout=10)
        assert reply.ok, reply.text

    def prepare(self) -> None:
        """Do nothing: it has no files."""

    def command(self, program: str) -> Sequence[str]:
        """Return its command line."""
        off = ["-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", "", "-defaultIPv6", ""]
        return [program, *off, "-dnsserver", self.dns, "-management", self._management]

    def answers(self) -> bool:
        """Return whether both of its ports are open."""
        return _open(self.dns) and _open(self._management)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return super().__enter__()

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        super().__exit__(_type, _value, _traceback)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


class Pebble(ServerProcess):
    """An authority in strict mode that validates without delay.

    Args:
        published: where it looks for challenges.
        nonce_reject: percentage of good nonces to refuse.
        authz_reuse: percentage of valid authorizations to reuse.
        external: whether accounts need :data:`EXTERNAL`.
    """

    def __init__(
        self,
        published: Published,
        *,
        nonce_reject: int = 0,
        authz_reuse: int = 0,
        external: bool = False,
    ) -> None:
        super().__init__()
        self.PROGRAM = program("pebble")
        self._published = published
        self._external = external
        self._variables: Mapping[str, Any] = {
            "PEBBLE_VA_NOSLEEP": 1,
            "PEBBLE_VA_ALWAYS_VALID": 0,
            "PEBBLE_WFE_NONCEREJECT": nonce_reject,
            "PEBBLE_AUTHZREUSE": authz_reuse,
        }
        self._port, self._management = free_port(), free_port()

    @property
    def directory_url(self) -> str:
        """The URL of the ACME directory."""
        return f"https://127.0.0.1:{self._port}/dir"

    @property
    def ca_file(self) -> Path:
        """The certificate of its API, for clients to trust. It stays the same after a restart."""
        return self.directory / "api.pem"

    def log(self) -> str:
        """Return its log."""
        return (self.directory / "log").read_text()

    def orders(self) -> int:
        """Return how many orders were created, unless it was restarted."""
        return len(re.findall(r"Added order ", self.log()))

    def certificates(self) -> int:
        """Return how many certificates were issued, unless it was restarted."""
        return len(re.findall(r"Issued certificate serial ", self.log()))

    def suggest(self, chain: str, answer: str) -> None:
        """Set what it answers when it is asked when to renew a certificate (RFC 9773)."""
        url = f"https://127.0.0.1:{self._management}/set-renewal-info/"
        body = {"certificate": chain, "ariResponse": answer}
        reply = requests.post(url, json=body, timeout=10, verify=str(self.ca_file))
        assert reply.ok, reply.text

    def root(self) -> x509.Certificate:
        """Return the root of issued certificates, which is new after each start."""
        url = f"https://127.0.0.1:{self._management}/roots/0"
        reply = requests.get(url, timeout=10, verify=str(self.ca_file))
        return x509.load_pem_x509_certificate(reply.content)

    def prepare(self) -> None:
        """Write the configuration and the certificate of the API."""
        write_certificate(self.directory / "api.pem", self.directory / "api-key.pem")
        settings = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": "api.pem",
            "privateKey": "api-key.pem",
            "httpPort": self._published.http_port,
            "tlsPort": 1,
            "externalAccountBindingRequired": self._external,
            "externalAccountMACKeys": dict([EXTERNAL]),
            "domainBlocklist": [BLOCKED],
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {
                name: {"description": name, "validityPeriod": seconds}
                for name, seconds in PROFILES.items()
            },
        }
        (self.directory / "pebble.json").write_text(json.dumps({"pebble": settings}))

    def command(self, program: str) -> Sequence[str]:
        """Return its command line."""
        variables = [f"{name}={value}" for name, value in self._variables.items()]
        return [
            *("env", *variables, program),
            *("-strict", "-config", "pebble.json", "-dnsserver", self._published.dns),
        ]

    def answers(self) -> bool:
        """Return whether both of its ports are open."""
        return all(_open(f"127.0.0.1:{port}") for port in (self._port, self._management))


def _open(address: str) -> bool:
    host, port = address.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def write_certificate(certificate: Path, key: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pebble")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    signed = builder.sign(private, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
