# SPDX-License-Identifier: Apache-2.0
"""Move domains from other distributions.

An alias belongs to one distribution of all of Amazon's customers. The owner of a domain moves it
with a TXT record that names the distribution it is to belong to ("Move an alternate domain name"
in the CloudFront developer guide).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from poppy.common.errors import PermanentError, Unauthorized
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.vendors import aws

#: The error code of an update with an alias that belongs to another distribution.
TAKEN = "CNAMEAlreadyExists"


class Conflict(NamedTuple):
    """A domain that belongs to another distribution.

    Attributes:
        holder: that distribution and its account, partly hidden by Amazon.
        reason: why Amazon does not move the domain yet.
    """

    holder: str
    reason: str


class Aliases:
    """The aliases of all distributions."""

    def __init__(self, cloudfront: aws.Service) -> None:
        self._cloudfront = cloudfront

    def holder(self, distribution_id: str, domain: str) -> str:
        """Return the other distribution that has a domain; empty if there is none.

        Args:
            distribution_id: one with a certificate for the domain, which Amazon requires.

        Raises:
            PermanentError: the key lacks a permission.
        """
        try:
            answer = self._cloudfront.call(
                "list_conflicting_aliases", DistributionId=distribution_id, Alias=domain
            )
        except Unauthorized as exc:
            # Not a fault of the provider as a whole: other calls may be permitted.
            raise PermanentError(
                "A domain of the service belongs to another distribution. To move it, Poppy needs "
                f"the permission cloudfront:ListConflictingAliases ({exc})"
            ) from exc
        for entry in answer["ConflictingAliasesList"].get("Items", ()):
            # Wildcards that cover the domain are listed too.
            if entry["Alias"] == domain:
                return f"{entry['DistributionId']} of the account {entry['AccountId']}"
        return ""

    def move(self, distribution_id: str, domain: str) -> str:
        """Move a domain to a distribution; return why Amazon refuses, or nothing if it is moved.

        Amazon looks up the TXT record, and the distribution must have a certificate for the
        domain (AssociateAlias in the API reference). It also refuses without the permission
        ``cloudfront:AssociateAlias``.
        """
        try:
            self._cloudfront.call(
                "associate_alias", TargetDistributionId=distribution_id, Alias=domain
            )
        except (aws.Refused, Unauthorized) as exc:
            return str(exc)
        return ""


def records(domains: Iterable[str], domain_name: str) -> tuple[DNSRecord, ...]:
    """Return the records that let Amazon move domains to the distribution with this name."""
    return tuple(
        DNSRecord(domain, Purpose.OWNERSHIP, RecordType.TXT, f"_{domain}", domain_name)
        for domain in sorted(domains)
    )


def to_do(conflicts: Mapping[str, Conflict], domain_name: str) -> str:
    """Return what the tenant must do to move domains."""
    return "; ".join(
        f"{domain} belongs to the distribution {conflict.holder}: create the TXT record "
        f"_{domain} with the value {domain_name}, and if the account is another one, disable that "
        f"distribution ({conflict.reason})"
        for domain, conflict in sorted(conflicts.items())
    )
