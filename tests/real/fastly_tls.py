# SPDX-License-Identifier: Apache-2.0
"""TLS subscriptions and configurations of a customer, for :mod:`tests.real.fastly`.

The JSON:API documents follow https://www.fastly.com/documentation/reference/api/tls/.
"""

import itertools
from dataclasses import dataclass
from typing import Any

from tests.real.fastly_account import Account
from tests.real.fastly_objects import Refused

DEFAULT = "TLSdefault"
AUTHORITIES = {"certainly", "lets-encrypt", "globalsign"}


class RefusedByTLS(Refused):
    """A refusal in the format of JSON:API."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(status, title, detail)
        self.document = {"errors": [{"title": title, "detail": detail}]}


@dataclass
class Subscription:
    """An order for a certificate."""

    subscription_id: str
    domains: tuple[str, ...]
    configuration: str
    authority: str
    state: str = "pending"

    def data(self) -> dict[str, Any]:
        """Return its resource object."""
        named = [{"type": "tls_domain", "id": domain} for domain in self.domains]
        return {
            "type": "tls_subscription",
            "id": self.subscription_id,
            "attributes": {
                "state": self.state,
                "certificate_authority": self.authority,
                "created_at": f"2030-01-02T03:04:{int(self.subscription_id[3:]) % 60:02}.000Z",
                "has_active_order": self.state in {"pending", "processing"},
            },
            "relationships": {
                "tls_domains": {"data": named},
                "common_name": {"data": named[0]},
                "tls_certificates": {"data": []},
                "tls_configuration": {
                    "data": {"type": "tls_configuration", "id": self.configuration}
                },
                "tls_authorizations": {
                    "data": [
                        {"type": "tls_authorization", "id": f"{self.subscription_id}-{number}"}
                        for number, _ in enumerate(self.domains)
                    ]
                },
            },
        }

    def authorizations(self) -> list[dict[str, Any]]:
        """Return the challenges that prove ownership of the domains."""
        return [
            {
                "type": "tls_authorization",
                "id": f"{self.subscription_id}-{number}",
                "attributes": {
                    "state": self.state,
                    "challenges": [
                        {
                            "type": "managed-dns",
                            "record_type": "CNAME",
                            "record_name": f"_acme-challenge.{domain}",
                            "values": [f"{self.subscription_id}.fastly-validations.com"],
                        },
                        {
                            "type": "managed-http-cname",
                            "record_type": "CNAME",
                            "record_name": domain,
                            "values": ["j.sni.global.fastly.net"],
                        },
                    ],
                },
            }
            for number, domain in enumerate(self.domains)
        ]


class TLS:
    """The subscriptions of an account.

    Attributes:
        configurations: the DNS records of each TLS configuration: (name, type, region).
        unique: whether a domain may be in one subscription only.
    """

    def __init__(self, account: Account) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.configurations = {
            DEFAULT: [
                ("151.101.2.132", "A", "global"),
                ("j.sni.us-eu.fastly.net", "CNAME", "us-eu"),
                ("j.sni.global.fastly.net", "CNAME", "global"),
            ]
        }
        self.unique = False
        self._account = account
        self._ids = itertools.count(1)

    def set_state(self, domain: str, state: str) -> None:
        """Set the state of a subscription, as Fastly does after some time."""
        for entry in self.of(domain):
            entry.state = state

    def of(self, domain: str) -> list[Subscription]:
        """Return the subscriptions with a domain."""
        return [entry for entry in self.subscriptions.values() if domain in entry.domains]

    def listing(self, domain: str | None, include: str) -> dict[str, Any]:
        """Return a page of subscriptions, optionally of one domain."""
        found = list(self.subscriptions.values()) if domain is None else self.of(domain)
        document: dict[str, Any] = {
            "data": [entry.data() for entry in found],
            "links": {"next": None},
            "meta": {"record_count": len(found), "total_pages": 1},
        }
        if include == "tls_authorizations":
            document["included"] = [one for entry in found for one in entry.authorizations()]
        return document

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Order a certificate."""
        data = body.get("data") or {}
        related = data.get("relationships") or {}
        # The reference names it in the plural; Fastly's own client uses the singular.
        wanted = related.get("tls_domains") or related.get("tls_domain") or {}
        domains = tuple(entry["id"] for entry in wanted.get("data") or ())
        if data.get("type") != "tls_subscription" or not domains:
            raise RefusedByTLS(400, "Bad request", "no tls_subscription with tls_domains")
        configuration = (related.get("tls_configuration") or {}).get("data") or {"id": DEFAULT}
        if configuration["id"] not in self.configurations:
            raise RefusedByTLS(400, "Not found", "there is no such tls_configuration")
        authority = (data.get("attributes") or {}).get("certificate_authority", "certainly")
        if authority not in AUTHORITIES:
            raise RefusedByTLS(400, "Bad request", f"there is no authority {authority}")
        for domain in domains:
            if self._account.serves(domain) is None:
                raise RefusedByTLS(
                    400,
                    "The domain you entered was not found on one of your services",
                    f"Please add {domain} to an active service to begin TLS enablement.",
                )
            if self.unique and self.of(domain):
                raise RefusedByTLS(400, "Bad request", f"{domain} is on a subscription already")
        made = Subscription(f"SUB{next(self._ids)}", domains, configuration["id"], authority)
        self.subscriptions[made.subscription_id] = made
        return {"data": made.data(), "included": made.authorizations()}

    def change(self, subscription: str, body: dict[str, Any]) -> dict[str, Any]:
        """Retry a failed subscription."""
        found = self._get(subscription)
        if body["data"]["attributes"] != {"state": "retry"} or found.state != "failed":
            raise RefusedByTLS(400, "Bad request", "only a failed subscription is retried")
        found.state = "pending"
        return {"data": found.data()}

    def delete(self, subscription: str, force: bool) -> None:
        """Delete a subscription."""
        found = self._get(subscription)
        if found.state in {"issued", "renewing"} and not force:
            raise RefusedByTLS(400, "Bad request", "it has domains with TLS enabled")
        del self.subscriptions[subscription]

    def configuration(self, configuration: str) -> dict[str, Any]:
        """Return a TLS configuration with its DNS records."""
        if configuration not in self.configurations:
            raise RefusedByTLS(404, "Not found", "there is no such tls_configuration")
        return {
            "data": {"type": "tls_configuration", "id": configuration, "attributes": {}},
            "included": [
                {
                    "type": "dns_record",
                    "id": name,
                    "attributes": {"record_type": kind, "region": region},
                }
                for name, kind, region in self.configurations[configuration]
            ],
        }

    def _get(self, subscription: str) -> Subscription:
        if subscription not in self.subscriptions:
            raise RefusedByTLS(404, "Not found", "there is no such tls_subscription")
        return self.subscriptions[subscription]
