# SPDX-License-Identifier: Apache-2.0
"""Certificates that Fastly gets and renews: TLS subscriptions, one for each domain.

Fastly takes an order only for a domain of an active service, and has the certificate issued once
the domain's owner has shown, by a DNS record, whose it is.
See https://www.fastly.com/documentation/reference/api/tls/subs/.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

from poppy.common.errors import PermanentError
from poppy.provider.fastly.api import API, Document

_STATUSES = {
    "pending": "create_in_progress",
    "processing": "create_in_progress",
    "issued": "deployed",
    "renewing": "deployed",
    "failed": "failed",
}


class Record(NamedTuple):
    """A DNS record that shows whose a domain is; one of several ways."""

    kind: str
    record_type: str
    name: str
    values: tuple[str, ...]


class Subscription(NamedTuple):
    """An order, and how far it got.

    Attributes:
        domains: that the certificate is for; more than one only in orders that Poppy did not
            make.
        configuration: the TLS configuration it is used with; None if it does not say.
        records: what its owner may do to show whose the domains are; one is enough.
    """

    subscription_id: str
    state: str
    created_at: str
    domains: tuple[str, ...]
    configuration: str | None
    records: tuple[Record, ...]

    @property
    def status(self) -> str:
        """In Poppy's words; a state that is not known is taken for one on the way."""
        return _STATUSES.get(self.state, "create_in_progress")

    @property
    def wants(self) -> str:
        """For the tenant: what it waits for."""
        dns = [record for record in self.records if record.kind == "managed-dns"]
        if not dns:
            return f"waiting for the certificate for {', '.join(self.domains)}"
        return "; ".join(
            f"to get the certificate for {', '.join(self.domains)}, make {record.name} a "
            f"{record.record_type} of {', '.join(record.values)}"
            for record in dns
        )

    @classmethod
    def from_json_api(cls, data: Document, included: Mapping[str, Document]) -> Self:
        """From a resource object and those included with it, by id."""
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
            records=tuple(record for entry in authorizations for record in _records(entry)),
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
    """Orders for single domains.

    Args:
        configuration: the TLS configuration for new ones; None for the account's default.
        authority: which issues new ones; None for Fastly's default.
    """

    def __init__(self, api: API, configuration: str | None, authority: str | None) -> None:
        self._api = api
        self._configuration = configuration
        self._authority = authority

    def ensure(self, domain: str, *, retry: bool = False) -> Subscription:
        """Have one order for the domain.

        Args:
            retry: try again where Fastly has given up.
        """
        found = self.find(domain)
        if found is None:
            found = self._order(domain)
        elif found.state == "failed" and retry:
            self._api.retry_subscription(found.subscription_id)
            found = self.find(domain) or found
        return found

    def find(self, domain: str) -> Subscription | None:
        """The order for the domain: one that has got its certificate, else the oldest."""
        ranks = {"deployed": 0, "create_in_progress": 1, "failed": 2}
        return min(
            self._all(domain),
            key=lambda entry: (ranks[entry.status], entry.created_at, entry.subscription_id),
            default=None,
        )

    def remove(self, domain: str, *, force: bool) -> None:
        """Give up orders for just this domain; others, made by hand, are left alone."""
        for order in self._all(domain):
            if order.domains == (domain,):
                self._api.unsubscribe(order.subscription_id, force=force)

    def _all(self, domain: str) -> list[Subscription]:
        document = self._api.subscriptions(domain)
        included = {entry["id"]: entry for entry in document.get("included") or ()}
        return [Subscription.from_json_api(data, included) for data in document["data"]]

    def access_name(self, configuration: str) -> str:
        """The name that domains with this TLS configuration are to be a CNAME of.

        Raises:
            PermanentError: it has none.
        """
        document = self._api.tls_configuration(configuration)
        records = [
            entry
            for entry in document.get("included") or ()
            if entry["type"] == "dns_record" and entry["attributes"]["record_type"] == "CNAME"
        ]
        # All of Fastly's network, where there is a choice.
        records.sort(key=lambda entry: entry["attributes"].get("region") != "global")
        if not records:
            raise PermanentError(f"Fastly's TLS configuration {configuration} has no CNAME")
        return str(records[0]["id"])

    def _order(self, domain: str) -> Subscription:
        try:
            data = self._api.subscribe(domain, self._configuration, self._authority)["data"]
        except PermanentError:
            # Fine if another worker was faster.
            found = self.find(domain)
            if found is None:
                raise
            return found
        found = self.find(domain)
        if found is None:
            return Subscription.from_json_api(data, {})
        if found.subscription_id != data["id"]:
            # Another worker was at it too; the oldest stays.
            self._api.unsubscribe(data["id"], force=False)
        return found
