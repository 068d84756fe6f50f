# SPDX-License-Identifier: Apache-2.0
"""Private keys, certificates and activations of a customer, for :mod:`tests.real.fastly`.

The rules are those of https://www.fastly.com/documentation/reference/api/tls/custom-certs/ and of
the guide "Setting up TLS with your own certificates"; the form of the answers is that of the
recordings in https://github.com/fastly/go-fastly. A private key is never in an answer.
"""

import hashlib
import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.real.fastly_tls import TLS, RefusedByTLS

Document = dict[str, Any]


@dataclass
class Key:
    """A private key, of which only the digest of the public one is kept."""

    key_id: str
    name: str
    sha1: str
    kind: str
    length: int

    def data(self, created_at: str | None) -> Document:
        """Return its resource object."""
        attributes = {
            "name": self.name,
            "key_length": self.length,
            "key_type": self.kind,
            "created_at": created_at,
            "replace": False,
            "public_key_sha1": self.sha1,
        }
        return {"id": self.key_id, "type": "tls_private_key", "attributes": attributes}


@dataclass
class Certificate:
    """An uploaded certificate."""

    certificate_id: str
    name: str
    sha1: str
    chain: list[x509.Certificate]

    @property
    def domains(self) -> list[str]:
        """The DNS names of the first certificate."""
        found = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return found.value.get_values_for_type(x509.DNSName)

    def data(self) -> Document:
        """Return its resource object, which has no text in PEM."""
        leaf = self.chain[0]
        attributes = {
            "name": self.name,
            "created_at": "2030-01-02T03:04:05.000Z",
            "not_after": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%S.000Z}",
            "not_before": f"{leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%S.000Z}",
            "replace": False,
            "serial_number": str(leaf.serial_number),
        }
        named = [{"type": "tls_domain", "id": domain} for domain in self.domains]
        return {
            "id": self.certificate_id,
            "type": "tls_certificate",
            "attributes": attributes,
            "relationships": {"tls_domains": {"data": named}},
        }


@dataclass
class Activation:
    """The use of a certificate for a domain."""

    activation_id: str
    certificate: str
    configuration: str
    domain: str

    def data(self) -> Document:
        """Return its resource object."""
        related = {
            "tls_certificate": self.certificate,
            "tls_configuration": self.configuration,
            "tls_domain": self.domain,
        }
        return {
            "id": self.activation_id,
            "type": "tls_activation",
            "attributes": {"created_at": "2030-01-02T03:04:05.000Z"},
            "relationships": {
                name: {"data": {"type": name, "id": value}} for name, value in related.items()
            },
        }


