# SPDX-License-Identifier: Apache-2.0
"""Services: the tenant's document and its status at each provider."""

import datetime
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from poppy.model import certificates
from poppy.model.dns_records import DNSRecord, Purpose, RecordStatus


class Status(enum.StrEnum):
    """The status that clients see; :attr:`Service.status` derives it from the providers."""

    CREATE_IN_PROGRESS = "create_in_progress"
    UPDATE_IN_PROGRESS = "update_in_progress"
    DELETE_IN_PROGRESS = "delete_in_progress"
    DEPLOYED = "deployed"
    FAILED = "failed"
    DISABLED = "disabled"


class ProviderStatus(enum.StrEnum):
    """The status of a service at one provider."""

    DEPLOY_IN_PROGRESS = "deploy_in_progress"
    UPDATE_IN_PROGRESS = "update_in_progress"
    DELETE_IN_PROGRESS = "delete_in_progress"
    DEPLOYED = "deployed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Domain:
    """A host name of a service.

    Attributes:
        domain: the full host name (for ``shared`` certificates: label and shard).
        protocol: ``http`` or ``https``.
        certificate: ``shared``, ``san``, ``sni`` or ``custom`` with https, otherwise None.
    """

    domain: str
    protocol: str = "http"
    certificate: str | None = None

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a domain from an entry of ``domains``."""
        return cls(
            domain=document["domain"],
            protocol=document.get("protocol", "http"),
            certificate=document.get("certificate"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``domains``; an http domain has no ``certificate``."""
        result = {"domain": self.domain, "protocol": self.protocol}
        if self.certificate is not None:
            result["certificate"] = self.certificate
        return result


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of an origin, a caching entry or a restriction: which requests it matches.

    Attributes:
        name: the tenant's name for it.
        request_url: a path; ``*`` matches any run of characters. None means every path.
        referrer: (restrictions) a host name; matches the host of the ``Referer`` header.
        client_ip: (restrictions) an IPv4 or IPv6 address or CIDR block.
        geography: (restrictions) a country or zone name.
    """

    name: str
    request_url: str | None = None
    referrer: str | None = None
    client_ip: str | None = None
    geography: str | None = None

    @property
    def kind(self) -> str | None:
        """``referrer``, ``client_ip`` or ``geography``; None for a path rule."""
        for kind in ("referrer", "client_ip", "geography"):
            if getattr(self, kind) is not None:
                return kind
        return None

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a rule from an entry of ``rules``."""
        return cls(**document)

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``rules``, without unset fields."""
        fields = ("name", "referrer", "client_ip", "geography", "request_url")
        values = ((name, getattr(self, name)) for name in fields)
        return {name: value for name, value in values if value is not None}


@dataclass(frozen=True, slots=True)
class Origin:
    """A server from which an edge fetches content.

    Attributes:
        origin: host name or IP address.
        port: 80 or 443.
        ssl: whether the edge uses TLS to connect.
        hostheadertype: the Host header: ``domain`` (the requested name), ``origin`` (the origin's
            own name) or ``custom`` (``hostheadervalue``).
        rules: paths that this origin serves; the first origin serves all others.
    """

    origin: str
    port: int = 80
    ssl: bool = False
    hostheadertype: str = "domain"
    hostheadervalue: str | None = None
    rules: tuple[Rule, ...] = ()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create an origin from an entry of ``origins``; the default port is 443 with ssl."""
        ssl = document.get("ssl", False)
        return cls(
            origin=document["origin"],
            port=document.get("port", 443 if ssl else 80),
            ssl=ssl,
            hostheadertype=document.get("hostheadertype", "domain"),
            hostheadervalue=document.get("hostheadervalue"),
            rules=tuple(Rule.from_dict(rule) for rule in document.get("rules", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``origins``, with ``hostheadervalue`` only if it is set."""
        result: dict[str, Any] = {
            "origin": self.origin,
            "port": self.port,
            "ssl": self.ssl,
            "hostheadertype": self.hostheadertype,
        }
        if self.hostheadervalue is not None:
            result["hostheadervalue"] = self.hostheadervalue
        result["rules"] = [rule.to_dict() for rule in self.rules]
        return result


@dataclass(frozen=True, slots=True)
class Caching:
    """How long an edge may cache content that matches ``rules``; ``ttl`` is in seconds."""

    name: str
    ttl: int
    rules: tuple[Rule, ...] = ()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create an entry from an entry of ``caching``."""
        return cls(
            name=document["name"],
            ttl=document["ttl"],
            rules=tuple(Rule.from_dict(rule) for rule in document.get("rules", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``caching``."""
        return {
            "name": self.name,
            "ttl": self.ttl,
            "rules": [rule.to_dict() for rule in self.rules],
        }


@dataclass(frozen=True, slots=True)
class Restriction:
    """Allow only (``whitelist``) or deny (``blacklist``) requests that match the rules."""

    name: str
    access: str
    rules: tuple[Rule, ...] = ()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a restriction from an entry of ``restrictions``."""
        return cls(
            name=document["name"],
            access=document["access"],
            rules=tuple(Rule.from_dict(rule) for rule in document.get("rules", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``restrictions``."""
        return {
            "name": self.name,
            "access": self.access,
            "rules": [rule.to_dict() for rule in self.rules],
        }


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """The tenant's document, with all defaults filled in."""

    name: str
    flavor_id: str
    domains: tuple[Domain, ...]
    origins: tuple[Origin, ...]
    caching: tuple[Caching, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    log_delivery: bool = False

    @property
    def domain_names(self) -> frozenset[str]:
        """The host names of all domains."""
        return frozenset(domain.domain for domain in self.domains)

    @property
    def restricting(self) -> list[tuple[tuple[str, str], list[Rule]]]:
        """The rules of all restrictions, grouped and sorted by (access, kind)."""
        groups: dict[tuple[str, str], list[Rule]] = {}
        for entry in self.restrictions:
            for rule in entry.rules:
                if rule.kind is not None:
                    groups.setdefault((entry.access, rule.kind), []).append(rule)
        return sorted(groups.items(), key=lambda group: group[0])

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a spec from a document that :func:`poppy.model.validation.service` accepts."""
        return cls(
            name=document["name"],
            flavor_id=document["flavor_id"],
            domains=tuple(Domain.from_dict(entry) for entry in document["domains"]),
            origins=tuple(Origin.from_dict(entry) for entry in document["origins"]),
            caching=tuple(Caching.from_dict(entry) for entry in document.get("caching", ())),
            restrictions=tuple(
                Restriction.from_dict(entry) for entry in document.get("restrictions", ())
            ),
            log_delivery=document.get("log_delivery", {}).get("enabled", False),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the document that :meth:`from_dict` reads."""
        return {
            "name": self.name,
            "flavor_id": self.flavor_id,
            "domains": [entry.to_dict() for entry in self.domains],
            "origins": [entry.to_dict() for entry in self.origins],
            "caching": [entry.to_dict() for entry in self.caching],
            "restrictions": [entry.to_dict() for entry in self.restrictions],
            "log_delivery": {"enabled": self.log_delivery},
        }


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
        error_message: for the tenant: why ``status`` is ``failed``, or why the last purge failed.
        error_info: for the operator: the step of the operation that failed.
        error_class: the class name of the error.
        avoided: the provider was down for a while. The operator names do not point to it if the
            flavor has another provider.
        extra: for a certificate order: the driver's own data; see
            :class:`poppy.provider.base.Issuance`.
        dns_records: records that the tenant must create; see :attr:`Service.dns_records`. Records
            that no provider requires are stored with every provider.
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

    def with_records(self, purpose: Purpose, records: Iterable[DNSRecord]) -> Self:
        """Return a copy with the records of one purpose replaced."""
        others = (record for record in self.dns_records if record.purpose is not purpose)
        return replace(self, dns_records=(*others, *records))

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
        return document


ProviderDetails = Mapping[str, ProviderDetail]

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
        log_url: the URL to which its access logs are delivered.
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
    def provider_urls(self) -> frozenset[tuple[str, str]]:
        """The pairs of provider URL and domain."""
        return frozenset(
            (entry.provider_url, entry.domain)
            for detail in self.provider_details.values()
            for entry in detail.access_urls
        )

    @property
    def dns_records(self) -> tuple[DNSRecord, ...]:
        """Records that the tenant must create for its domains, without duplicates."""
        wanted = self.spec.domain_names
        found: dict[DNSRecord, DNSRecord] = {}
        for detail in self.provider_details.values():
            for record in detail.dns_records:
                if record.domain in wanted:
                    same = replace(record, status=RecordStatus.MISSING, checked_at=None)
                    found.setdefault(same, record)
        return tuple(found.values())

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
        """The providers' error messages, for the tenant."""
        messages = (detail.error_message for detail in self.provider_details.values())
        return tuple(message for message in messages if message)

    def with_details(self, details: ProviderDetails) -> Self:
        """Return a copy with other provider details."""
        return replace(self, provider_details=dict(details))
