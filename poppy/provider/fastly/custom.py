# SPDX-License-Identifier: Apache-2.0
"""Certificates that tenants bring, uploaded to Fastly and activated for their domains.

Fastly has the private key, the certificate that fits it, and one activation for each domain that
uses the certificate. See https://www.fastly.com/documentation/reference/api/tls/custom-certs/.
Fastly does not show uploaded texts. So the name of a certificate has the service, the time of the
upload and the fingerprint.
"""

import datetime
import re
import time
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from cryptography import x509

from poppy.common import inspection
from poppy.common.errors import PermanentError, RetryableError
from poppy.model.certificates import Uploaded
from poppy.provider import uploads
from poppy.provider.fastly.api import API, Document

#: The name of a certificate: the service, the time in seconds, and the fingerprint.
_NAME = re.compile(r"poppy (\S+) (\d{1,12}[.]\d{6}) ([0-9a-f]{64})", re.ASCII)
#: The name of all keys. One key may belong to certificates of several services.
_KEY_NAME = "poppy key"
#: "Setting up TLS with your own certificates", Fastly documentation.
_KINDS = ("RSA 2048", "EC secp256r1", "EC secp384r1")
_AGAIN = 5.0  # Seconds.


class Held(NamedTuple):
    """An uploaded certificate of a service.

    Attributes:
        kept_at: time of the last upload, in seconds since 1970.
        fingerprint: SHA-256, in hexadecimal.
        domains: its names.
        expires: in ISO 8601.
    """

    certificate_id: str
    kept_at: float
    fingerprint: str
    domains: tuple[str, ...]
    expires: str

    def described(self, domain: str) -> Uploaded:
        """Return what a tenant sees of the certificate."""
        expires = datetime.datetime.fromisoformat(self.expires)
        return Uploaded(domain, self.domains, expires, self.fingerprint)