class CustomTLS:
    """The keys and certificates that were uploaded to an account.

    Attributes:
        unique: whether a key, and a certificate, can be uploaded once only.
        keys, certificates, activations: by ID.
    """

    def __init__(self, tls: TLS, serves: Callable[[str], object]) -> None:
        self.unique = True
        self.keys: dict[str, Key] = {}
        self.certificates: dict[str, Certificate] = {}
        self.activations: dict[str, Activation] = {}
        self._tls = tls
        self._serves = serves
        self._ids = itertools.count(1)

    def active(self, domain: str) -> Certificate | None:
        """Return the certificate with which a domain is served."""
        for activation in self.activations.values():
            if activation.domain == domain:
                return self.certificates[activation.certificate]
        return None

    def list_keys(self, query: Mapping[str, str]) -> Document:
        """Return a page of keys; ``filter[in_use]`` is ``false``, if it is there."""
        _only(query, {"filter[in_use]"})
        if query.get("filter[in_use]", "false") != "false":
            raise RefusedByTLS(400, "Bad request", "filter[in_use] must be false")
        used = {it.sha1 for it in self.certificates.values()}
        found = [
            it.data("2030-01-02T03:04:05.000Z")
            for it in self.keys.values()
            if "filter[in_use]" not in query or it.sha1 not in used
        ]
        return _page(found, query)

    def add_key(self, body: Document) -> Document:
        """Upload a key: RSA with 2048 bits, or EC with 256 or 384."""
        attributes = _attributes(body, "tls_private_key", {"key", "name"})
        try:
            key = serialization.load_pem_private_key(attributes["key"].encode(), None)
        except (ValueError, TypeError):
            raise RefusedByTLS(400, "Bad request", "Key must be in PEM format") from None
        good = isinstance(key, rsa.RSAPrivateKey) and key.key_size == 2048
        good |= isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size in {256, 384}
        if not good or not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise RefusedByTLS(400, "Bad request", "Key type or length is not supported")
        sha1 = _sha1(key.public_key())
        if self.unique and sha1 in {it.sha1 for it in self.keys.values()}:
            raise RefusedByTLS(400, "Bad request", "Key has already been taken")
        kind = "RSA" if isinstance(key, rsa.RSAPrivateKey) else "ECDSA"
        made = Key(f"KEY{next(self._ids)}", attributes["name"], sha1, kind, key.key_size)
        self.keys[made.key_id] = made
        return {"data": made.data(None)}

    def delete_key(self, key: str) -> None:
        """Delete a key that fits no certificate."""
        if key not in self.keys:
            raise RefusedByTLS(404, "Not found", "there is no such tls_private_key")
        if self.keys[key].sha1 in {it.sha1 for it in self.certificates.values()}:
            raise RefusedByTLS(400, "Bad request", "the key is matched to a certificate")
        del self.keys[key]

    def list_certificates(self, query: Mapping[str, str]) -> Document:
        """Return a page of certificates, optionally those with a name."""
        _only(query, {"filter[tls_domains.id]"})
        domain = query.get("filter[tls_domains.id]")
        found = [it.data() for it in self.certificates.values() if domain in {None, *it.domains}]
        return _page(found, query)

    def add_certificate(self, body: Document) -> Document:
        """Upload a certificate with its chain, whose key was uploaded before."""
        attributes = _attributes(body, "tls_certificate", {"cert_blob", "name"})
        try:
            chain = x509.load_pem_x509_certificates(attributes["cert_blob"].encode())
        except ValueError:
            raise RefusedByTLS(400, "Bad request", "cert_blob must be in PEM format") from None
        for it, issuer in itertools.pairwise(chain):
            try:
                it.verify_directly_issued_by(issuer)
            except (ValueError, TypeError, InvalidSignature):
                raise RefusedByTLS(400, "Bad request", "the chain is not in order") from None
        if not chain[0].not_valid_before_utc <= datetime.now(UTC) < chain[0].not_valid_after_utc:
            raise RefusedByTLS(400, "Bad request", "the certificate is not valid now")
        sha1 = _sha1(chain[0].public_key())
        if sha1 not in {it.sha1 for it in self.keys.values()}:
            raise RefusedByTLS(400, "Bad request", "no uploaded key matches the certificate")
        if self.unique and chain[0] in [it.chain[0] for it in self.certificates.values()]:
            raise RefusedByTLS(400, "Bad request", "Certificate has already been taken")
        made = Certificate(f"CERT{next(self._ids)}", attributes["name"], sha1, chain)
        self.certificates[made.certificate_id] = made
        return {"data": made.data()}

    def rename_certificate(self, certificate: str, body: Document) -> Document:
        """Change the name of a certificate; the double replaces no texts."""
        found = self._certificate(certificate)
        found.name = _attributes(body, "tls_certificate", {"name"})["name"]
        return {"data": found.data()}

    def delete_certificate(self, certificate: str) -> None:
        """Delete a certificate that is enabled for no domain."""
        self._certificate(certificate)
        if certificate in {it.certificate for it in self.activations.values()}:
            raise RefusedByTLS(400, "Bad request", "the certificate is enabled for a domain")
        del self.certificates[certificate]

    def list_activations(self, query: Mapping[str, str]) -> Document:
        """Return a page of activations."""
        names = ("tls_certificate", "tls_configuration", "tls_domain")
        _only(query, {f"filter[{name}.id]" for name in names})
        found = [
            data
            for data in (it.data() for it in self.activations.values())
            if all(
                data["relationships"][name]["data"]["id"] == query[f"filter[{name}.id]"]
                for name in names
                if f"filter[{name}.id]" in query
            )
        ]
        return _page(found, query)

    def activate(self, body: Document) -> Document:
        """Use a certificate for a domain of an active service, by a TLS configuration."""
        _attributes(body, "tls_activation", set())
        domain, certificate, configuration = (
            _related(body, name) for name in ("tls_domain", "tls_certificate", "tls_configuration")
        )
        self._check_names(certificate, domain)
        if configuration not in self._tls.configurations:
            raise RefusedByTLS(400, "Not found", "there is no such tls_configuration")
        if self._serves(domain) is None:
            raise RefusedByTLS(400, "Bad request", f"{domain} is not on a service of yours")
        for it in self.activations.values():
            if (it.domain, it.configuration) == (domain, configuration):
                raise RefusedByTLS(400, "Bad request", f"{domain} is already activated")
        made = Activation(f"ACT{next(self._ids)}", certificate, configuration, domain)
        self.activations[made.activation_id] = made
        return {"data": made.data()}

    def change_activation(self, activation: str, body: Document) -> Document:
        """Use another certificate."""
        found = self._activation(activation)
        certificate = _related(body, "tls_certificate")
        self._check_names(certificate, found.domain)
        found.certificate = certificate
        return {"data": found.data()}

    def deactivate(self, activation: str) -> None:
        """Disable TLS for the domain."""
        self._activation(activation)
        del self.activations[activation]

    def list_configurations(self) -> Document:
        """Return the TLS configurations, the default first."""
        return {
            "data": [
                {
                    "type": "tls_configuration",
                    "id": name,
                    "attributes": {"default": not number, "bulk": False},
                }
                for number, name in enumerate(self._tls.configurations)
            ]
        }

    def _check_names(self, certificate: str, domain: str) -> None:
        if domain not in self._certificate(certificate).domains:
            raise RefusedByTLS(400, "Bad request", f"the certificate does not list {domain}")

    def _certificate(self, certificate: str) -> Certificate:
        if certificate not in self.certificates:
            raise RefusedByTLS(404, "Not found", "there is no such tls_certificate")
        return self.certificates[certificate]

    def _activation(self, activation: str) -> Activation:
        if activation not in self.activations:
            raise RefusedByTLS(404, "Not found", "there is no such tls_activation")
        return self.activations[activation]


