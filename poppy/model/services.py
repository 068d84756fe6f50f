# SPDX-License-Identifier: Apache-2.0
"""Services: the tenant's document, and the status that results from its providers."""

import datetime
import enum
from dataclasses import dataclass, replace
from typing import Self

from poppy.model import certificates
from poppy.model.dns_records import DNSRecord, Purpose
from poppy.model.drift import DNS, Drift
from poppy.model.provider_details import ProviderDetails, ProviderStatus
from poppy.model.specs import ServiceSpec


class Status(enum.StrEnum):
    """The status that clients see; :attr:`Service.status` derives it from the providers."""

    CREATE_IN_PROGRESS = "create_in_progress"
    UPDATE_IN_PROGRESS = "update_in_progress"
    DELETE_IN_PROGRESS = "delete_in_progress"
    DEPLOYED = "deployed"
    FAILED = "failed"
    DISABLED = "disabled"


_DERIVED = (
    (ProviderStatus.FAILED, Status.FAILED),
    (ProviderStatus.DELETE_IN_PROGRESS, Status.DELETE_IN_PROGRESS),
    (ProviderStatus.UPDATE_IN_PROGRESS, Status.UPDATE_IN_PROGRESS),
    (ProviderStatus.DEPLOY_IN_PROGRESS, Status.CREATE_IN_PROGRESS),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A stored service.

    Attributes:
        provider_details: provider details by provider name.
        disabled: whether an operator disabled it.
        revision: 1 when created; grows by one with every stored change.
        log_url: the URL of the tenant's own container for its access logs, if there is one.
    """

    project_id: str
    service_id: str
    spec: ServiceSpec
    provider_details: ProviderDetails
    created_at: datetime.datetime
    updated_at: datetime.datetime
    disabled: bool = False
    revision: int = 1
    log_url: str | None = None

    @property
    def status(self) -> Status:
        """The status that clients see: the worst provider status, or ``disabled``."""
        if self.disabled:
            return Status.DISABLED
        present = {detail.status for detail in self.provider_details.values()}
        for provider_status, status in _DERIVED:
            if provider_status in present:
                return status
        return Status.DEPLOYED

    @property
    def claims(self) -> frozenset[str]:
        """Its exclusive claims: its domains; for an order, the certificate."""
        if not certificates.is_namespace(self.project_id):
            return self.spec.domain_names
        return frozenset(
            certificates.claim(domain.domain, domain.certificate or "")
            for domain in self.spec.domains
        )

    @property
    def status_bucket(self) -> str:
        """Its status bucket. Services and orders have separate buckets."""
        if not certificates.is_namespace(self.project_id):
            return str(self.status)
        return certificates.status_bucket(certificates.status_of(self.provider_details))

    @property
    def deployed_at(self) -> tuple[str, ...]:
        """The names of the providers that have it, in whichever version."""
        return tuple(name for name, it in self.provider_details.items() if it.exists)

    @property
    def provider_urls(self) -> frozenset[tuple[str, str]]:
        """The pairs of provider URL and domain."""
        return frozenset(
            (entry.provider_url, entry.domain)
            for detail in self.provider_details.values()
            for entry in detail.access_urls
        )

    @property
    def dns_records(self) -> tuple[DNSRecord, ...]:
        """Records that the tenant must create for its domains: by purpose, without duplicates."""
        wanted = self.spec.domain_names
        found: dict[DNSRecord, DNSRecord] = {}
        for detail in self.provider_details.values():
            for record in detail.dns_records:
                if record.domain in wanted:
                    found.setdefault(record.unchecked, record)
        purposes = list(Purpose)
        return tuple(sorted(found.values(), key=lambda record: purposes.index(record.purpose)))

    @property
    def drift(self) -> tuple[Drift, ...]:
        """The differences that the last audit has found, without duplicates; DNS last."""
        details = self.provider_details.values()
        found = dict.fromkeys(entry for detail in details for entry in detail.drift)
        return tuple(sorted(found, key=lambda entry: entry.source == DNS))

    @property
    def log_urls(self) -> tuple[str, ...]:
        """Where the tenant finds its access logs: in its container, otherwise at each provider."""
        if not self.spec.log_delivery:
            return ()
        urls = {detail.log_url for detail in self.provider_details.values() if detail.log_url}
        return (self.log_url,) if self.log_url else tuple(sorted(urls))

    @property
    def known_domains(self) -> frozenset[str]:
        """The domains of the document, and dropped ones that are still in DNS."""
        return self.spec.domain_names | self.deployed_domains

    @property
    def deployed_domains(self) -> frozenset[str]:
        """Domains with an operator name in DNS."""
        return frozenset(
            entry.domain
            for detail in self.provider_details.values()
            for entry in detail.access_urls
            if entry.operator_url
        )

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted, and no provider has failed."""
        statuses = {detail.status for detail in self.provider_details.values()}
        return statuses == {ProviderStatus.DELETE_IN_PROGRESS}

    @property
    def errors(self) -> tuple[str, ...]:
        """The providers' error messages, and those about certificates, for the tenant."""
        details = self.provider_details.values()
        messages = [detail.error_message for detail in details if detail.error_message]
        certificate_messages = sorted(
            f"Certificate of {domain}: {message}"
            for detail in details
            for domain, message in detail.certificate_messages.items()
            if domain in self.spec.domain_names
        )
        return (*messages, *certificate_messages)

    def with_details(self, details: ProviderDetails) -> Self:
        """Return a copy with other provider details."""
        return replace(self, provider_details=dict(details))
