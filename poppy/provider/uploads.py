# SPDX-License-Identifier: Apache-2.0
"""The checks of certificates that tenants bring."""

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from poppy.common.clock import now_utc
from poppy.common.errors import PermanentError
from poppy.edge.pem import MAX_CHAIN, MAX_KEY
from poppy.model.certificates import Uploaded

_MOST = 10  #: Certificates of a chain.
_MOST_NAMES = 1000  #: Of a certificate.
_RSA = range(2048, 4097)  #: Bits. A handshake with a longer key takes an edge too long.
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_PEM = serialization.Encoding.PEM


class Upload(NamedTuple):
    """A certificate and its key, checked.

    Attributes:
        chain: the certificates in PEM, the domain's first.
        key: the private key in PEM (PKCS #8).
        kind: of the key, such as ``RSA 2048`` or ``EC secp256r1``.
    """

    chain: tuple[str, ...]
    key: str
    kind: str


def checked(domains: Collection[str], chain: str, key: str) -> Upload:
    """Return a chain and its private key.

    Args:
        domains: those that the certificate must be for.
        chain: the domain's certificate first, each one issued by the next.
        key: RSA of 2048 to 4096 bits, or EC on P-256 or P-384; not encrypted.

    Raises:
        PermanentError: the message says what is wrong. It has nothing of the key.
    """
    certificates = _chain(chain)
    leaf, now = certificates[0], now_utc()
    if leaf.not_valid_after_utc <= now:
        raise PermanentError(f"The certificate has expired at {leaf.not_valid_after_utc}")
    if leaf.not_valid_before_utc > now:
        raise PermanentError(f"The certificate is not valid before {leaf.not_valid_before_utc}")
    for domain in sorted(domains):
        if not _covers(_names(leaf), domain):
            raise PermanentError(f"The certificate is not for {domain}")
    for number, (it, issuer) in enumerate(zip(certificates, certificates[1:], strict=False), 1):
        try:
            it.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise PermanentError(
                f"Certificate {number} of the chain is not issued by the next one"
            ) from None
    private = _key(key, leaf)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = private.private_bytes(_PEM, pkcs8, plain).decode()
    texts = tuple(it.public_bytes(_PEM).decode() for it in certificates)
    if sum(map(len, texts)) > MAX_CHAIN or len(pem) > MAX_KEY:
        raise PermanentError(f"The chain exceeds {MAX_CHAIN} bytes, or the key {MAX_KEY}")
    if isinstance(private, rsa.RSAPrivateKey):
        return Upload(texts, pem, f"RSA {private.key_size}")
    return Upload(texts, pem, f"EC {private.curve.name}")


def described(domain: str, leaf: x509.Certificate) -> Uploaded:
    """Return what a tenant sees of a certificate."""
    digest = hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).hexdigest()
    return Uploaded(domain, tuple(_names(leaf)), leaf.not_valid_after_utc, digest)


def _chain(text: str) -> Sequence[x509.Certificate]:
    if len(text) > MAX_CHAIN:
        raise PermanentError(f"The chain exceeds {MAX_CHAIN} bytes")
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise PermanentError("The chain is not a sequence of certificates in PEM") from None
    if len(found) > _MOST:
        raise PermanentError(f"The chain has {len(found)} certificates, more than {_MOST}")
    return found


def _names(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names, which alone count (RFC 9525, section 2)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        raise PermanentError("The certificate has no alternative names of its subject") from None
    names = found.value.get_values_for_type(x509.DNSName)
    if len(names) > _MOST_NAMES:
        raise PermanentError(f"The certificate has more than {_MOST_NAMES} names")
    return [name.lower() for name in names]


def _covers(names: Sequence[str], domain: str) -> bool:
    """Return whether a name matches: a wildcard stands for one label (RFC 9525, section 6.3)."""
    return domain in names or f"*.{domain.partition('.')[2]}" in names


def _key(text: str, leaf: x509.Certificate) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if len(text) > MAX_KEY:
        raise PermanentError(f"The key exceeds {MAX_KEY} bytes")
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, ArithmeticError):
        # Without its cause, which may quote the text.
        raise PermanentError("The key is not a private key in PEM without a password") from None
    except Exception:  # noqa: BLE001 - a key of an algorithm that is not supported
        raise PermanentError("The algorithm of the key is not supported") from None
    if isinstance(key, rsa.RSAPrivateKey):
        good = key.key_size in _RSA
    else:
        good = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)
    if not good or not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise PermanentError("The key must be RSA with 2048 to 4096 bits, or EC on P-256 or P-384")
    if key.public_key() != leaf.public_key():
        raise PermanentError("The key is not that of the first certificate of the chain")
    return key