def _sha1(key: Any) -> str:
    """Return ``public_key_sha1``, which is that of the text in PEM in go-fastly's recordings."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha1(key.public_bytes(serialization.Encoding.PEM, spki)).hexdigest()


def _attributes(body: Document, kind: str, names: set[str]) -> Document:
    data = body.get("data") or {}
    attributes = data.get("attributes") or {}
    # Fastly's Go client sends an empty type, and its recordings have a 201 for that.
    if data.get("type") not in {kind, ""} or set(attributes) != names:
        raise RefusedByTLS(400, "Bad request", f"no {kind} with {sorted(names)}")
    return dict(attributes)


def _related(body: Document, name: str) -> str:
    found = (body["data"].get("relationships") or {}).get(name, {}).get("data") or {}
    if found.get("type") != name:
        raise RefusedByTLS(400, "Bad request", f"{name} can't be blank")
    return str(found["id"])


def _only(query: Mapping[str, str], names: Collection[str]) -> None:
    if unknown := set(query) - {"page[number]", "page[size]", *names}:
        raise RefusedByTLS(400, "Bad request", f"unknown parameters {sorted(unknown)}")


def _page(found: list[Document], query: Mapping[str, str]) -> Document:
    number, size = int(query.get("page[number]", 1)), int(query.get("page[size]", 20))
    return {
        "data": found[(number - 1) * size : number * size],
        "meta": {
            "record_count": len(found),
            "current_page": number,
            "per_page": size,
            "total_pages": -(-len(found) // size),
        },
    }


def _gone(_none: None) -> tuple[int, None]:
    return 204, None


#: Method, path, and a function of the uploads, the request and the groups of the path.
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/tls/configurations", lambda own, _: own.list_configurations()),
    ("GET", "/tls/private_keys", lambda own, asked: own.list_keys(asked.query)),
    ("POST", "/tls/private_keys", lambda own, asked: (201, own.add_key(asked.document))),
    ("DELETE", "/tls/private_keys/([^/]+)", lambda own, _, it: _gone(own.delete_key(it))),
    ("GET", "/tls/certificates", lambda own, asked: own.list_certificates(asked.query)),
    ("POST", "/tls/certificates", lambda own, asked: (201, own.add_certificate(asked.document))),
    (
        "PATCH",
        "/tls/certificates/([^/]+)",
        lambda own, asked, it: own.rename_certificate(it, asked.document),
    ),
    ("DELETE", "/tls/certificates/([^/]+)", lambda own, _, it: _gone(own.delete_certificate(it))),
    ("GET", "/tls/activations", lambda own, asked: own.list_activations(asked.query)),
    ("POST", "/tls/activations", lambda own, asked: (201, own.activate(asked.document))),
    (
        "PATCH",
        "/tls/activations/([^/]+)",
        lambda own, asked, it: own.change_activation(it, asked.document),
    ),
    ("DELETE", "/tls/activations/([^/]+)", lambda own, _, it: _gone(own.deactivate(it))),
]
