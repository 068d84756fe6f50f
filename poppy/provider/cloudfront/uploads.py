# SPDX-License-Identifier: Apache-2.0
"""Certificates that tenants bring, imported into AWS Certificate Manager (ACM).

Tags have the service, the time of the import, and whether the tenant has deleted the certificate.
Each upload is a new certificate, because ACM refuses to import another kind of key into an
existing one ("Reimport a certificate", ACM user guide). ACM lists tags some seconds late, but
certificates at once; so those of a service are found by their names.
"""

import time
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from cryptography import x509

from poppy.common.errors import PermanentError
from poppy.model.certificates import Uploaded
from poppy.provider import uploads
from poppy.provider.cloudfront.certificates import SERVICE_TAG, Owner
from poppy.vendors import aws

_TIME_TAG = "poppy-upload-time"
_DROPPED_TAG = "poppy-upload-dropped"

#: The keys that CloudFront can use ("Prerequisites for importing ACM certificates", ACM user
#: guide), by their names in ACM.
_KINDS = {
    "RSA 2048": "RSA_2048",
    "RSA 3072": "RSA_3072",
    "EC secp256r1": "EC_prime256v1",
}


def uploader(service_id: str) -> Owner:
    """Return the owner of the imported certificates of a service."""
    return Owner(SERVICE_TAG, f"{service_id}-upload")


class Held(NamedTuple):
    """An imported certificate of a service."""

    arn: str
    imported: str
    is_dropped: bool


class Uploads:
    """The certificates that tenants have brought."""

    def __init__(self, acm: aws.Service) -> None:
        self._acm = acm

    def keep(self, service_id: str, names: Collection[str], chain: str, key: str) -> None:
        """Import a certificate.

        Args:
            service_id: the service.
            names: all domains of the service, because a distribution has one certificate.
            chain: in PEM.
            key: in PEM.

        Raises:
            PermanentError: CloudFront can't use it; the message has nothing of the key.
        """
        found = uploads.checked(names, chain, key)
        if found.kind not in _KINDS:
            raise PermanentError(
                "CloudFront takes keys with RSA of 2048 or 3072 bits, or EC on P-256, not "
                f"{found.kind}"
            )
        leaf, *others = found.chain
        owner = uploader(service_id)
        tags = {owner.tag: owner.value, _TIME_TAG: f"{time.time():.6f}"}
        self._acm.call(
            "import_certificate",
            Certificate=leaf.encode(),
            PrivateKey=found.key.encode(),
            **({"CertificateChain": "".join(others).encode()} if others else {}),
            Tags=[{"Key": name, "Value": value} for name, value in tags.items()],
        )

    def newest(self, service_id: str, names: Collection[str]) -> str | None:
        """Return the ARN of the certificate for all domains of a service; None if there is none.

        Args:
            service_id: the service.
            names: its domains.
        """
        found = [it for it in self._of(service_id, names) if not it.is_dropped]
        return max(found, key=lambda it: float(it.imported)).arn if found else None

    def described(self, arn: str, domain: str) -> Uploaded:
        """Return what a tenant sees of a certificate."""
        pem = self._acm.call("get_certificate", CertificateArn=arn)["Certificate"]
        return uploads.described(domain, x509.load_pem_x509_certificate(pem.encode()))

    def drop(self, service_id: str, names: Collection[str]) -> None:
        """Mark the certificates of a service as deleted, because CloudFront still uses them."""
        for held in self._of(service_id, names):
            self._acm.call(
                "add_tags_to_certificate",
                CertificateArn=held.arn,
                Tags=[{"Key": _DROPPED_TAG, "Value": "yes"}],
            )

    def is_dropped(self, arn: str) -> bool:
        """Return whether a certificate is marked as deleted, or is gone."""
        return _DROPPED_TAG in self._tags(arn)

    def _of(self, service_id: str, names: Collection[str]) -> Iterator[Held]:
        owner = uploader(service_id)
        # Without key types, ACM lists only certificates with RSA up to 2048 bits.
        includes = {"keyTypes": list(_KINDS.values())}
        for page in self._acm.pages("list_certificates", Includes=includes):
            for entry in page["CertificateSummaryList"]:
                if entry.get("Type") != "IMPORTED" or not _may_cover(entry, names):
                    continue
                tags = self._tags(entry["CertificateArn"])
                if tags.get(owner.tag) == owner.value:
                    yield Held(entry["CertificateArn"], tags[_TIME_TAG], _DROPPED_TAG in tags)

    def _tags(self, arn: str) -> dict[str, str]:
        try:
            answer = self._acm.call("list_tags_for_certificate", CertificateArn=arn)
        except aws.Refused as exc:
            if exc.code == "ResourceNotFoundException":
                return {_DROPPED_TAG: "gone"}
            raise
        return {tag["Key"]: tag.get("Value", "") for tag in answer["Tags"]}


def _may_cover(entry: dict[str, Any], names: Collection[str]) -> bool:
    """Return whether a summary, which has up to 100 names, is of a certificate for these names."""
    known = {entry.get("DomainName", ""), *entry.get("SubjectAlternativeNameSummaries", ())}
    return entry.get("HasAdditionalSubjectAlternativeNames", False) or all(
        name in known or f"*.{name.partition('.')[2]}" in known for name in names
    )
