# SPDX-License-Identifier: Apache-2.0
"""The tenant's document of a service: its domains, origins, caching and restrictions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from poppy.model.document import codec
from poppy.model.document.caching import CacheOptions
from poppy.model.document.fields import OptionalFields
from poppy.model.document.origins import OriginOptions
from poppy.model.secrets import Secret


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
class Origin(OriginOptions):
    """A server from which an edge fetches content.

    Attributes:
        origin: host name or IP address.
        port: 80 or 443.
        ssl: whether the edge uses TLS to connect.
        hostheadertype: the Host header: ``domain`` (the requested name), ``origin`` (the origin's
            own name) or ``custom`` (``hostheadervalue``).
        rules: paths that this origin serves; the first origin serves all others. A backup has
            none.
    """

    origin: str
    port: int = 80
    ssl: bool = False
    hostheadertype: str = "domain"
    hostheadervalue: str | None = None
    rules: tuple[Rule, ...] = ()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create an origin from an entry of ``origins``.

        The default port is 443 with ssl. S3 finds the bucket and checks signatures by the Host
        header, so its default is the origin's name with ``auth``.
        """
        ssl = document.get("ssl", False)
        host = "origin" if "auth" in document else "domain"
        return cls(
            origin=document["origin"],
            port=document.get("port", 443 if ssl else 80),
            ssl=ssl,
            hostheadertype=document.get("hostheadertype", host),
            hostheadervalue=document.get("hostheadervalue"),
            rules=tuple(Rule.from_dict(rule) for rule in document.get("rules", ())),
            **codec.values(OriginOptions, document),
        )

    def to_dict(self, secret: Callable[[Secret], Any] = Secret.shown) -> dict[str, Any]:
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
        return {**result, **codec.write(self, OriginOptions, secret)}


@dataclass(frozen=True, slots=True)
class Caching(CacheOptions):
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
            **codec.values(CacheOptions, document),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``caching``."""
        return {
            "name": self.name,
            "ttl": self.ttl,
            "rules": [rule.to_dict() for rule in self.rules],
            **codec.write(self, CacheOptions),
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
class ServiceSpec(OptionalFields):
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
            **codec.values(OptionalFields, document),
        )

    def to_dict(self, secret: Callable[[Secret], Any] = Secret.shown) -> dict[str, Any]:
        """Return the document that :meth:`from_dict` reads.

        Args:
            secret: how to write secrets. Stores use :meth:`.Secret.stored`.
        """
        return {
            "name": self.name,
            "flavor_id": self.flavor_id,
            "domains": [entry.to_dict() for entry in self.domains],
            "origins": [entry.to_dict(secret) for entry in self.origins],
            "caching": [entry.to_dict() for entry in self.caching],
            "restrictions": [entry.to_dict() for entry in self.restrictions],
            "log_delivery": {"enabled": self.log_delivery},
            **codec.write(self, OptionalFields, secret),
        }
