# SPDX-License-Identifier: Apache-2.0
"""What is known about a service at one provider: its status, its names and its certificates."""

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from poppy.model.dns_records import DNSRecord, Purpose
from poppy.model.drift import Drift


class ProviderStatus(enum.StrEnum):
    """The status of a service at one provider."""

    DEPLOY_IN_PROGRESS = "deploy_in_progress"
    UPDATE_IN_PROGRESS = "update_in_progress"
    DELETE_IN_PROGRESS = "delete_in_progress"
    DEPLOYED = "deployed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AccessURL:
    """The names that serve a domain: the tenant points ``domain`` to ``operator_url``.

    Attributes:
        operator_url: the operator name, under the operator's DNS suffix; None until it is in DNS.
        provider_url: the provider's name, the target of ``operator_url``'s CNAME.
        moved: an operator set both manually; Poppy keeps them until they are set again.
    """

    domain: str
    provider_url: str
    operator_url: str | None = None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class ProviderDetail:
    """The status of a service at one provider.

    Attributes:
        provider_service_id: the provider's id of its object; None before it exists.
        certificates: certificate status by domain.
        certificate_messages: for the tenant: why the certificate of a domain can't be issued or
            renewed, by domain.
        error_message: for the tenant: why ``status`` is ``failed``, or why the last purge failed.
        error_info: for the operator: the step of the operation that failed.
        error_class: the class name of the error.
        avoided: the provider was down for a while. The operator names do not point to it if the
            flavor has another provider.
        extra: for a certificate order: the driver's own data; see
            :class:`poppy.provider.base.Issuance`.
        dns_records: records that the tenant must create; see
            :attr:`poppy.model.services.Service.dns_records`. Records that no provider requires
            are stored with every provider.
        log_url: the URL below which the provider delivers the access logs; empty if it does not.
        drift: differences at the provider, and those in DNS, which are stored with every
            provider; see :attr:`poppy.model.services.Service.drift`.
    """

    status: ProviderStatus
    provider_service_id: str | None = None
    access_urls: tuple[AccessURL, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    error_message: str | None = None
    error_info: str | None = None
    error_class: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    avoided: bool = False
    dns_records: tuple[DNSRecord, ...] = ()
    log_url: str = ""
    certificate_messages: Mapping[str, str] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()

    def with_records(
        self,
        records: Iterable[DNSRecord],
        *,
        purposes: Collection[Purpose],
        provider: str | None = None,
    ) -> Self:
        """Return a copy with the records of these purposes replaced.

        Records that were there before keep the result of their last lookup, unless the new ones
        have one.

        Args:
            provider: the provider that requires them; None for Poppy itself.
        """
        before = {record.unchecked: record for record in self.dns_records}
        others = (
            record
            for record in self.dns_records
            if record.provider != provider or record.purpose not in purposes
        )
        new = (record if record.checked_at else before.get(record, record) for record in records)
        return replace(self, dns_records=(*others, *new))

    @property
    def exists(self) -> bool:
        """Whether the provider has, or had, an object for the service."""
        return bool(self.provider_service_id or self.access_urls)

    def with_operator_names(self, names: Mapping[str, str]) -> Self:
        """Return a copy with these operator names by domain, and without other domains.

        Names that an operator set manually stay.
        """
        urls = tuple(
            entry if entry.moved else replace(entry, operator_url=names[entry.domain])
            for entry in self.access_urls
            if entry.domain in names
        )
        return replace(self, access_urls=urls)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a detail from the document of :meth:`to_dict`."""
        fields = dict(document)
        fields["status"] = ProviderStatus(fields["status"])
        fields["access_urls"] = tuple(AccessURL(**entry) for entry in fields["access_urls"])
        records = fields.get("dns_records", ())
        fields["dns_records"] = tuple(DNSRecord.from_dict(record) for record in records)
        fields["drift"] = tuple(Drift.from_dict(entry) for entry in fields.get("drift", ()))
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document for storage."""
        document = {
            "status": str(self.status),
            "provider_service_id": self.provider_service_id,
            "access_urls": [
                {
                    "domain": entry.domain,
                    "provider_url": entry.provider_url,
                    "operator_url": entry.operator_url,
                    "moved": entry.moved,
                }
                for entry in self.access_urls
            ],
            "certificates": dict(self.certificates),
            "error_message": self.error_message,
            "error_info": self.error_info,
            "error_class": self.error_class,
            "extra": dict(self.extra),
            "avoided": self.avoided,
        }
        if self.dns_records:
            document["dns_records"] = [record.to_dict() for record in self.dns_records]
        if self.log_url:
            document["log_url"] = self.log_url
        if self.certificate_messages:
            document["certificate_messages"] = dict(self.certificate_messages)
        if self.drift:
            document["drift"] = [entry.to_dict() for entry in self.drift]
        return document


ProviderDetails = Mapping[str, ProviderDetail]
