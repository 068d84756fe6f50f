# SPDX-License-Identifier: Apache-2.0
"""Certificates of AWS Certificate Manager (ACM), each for a service or for one ordered domain.

What is ours is known by a tag, with the id of the service or the domain. There may be several
while one takes the place of another, and after a lost reply.
"""

import hashlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from oslo_log import log

from poppy.common import aws
from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.model.names import MAX_COMMON_NAME

LOG = log.getLogger(__name__)

#: Tags by which certificates are found.
SERVICE_TAG = "poppy-service"
DOMAIN_TAG = "poppy-certificate"

_PENDING = "PENDING_VALIDATION"
_ISSUED = "ISSUED"
#: Seconds until a certificate that is in use may have become free.
_RELEASE = 60.0


def ordered(names: Collection[str]) -> list[str]:
    """The names of a certificate as ACM is asked for them: the common name first.

    That has 64 characters at most, so the shortest is the common name (``DomainName`` of
    RequestCertificate in the ACM API reference; RFC 5280, ub-common-name).
    """
    return sorted(names, key=lambda name: (len(name), name))


def check_names(names: Collection[str]) -> None:
    """Refuse names for which there can be no certificate.

    Raises:
        PermanentError: all are too long for a common name.
    """
    shortest = ordered(names)[0]
    if len(shortest) > MAX_COMMON_NAME:
        raise PermanentError(
            f"A certificate needs a domain of at most {MAX_COMMON_NAME} characters as its common "
            f"name; the shortest, {shortest}, has {len(shortest)}"
        )


class Owner(NamedTuple):
    """Whose certificate it is: the tag that says so, and its value."""

    tag: str
    value: str


class Certificate(NamedTuple):
    """A certificate as ACM has it.

    Attributes:
        names: the host names it covers, with ``*`` as a first label.
        status: ``PENDING_VALIDATION``, ``ISSUED``, or one that it will not leave any more.
        records: the CNAMEs that validate it, target by name, as far as ACM has said.
        reason: why it failed, in ACM's word; empty if it says none.
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
    def is_pending(self) -> bool:
        """Whether it waits for its names to be validated."""
        return self.status == _PENDING

    def covers(self, name: str) -> bool:
        """Whether it is for a name (RFC 6125, section 6.4.3)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


class Certificates:
    """The certificates that Poppy has asked ACM for."""

    def __init__(self, acm: aws.Service, tagging: aws.Service) -> None:
        self._acm = acm
        self._tagging = tagging

    def ensure(self, owner: Owner, names: Collection[str]) -> Certificate:
        """The owner's certificate for exactly these names; asked for if there is none.

        One that failed is given back as such, and deleted, so that the next call asks again.

        Raises:
            RetryableError: ACM knows nothing of what it just gave; try again.
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
        """All certificates of an owner."""
        found = [self.get(arn) for arn in self._arns(owner)]
        return [certificate for certificate in found if certificate is not None]

    def get(self, arn: str) -> Certificate | None:
        """One certificate, None if there is none."""
        try:
            answer = self._acm.call("describe_certificate", CertificateArn=arn)["Certificate"]
        except aws.Refused as exc:
            if exc.code == "ResourceNotFoundException":
                return None
            raise
        return _read(answer)

    def remove_others(self, owner: Owner, keep: Collection[str]) -> bool:
        """Delete the owner's certificates but these; gives whether all others are gone.

        One that CloudFront still uses somewhere stays.
        """
        return all([self._delete(arn) for arn in self._arns(owner) if arn not in keep])

    def remove(self, owner: Owner) -> None:
        """Delete all certificates of an owner.

        Raises:
            InProgressError: one is still in use.
        """
        if not self.remove_others(owner, ()):
            raise InProgressError("A certificate is still in use", _RELEASE)

    def _request(self, owner: Owner, names: Sequence[str]) -> Certificate:
        # By its token, ACM knows a request that is repeated within an hour, before the tags can
        # be relied on. It may then name one that was deleted meanwhile, and is to make another.
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
                LOG.info("Asked for the certificate %s", found.arn)
                return found
        raise RetryableError(f"ACM does not know yet of its certificate {arn}")

    def _arns(self, owner: Owner) -> list[str]:
        pages = self._tagging.pages(
            "get_resources",
            TagFilters=[{"Key": owner.tag, "Values": [owner.value]}],
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