class Uploads:
    """The certificates that tenants have brought.

    Args:
        configuration: the TLS configuration of activations; None for the account's default.
    """

    def __init__(self, api: API, configuration: str | None) -> None:
        self._api = api
        self._configuration = configuration

    def keep(self, service_id: str, domain: str, chain: str, key: str) -> None:
        """Upload a certificate for a domain, in place of the previous one.

        Args:
            chain: in PEM.
            key: in PEM.

        Raises:
            PermanentError: Fastly can't use it; the message has nothing of the key.
        """
        found = uploads.checked([domain], chain, key)
        if found.kind not in _KINDS:
            raise PermanentError(
                "Fastly takes keys with RSA of 2048 bits, or EC on P-256 or P-384, not "
                f"{found.kind}"
            )
        leaf = uploads.described(domain, x509.load_pem_x509_certificate(found.chain[0].encode()))
        if domain not in leaf.names:
            raise PermanentError(
                f"Fastly activates names of a certificate: it must list {domain} itself, not only "
                "a wildcard"
            )
        name = f"poppy {service_id} {time.time():.6f} {leaf.fingerprint}"
        there = self._of(service_id, domain)
        same = [it for it in there if it.fingerprint == leaf.fingerprint]
        if not same:
            self._upload(name, found)
        elif same[0] != there[0]:
            self._api.rename_certificate(same[0].certificate_id, name)

    def newest(self, service_id: str, domain: str) -> Held | None:
        """Return the certificate of a service for a domain; None if there is none."""
        return next(iter(self._of(service_id, domain)), None)

    def drop(self, service_id: str, domain: str) -> None:
        """Delete the certificates of a service for a domain, which ends TLS for their names."""
        for held in self._of(service_id, domain):
            self._delete(held)
        self._delete_unused_keys()

    def converge(
        self, service_id: str, wanted: Collection[str], others: Collection[str] = ()
    ) -> Mapping[str, Held]:
        """Activate the newest certificate of each domain, and delete those without a use.

        Args:
            service_id: the service.
            wanted: domains to serve with the tenant's certificates.
            others: domains that may still have some.

        Returns:
            The certificates by wanted domain; without domains for which there is none.
        """
        there = {domain: self._of(service_id, domain) for domain in {*wanted, *others}}
        chosen = {domain: there[domain][0] for domain in sorted(wanted) if there[domain]}
        configuration = self.configuration() if chosen else ""
        for domain, held in chosen.items():
            self._activate(domain, held, configuration)
        kept = set(chosen.values())
        for held in sorted(kept):
            for activation in self._api.activations("tls_certificate", held.certificate_id):
                if _related(activation, "tls_domain") not in wanted:
                    self._api.deactivate_certificate(activation["id"])
        surplus = {held for found in there.values() for held in found} - kept
        for held in sorted(surplus):
            self._delete(held)
        if surplus:
            self._delete_unused_keys()
        return chosen

    def remove(self, service_id: str, domains: Collection[str]) -> None:
        """Delete all certificates of a service for its domains."""
        self.converge(service_id, (), domains)
        self._delete_unused_keys()

    def configuration(self) -> str:
        """Return the ID of the TLS configuration of activations.

        Raises:
            PermanentError: the account has no default.
        """
        if self._configuration is not None:
            return self._configuration
        for entry in self._api.tls_configurations():
            if entry["attributes"].get("default"):
                return str(entry["id"])
        raise PermanentError("Fastly has no default TLS configuration: set tls_configuration")

    def _upload(self, name: str, found: uploads.Upload) -> None:
        for is_last in (False, True):
            try:
                self._api.upload_key(_KEY_NAME, found.key)
            except PermanentError:
                # Fastly may have it already. If not, it refuses the certificate too.
                is_key_refused = True
            else:
                is_key_refused = False
            try:
                self._api.upload_certificate(name, "".join(found.chain))
            except PermanentError as exc:
                # Another service may have deleted the key, before it was in use.
                if is_last:
                    key = " and its key" if is_key_refused else ""
                    raise PermanentError(f"Fastly refuses the certificate{key}: {exc}") from exc
            else:
                return

    def _of(self, service_id: str, domain: str) -> list[Held]:
        """Return the certificates of a service with a domain, the newest first."""
        found = (_read(service_id, entry) for entry in self._api.certificates(domain))
        held = [it for it in found if it is not None]
        return sorted(held, key=lambda it: (-it.kept_at, it.certificate_id))

    def _activate(self, domain: str, held: Held, configuration: str) -> None:
        activation = self._activation(domain, configuration)
        if activation is None:
            inspection.differs(f"the certificate of {domain} is not activated")
            try:
                self._api.activate_certificate(domain, held.certificate_id, configuration)
            except PermanentError:
                # Another worker may have been faster.
                if self._activation(domain, configuration) is None:
                    raise
        elif _related(activation, "tls_certificate") != held.certificate_id:
            inspection.differs(f"{domain} has another certificate")
            self._api.change_activation(activation["id"], held.certificate_id)

    def _activation(self, domain: str, configuration: str) -> Document | None:
        for activation in self._api.activations("tls_domain", domain):
            if _related(activation, "tls_configuration") == configuration:
                return activation
        return None

    def _delete(self, held: Held) -> None:
        inspection.differs(f"a certificate for {', '.join(held.domains)} has no use")
        for activation in self._api.activations("tls_certificate", held.certificate_id):
            self._api.deactivate_certificate(activation["id"])
        try:
            self._api.delete_certificate(held.certificate_id)
        except PermanentError as exc:
            # Another worker may have activated it again.
            raise RetryableError(f"Fastly does not delete a certificate: {exc}", _AGAIN) from exc

    def _delete_unused_keys(self) -> None:
        for entry in self._api.unused_keys():
            if entry["attributes"].get("name") == _KEY_NAME:
                try:
                    self._api.delete_key(entry["id"])
                except PermanentError:
                    continue  # It has just got a certificate.


def _read(service_id: str, entry: Document) -> Held | None:
    """Return a certificate of the service; None if it is another one's."""
    attributes = entry["attributes"]
    found = _NAME.fullmatch(str(attributes.get("name") or ""))
    if found is None or found[1] != service_id:
        return None
    domains = tuple(sorted(_names(entry)))
    return Held(str(entry["id"]), float(found[2]), found[3], domains, attributes["not_after"])


def _names(entry: Document) -> Iterator[str]:
    related = entry.get("relationships") or {}
    for domain in (related.get("tls_domains") or {}).get("data") or ():
        yield str(domain["id"])


def _related(entry: Document, name: str) -> str | None:
    found = ((entry.get("relationships") or {}).get(name) or {}).get("data")
    return str(found["id"]) if found else None
