# SPDX-License-Identifier: Apache-2.0
"""The checks of certificates that tenants bring."""

import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from poppy.common.errors import PermanentError
from poppy.edge.program import Certificate, Program
from poppy.provider.edge import custom
from tests.certificates import Signed
from tests.unit.edge.test_program import PROGRAM

DOMAIN = "www.example.com"
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def root():
    return Signed("root")


@pytest.fixture(scope="module")
def issuer(root):
    return Signed("issuer", issuer=root)


@pytest.fixture(scope="module")
def site(issuer):
    return Signed("site", issuer=issuer, names=[DOMAIN, "*.example.org"])


@pytest.fixture(scope="module")
def long_key():
    return rsa.generate_private_key(65537, 2048)


def refused(chain, key, domain=DOMAIN):
    with pytest.raises(PermanentError) as caught:
        custom.checked(domain, chain, key)
    assert key[40:60] not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("domain", [DOMAIN, "any.example.org"])
def test_a_chain_in_order_is_accepted_as_nodes_need_it(site, issuer, root, domain):
    noise = "text\r\n\r\n" + (site.pem + issuer.pem + root.pem).replace("\n", "\r\n")
    chain, key = custom.checked(domain, noise, site.key_pem)
    certificate = Certificate((DOMAIN,), chain, key)
    program = Program("a1", (DOMAIN,), PROGRAM.origins, certificates=(certificate,))
    assert Program.from_json(program.to_json()) == program
    assert chain.count("BEGIN CERTIFICATE") == 3


def test_what_a_tenant_sees(site, issuer):
    chain, _ = custom.checked(DOMAIN, site.pem + issuer.pem, site.key_pem)
    found = custom.described(DOMAIN, chain)
    assert found.names == (DOMAIN, "*.example.org")
    assert found.expires_at == site.certificate.not_valid_after_utc
    assert found.fingerprint == site.fingerprint


def test_names_must_cover_the_domain(site):
    for domain in ("example.com", "a.b.example.org", "example.org", "xwww.example.com"):
        assert domain in refused(site.pem, site.key_pem, domain)


def test_certificates_must_be_valid_now(issuer):
    past = Signed("past", issuer=issuer, names=[DOMAIN], begin=-3 * DAY, end=-DAY)
    future = Signed("future", issuer=issuer, names=[DOMAIN], begin=DAY)
    assert "has expired at" in refused(past.pem, past.key_pem)
    assert "is not valid before" in refused(future.pem, future.key_pem)


def test_the_key_must_be_that_of_the_first_certificate(site, issuer):
    message = "not that of the first certificate"
    assert message in refused(site.pem + issuer.pem, issuer.key_pem)


def test_the_chain_must_be_in_order(site, issuer, root):
    assert "Certificate 1 of the chain" in refused(site.pem + root.pem, site.key_pem)
    wrong = site.pem + issuer.pem + site.pem
    assert "Certificate 2 of the chain" in refused(wrong, site.key_pem)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa1024", "p521", "k1", "ed25519"],
)
def test_other_keys_are_refused(issuer, key):
    site = Signed("site", issuer=issuer, names=[DOMAIN], key=key)
    assert "RSA with 2048 to 4096 bits" in refused(site.pem, site.key_pem)


def test_rsa_is_accepted(issuer, long_key):
    site = Signed("site", issuer=issuer, names=[DOMAIN], key=long_key)
    assert custom.checked(DOMAIN, site.pem, site.key_pem)


def test_encrypted_and_unreadable_keys_are_refused(site):
    encrypted = site.encrypted_key("secret")
    assert "without a password" in refused(site.pem, encrypted)
    assert "without a password" in refused(site.pem, site.key_pem[:100])
    assert "not a sequence of certificates" in refused("", site.key_pem)
    assert "not a sequence of certificates" in refused(site.key_pem, site.key_pem)


def test_sizes_are_bounded(site):
    assert "exceeds 32768 bytes" in refused(site.pem * 100, site.key_pem)
    assert "more than 10" in refused(site.pem * 11, site.key_pem)
    assert "exceeds 8192 bytes" in refused(site.pem, site.key_pem + "x" * 8192)
