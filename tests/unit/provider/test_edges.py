# SPDX-License-Identifier: Apache-2.0
"""The edge check sends a real request and takes a bounded time."""

import datetime
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from poppy.common import config
from poppy.provider import edges
from poppy.provider.mock import MockProvider
from poppy.testing.edge_outages import Edge


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (200, True),
        (204, True),
        (301, True),
        (304, True),
        (400, False),
        (404, False),
        (429, False),
        (500, False),
        (503, False),
        ("close", False),
        ("garbage", False),
        ("endless", True),
    ],
)
def test_the_status_decides_whether_an_edge_serves(behaviour, expected):
    with Edge() as server:
        server.behaviour = behaviour
        assert edges.answers(server.url, 5) is expected
        assert server.asked == ["GET /alive HTTP/1.1"], "redirects are not followed"


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_slow_response_takes_at_most_the_timeout(behaviour):
    with Edge() as server:
        server.behaviour = behaviour
        began = time.monotonic()
        assert edges.answers(server.url, 0.3) is False
        assert time.monotonic() - began < 2


def test_a_closed_port_does_not_serve():
    with Edge() as server:
        pass
    assert edges.answers(server.url, 1) is False
    assert edges.answers("http://no-such-host.invalid/", 5) is False


def self_signed(name: str) -> bytes:
    """Return a certificate for a name with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem) + key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_certificates_are_checked(tmp_path, monkeypatch):
    path = tmp_path / "edge.pem"
    path.write_bytes(self_signed("localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with Edge("localhost") as server:
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        assert edges.answers(url, 5) is False
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert edges.answers(url, 5) is True
        assert edges.answers(url.replace("localhost", "127.0.0.1"), 5) is False, "another's name"


def test_the_option_is_a_url_of_a_web_server():
    conf = config.new()
    conf([])
    group = "drivers:provider:mock"
    provider = MockProvider(conf, "mock")
    assert provider.options.edge_check_url is None
    conf.set_override("edge_check_url", "https://edge.example.com/alive", group=group)
    assert provider.options.edge_check_url == "https://edge.example.com/alive"
    with pytest.raises(ValueError, match="ftp"):
        conf.set_override("edge_check_url", "ftp://edge.example.com/", group=group)
