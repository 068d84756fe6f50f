# SPDX-License-Identifier: Apache-2.0
"""What is stored of an issuance, and what the issuer needs from its surroundings."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol, Self

from poppy.model.services import Service
from poppy.provider.skeleton import own_certificates

HTTP, DNS = "http-01", "dns-01"


@dataclass(frozen=True, slots=True)
class Account:
    """The account at an authority.

    Attributes:
        directory: URL of the authority's directory.
        key: the sealed private key.
        url: the account's URL; None before it is registered.
        orders: URL of its list of orders, which few authorities have.
    """

    directory: str
    key: str
    url: str | None = None
    orders: str | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """What an authority wants to find.

    Attributes:
        kind: ``http-01`` (RFC 8555, section 8.3) or ``dns-01`` (section 8.4).
        domain: the domain, without ``*.``.
        name: http-01: the token, for ``/.well-known/acme-challenge/<token>``; dns-01: the name of
            a TXT record.
        value: the body, or the record's text. The same record may be needed with two values, for
            a domain and its wildcard.
        url: where the authority is told that it is published.
    """

    kind: str
    domain: str
    name: str
    value: str
    url: str


@dataclass(frozen=True, slots=True)
class Order:
    """The state of an issuance. It is stored after each step, as JSON.

    Attributes:
        id: unique; it is part of the purpose of the sealed key.
        names: domains in lower case, as A-labels; ``*.`` may come first.
        authority: URL of the directory. It stays the same until the authority fails.
        key: the sealed private key of the certificate.
        renewal: whether it renews a certificate for the same names.
        replaces: the ID of the renewed certificate (RFC 9773, section 4.1).
        sent: whether the authority may have received the order.
        url: the order's URL.
        challenges: those that are, or have to be, published.
        answered: whether the authority knows that all of them are published.
        certificate: the chain in PEM, the domain's certificate first.
        renew_at: when the certificate is renewed, in ISO 8601; None until the authority was asked.
        ask_at: when the authority is asked for this time again; None if it was not asked yet.
        failures: of the authority, since its last success.
        rejections: consecutive orders that failed because of the domains.
        retry_at: no request is sent before this time, in ISO 8601.
        problem: why the last attempt failed, for the tenant.
        refused: whether a later attempt would fail too, as far as is known.
        avoid: until when an authority is avoided, by the URL of its directory.
        project_id, service_id: of the service that has the names.
    """

    id: str
    names: tuple[str, ...]
    authority: str
    key: str
    renewal: bool = False
    replaces: str | None = None
    sent: bool = False
    url: str | None = None
    challenges: tuple[Challenge, ...] = ()
    answered: bool = False
    certificate: str | None = None
    failures: int = 0
    rejections: int = 0
    retry_at: str | None = None
    problem: str | None = None
    refused: bool = False
    renew_at: str | None = None
    ask_at: str | None = None
    avoid: Mapping[str, str] = field(default_factory=dict)
    project_id: str = ""
    service_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON object. The private key in it is sealed."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return the order of :meth:`to_dict`."""
        lists = {
            "names": tuple(document["names"]),
            "challenges": tuple(Challenge(**it) for it in document["challenges"]),
        }
        return cls(**{**document, **lists})


#: Stands for the authority of a certificate that a tenant brought; there is nothing to order.
CUSTOM = "custom"


class Owner(NamedTuple):
    """What has certificates: a service, or a shard of the operator's.

    Attributes:
        domains: those that need a certificate of an authority.
        custom: those for which the tenant brings one.
    """

    project_id: str
    service_id: str
    domains: Collection[str]
    custom: Collection[str] = ()

    @classmethod
    def of(cls, service: Service) -> Self:
        """Return a service as an owner."""
        domains = frozenset(domain.lower() for domain in own_certificates(service.spec))
        custom = frozenset(
            it.domain.lower() for it in service.spec.domains if it.certificate == "custom"
        )
        return cls(service.project_id, service.service_id, domains, custom)

    def has(self, order: Order) -> bool:
        """Return whether an order is for one of the domains."""
        wanted = self.custom if order.authority == CUSTOM else self.domains
        return order.names[0] in wanted


class Records(Protocol):
    """The store of accounts, orders and events. Each write is durable when it returns."""

    def account(self, directory: str) -> Account | None:
        """Return the account at an authority; None if there is none."""

    def add_account(self, account: Account) -> Account:
        """Store an account unless there is one; return the stored one."""

    def put_account(self, account: Account) -> None:
        """Replace an account."""

    def put_order(self, order: Order) -> None:
        """Store an order in place of the one with its ID."""

    def events(self, key: str, since: datetime.datetime) -> Sequence[datetime.datetime]:
        """Return the times of a key's events after a time, in any order."""

    def add_event(self, key: str, at: datetime.datetime) -> None:
        """Store an event. It is needed for a week."""


class Publisher(Protocol):
    """Publishes challenges. Both methods may be repeated with the same challenges."""

    def publish(self, order: Order) -> None:
        """Publish the challenges of an order.

        Raises:
            InProgressError: they are not on all nodes, or in all name servers, yet.
            PermanentError: the zone of a record is not the operator's.
        """

    def withdraw(self, order: Order) -> None:
        """Withdraw the challenges of an order, published or not."""
