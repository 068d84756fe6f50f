# SPDX-License-Identifier: Apache-2.0
"""Certificates in AWS Certificate Manager (ACM), each for a service or an ordered domain.

A tag with the service's id or the domain identifies Poppy's certificates. There may be several
during a replacement or after a lost reply.
"""

import hashlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from oslo_log import log

from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.model.names import MAX_COMMON_NAME
from poppy.vendors import aws

LOG = log.getLogger(__name__)

#: Tags that identify certificates.
SERVICE_TAG = "poppy-service"
DOMAIN_TAG = "poppy-certificate"

_PENDING = "PENDING_VALIDATION"
_ISSUED = "ISSUED"
#: Seconds until the next attempt to delete a certificate that is in use.
_RELEASE = 60.0


def ordered(names: Collection[str]) -> list[str]:
    """Return the names of a certificate in the order of the request: the common name first.

    The common name has at most 64 characters, so it is the shortest name (``DomainName`` of
    RequestCertificate in the ACM API reference; RFC 5280, ub-common-name).
    """
    return sorted(names, key=lambda name: (len(name), name))


def check_names(names: Collection[str]) -> None:
    """Refuse names that can't have a certificate.

    Raises:
        PermanentError: all names are too long for a common name.
    """
    shortest = ordered(names)[0]
    if len(shortest) > MAX_COMMON_NAME:
        raise PermanentError(
            f"A certificate needs a domain of at most {MAX_COMMON_NAME} characters as its common "
            f"name; the shortest, {shortest}, has {len(shortest)}"
        )


class Owner(NamedTuple):
    """The owner of a certificate: the tag and its value."""

    tag: str
    value: str


class Certificate(NamedTuple):
    """A certificate in ACM.

    Attributes:
        names: the covered host names; the first label may be ``*``.
        status: ``PENDING_VALIDATION``, ``ISSUED``, or a final failure status.
        records: the known validation CNAMEs, target by name.
        reason: ACM's failure reason; empty without one.
    """

    arn: str
    names: frozenset[str]
    status: str
    records: Mapping[str, str]
    reason: str = ""

    @property
    def is_issued(self) -> bool:
        """Whether it can be used."""
        return self.status == _ISSUED

    @property
    def is_awaited(self) -> bool:
        """Whether the tenant has yet to bring it."""
        return not self.arn

    @property
    def is_pending(self) -> bool:
        """Whether it waits for its names to be validated."""
        return self.status == _PENDING

    def covers(self, name: str) -> bool:
        """Return whether the certificate covers a name (RFC 6125, section 6.4.3)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


#: In place of a certificate that the tenant has yet to bring.
AWAITED = Certificate("", frozenset(), "AWAITED", {})


class Certificates:
    """The certificates that Poppy has requested from ACM."""

    def __init__(self, acm: aws.Service, tagging: aws.Service) -> None:
        self._acm = acm
        self._tagging = tagging

    def ensure(self, owner: Owner, names: Collection[str]) -> Certificate:
        """Return the owner's certificate for exactly these names; request it if there is none.

        A failed certificate is returned and deleted, so the next call requests a new one.

        Raises:
            RetryableError: ACM does not show the new certificate yet.
        """
        fitting = [found for found in self.of(owner) if found.names == frozenset(names)]
        if fitting:
            chosen = min(fitting, key=lambda found: (not found.is_issued, found.arn))
        else:
            chosen = self._request(owner, ordered(names))
        if not (chosen.is_issued or chosen.is_pending):
            self._delete(chosen.arn)
        return chosen

    def of(self, owner: Owner) -> list[Certificate]:
        """Return all certificates of an owner."""
        found = [self.get(arn) for arn in self._arns([owner])]
        return [certificate for certificate in found if certificate is not None]

    def get(self, arn: str) -> Certificate | None:
        """Return a certificate; None if it does not exist."""
        try:
            answer = self._acm.call("describe_certificate", CertificateArn=arn)["Certificate"]
        except aws.Refused as exc:
            if exc.code == "ResourceNotFoundException":
                return None
            raise
        return _read(answer)

    def remove_others(self, owners: Sequence[Owner], keep: Collection[str]) -> bool:
        """Delete the owners' certificates except ``keep``; return whether all others are gone.

        Certificates that CloudFront still uses stay.

        Args:
            owners: with the same tag.
            keep: ARNs.
        """
        return all([self._delete(arn) for arn in self._arns(owners) if arn not in keep])

    def remove(self, *owners: Owner) -> None:
        """Delete all certificates of owners with the same tag.

        Raises:
            InProgressError: one is still in use.
        """
        if not self.remove_others(owners, ()):
            raise InProgressError("A certificate is still in use", _RELEASE)

    def _request(self, owner: Owner, names: Sequence[str]) -> Certificate:
        # The token makes requests idempotent for an hour, while the tags may not be visible yet.
        # ACM may return a certificate that was deleted since; then use a new token.
        known = hashlib.sha256("\n".join([*owner, *names]).encode()).hexdigest()[:32]
        for token in (known, uuid.uuid4().hex):
            arn = self._acm.call(
                "request_certificate",
                DomainName=names[0],
                SubjectAlternativeNames=names,
                ValidationMethod="DNS",
                IdempotencyToken=token,
                Tags=[{"Key": owner.tag, "Value": owner.value}],
            )["CertificateArn"]
            found = self.get(arn)
            if found is not None:
                LOG.info("Requested the certificate %s", found.arn)
                return found
        raise RetryableError(f"ACM does not show the new certificate {arn} yet")

    def _arns(self, owners: Sequence[Owner]) -> list[str]:
        pages = self._tagging.pages(
            "get_resources",
            TagFilters=[{"Key": owners[0].tag, "Values": [owner.value for owner in owners]}],
            ResourceTypeFilters=["acm:certificate"],
        )
        return sorted(
            entry["ResourceARN"] for page in pages for entry in page["ResourceTagMappingList"]
        )

    def _delete(self, arn: str) -> bool:
        try:
            self._acm.call("delete_certificate", CertificateArn=arn)
        except aws.Refused as exc:
            if exc.code == "ResourceInUseException":
                return False
            if exc.code != "ResourceNotFoundException":
                raise
        return True


def _read(answer: Mapping[str, Any]) -> Certificate:
    names = {answer["DomainName"], *answer.get("SubjectAlternativeNames", ())}
    records = {}
    for entry in answer.get("DomainValidationOptions", ()):
        record = entry.get("ResourceRecord")
        if record:
            records[record["Name"].rstrip(".")] = record["Value"].rstrip(".")
    reason = answer.get("FailureReason", "")
    return Certificate(
        answer["CertificateArn"], frozenset(names), answer["Status"], records, reason
    )
