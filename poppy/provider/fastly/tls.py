# SPDX-License-Identifier: Apache-2.0
"""Certificates that Fastly orders and renews: one TLS subscription per domain.

Fastly accepts an order only for a domain of an active service. The certificate is issued after the
domain's owner has proven control with a DNS record.
See https://www.fastly.com/documentation/reference/api/tls/subs/.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

from poppy.common.errors import PermanentError
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.provider.fastly.api import API, Document

_STATUSES = {
    "pending": "create_in_progress",
    "processing": "create_in_progress",
    "issued": "deployed",
    "renewing": "deployed",
    "failed": "failed",
}


#: The kind of challenge that Fastly recommends: a CNAME to a name that it manages.
_MANAGED = "managed-dns"


class Record(NamedTuple):
    """A DNS record that proves control of a domain; one of several alternatives."""

    kind: str
    record_type: str
    name: str
    values: tuple[str, ...]


class Subscription(NamedTuple):
    """A certificate order with its progress.

    Attributes:
        domains: the domains of the certificate; more than one only in orders that Poppy did not
            create.
        configuration: its TLS configuration; None if unknown.
        challenges: DNS records that prove control of the domains; one is sufficient.
    """

    subscription_id: str
    state: str
    created_at: str
    domains: tuple[str, ...]
    configuration: str | None
    challenges: tuple[Record, ...]

    @property
    def status(self) -> str:
        """Poppy's certificate status; an unknown state counts as in progress."""
        return _STATUSES.get(self.state, "create_in_progress")

    @property
    def records(self) -> tuple[DNSRecord, ...]:
        """The records for an order of one domain. They must stay, for renewals."""
        return tuple(
            DNSRecord(domain, Purpose.CERTIFICATE, RecordType.CNAME, record.name, value)
            for record in self.challenges
            if record.kind == _MANAGED
            for domain in self.domains[:1]
            for value in record.values
        )

    @property
    def wants(self) -> str:
        """What the order waits for, for the tenant."""
        dns = [record for record in self.challenges if record.kind == _MANAGED]
        if not dns:
            return f"waiting for the certificate for {', '.join(self.domains)}"
        return "; ".join(
            f"to get the certificate for {', '.join(self.domains)}, create the "
            f"{record.record_type} record {record.name} with the value {', '.join(record.values)}"
            for record in dns
        )

    @classmethod
    def from_json_api(cls, data: Document, included: Mapping[str, Document]) -> Self:
        """Create a subscription from a resource object and its included objects by id."""
        related = data.get("relationships") or {}
        configuration = (related.get("tls_configuration") or {}).get("data")
        authorizations = [
            included[entry["id"]]
            for entry in (related.get("tls_authorizations") or {}).get("data") or ()
            if entry["id"] in included
        ]
        return cls(
            subscription_id=data["id"],
            state=data["attributes"]["state"],
            created_at=data["attributes"].get("created_at") or "",
            domains=tuple(
                entry["id"] for entry in (related.get("tls_domains") or {}).get("data") or ()
            ),
            configuration=configuration["id"] if configuration else None,
            challenges=tuple(record for entry in authorizations for record in _records(entry)),
        )


def _records(authorization: Document) -> Iterator[Record]:
    for entry in authorization["attributes"].get("challenges") or ():
        yield Record(
            kind=entry["type"],
            record_type=entry["record_type"],
            name=entry["record_name"],
            values=tuple(entry["values"]),
        )


class Certificates:
    """Certificate orders for single domains.

    Args:
        configuration: the TLS configuration of new orders; None for the account's default.
        authority: the certificate authority of new orders; None for Fastly's default.
    """

    def __init__(self, api: API, configuration: str | None, authority: str | None) -> None:
        self._api = api
        self._configuration = configuration
        self._authority = authority

    def ensure(self, domain: str, *, retry: bool = False) -> Subscription:
        """Return the order for the domain; create it if there is none.

        Args:
            retry: whether to retry an order that failed.
        """
        found = self.find(domain)
        if found is None:
            found = self._order(domain)
        elif found.state == "failed" and retry:
            self._api.retry_subscription(found.subscription_id)
            found = self.find(domain) or found
        return found

    def find(self, domain: str) -> Subscription | None:
        """Return the domain's order: one with a certificate, otherwise the oldest; or None."""
        ranks = {"deployed": 0, "create_in_progress": 1, "failed": 2}
        return min(
            self._all(domain),
            key=lambda entry: (ranks[entry.status], entry.created_at, entry.subscription_id),
            default=None,
        )

    def remove(self, domain: str, *, force: bool) -> None:
        """Delete orders for this domain alone. Others were created manually and stay."""
        for order in self._all(domain):
            if order.domains == (domain,):
                self._api.unsubscribe(order.subscription_id, force=force)

    def _all(self, domain: str) -> list[Subscription]:
        document = self._api.subscriptions(domain)
        included = {entry["id"]: entry for entry in document.get("included") or ()}
        return [Subscription.from_json_api(data, included) for data in document["data"]]

    def access_name(self, configuration: str) -> str:
        """Return the CNAME target of domains with a TLS configuration.

        Raises:
            PermanentError: the TLS configuration has no CNAME record.
        """
        document = self._api.tls_configuration(configuration)
        records = [
            entry
            for entry in document.get("included") or ()
            if entry["type"] == "dns_record" and entry["attributes"]["record_type"] == "CNAME"
        ]
        # Prefer Fastly's global network.
        records.sort(key=lambda entry: entry["attributes"].get("region") != "global")
        if not records:
            raise PermanentError(f"Fastly's TLS configuration {configuration} has no CNAME")
        return str(records[0]["id"])

    def _order(self, domain: str) -> Subscription:
        try:
            data = self._api.subscribe(domain, self._configuration, self._authority)["data"]
        except PermanentError:
            # Another worker may have been faster.
            found = self.find(domain)
            if found is None:
                raise
            return found
        found = self.find(domain)
        if found is None:
            return Subscription.from_json_api(data, {})
        if found.subscription_id != data["id"]:
            # Another worker also created one; keep the oldest.
            self._api.unsubscribe(data["id"], force=False)
        return found
