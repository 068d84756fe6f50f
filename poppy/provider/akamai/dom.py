# SPDX-License-Identifier: Apache-2.0
"""Client of Akamai's Domain Ownership Manager API (DOM), version 1.

The reference is https://techdocs.akamai.com/domain-validation/reference/api. An account *claims* a
domain in a *scope*: ``HOST`` (that name only), ``WILDCARD`` (the names one level below) or
``DOMAIN`` (the name and all below). A claim has a token, which the domain's owner publishes before
it expires. Once validated, a claim does not expire.
"""

from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import requests

from poppy.common.chunks import chunks
from poppy.common.errors import Scope, Unauthorized
from poppy.common.http import GONE
from poppy.provider.akamai.edgegrid import Document, Session

#: Maximum domains of a request. The reference allows 1,000, and Akamai's Terraform provider sends
#: at most 100 to ``validate-now``.
MOST_DOMAINS = 100
#: Maximum characters of a domain.
LONGEST_DOMAIN = 200
#: A scope of a single name.
HOST = "HOST"
#: Statuses of a claim whose token can't be used any more.
DEAD = frozenset({"TOKEN_EXPIRED", "INVALIDATED"})

_PATH = "/domain-validation/v1/domains"
_VALIDATED = "VALIDATED"


class Claim(NamedTuple):
    """A claim of the account.

    Attributes:
        scope: ``HOST``, ``WILDCARD`` or ``DOMAIN``.
        status: ``REQUEST_ACCEPTED``, ``VALIDATION_IN_PROGRESS``, ``VALIDATED``, ``TOKEN_EXPIRED``
            or ``INVALIDATED``.
        inherited: whether the status is that of a claim of a parent domain.
        record: name and value of the TXT record that proves ownership; None without a token.
    """

    name: str
    scope: str
    status: str
    inherited: bool = False
    record: tuple[str, str] | None = None

    @property
    def validated(self) -> bool:
        """Whether Akamai accepts the account as the owner."""
        return self.status == _VALIDATED

    def covers(self, domain: str) -> bool:
        """Return whether the claim lets a property have this hostname."""
        if not self.validated:
            return False
        if self.inherited or self.scope == HOST:
            # The parent's scope is unknown, so an inherited status counts for this name only.
            return self.name == domain
        if self.scope == "WILDCARD":
            return domain.partition(".")[2] == self.name
        return domain == self.name or domain.endswith(f".{self.name}")


class DOM:
    """The API's calls. They raise the same errors as :meth:`Client.request`.

    They also raise Unauthorized with the name of the option ``domain_validation`` if the API
    client lacks the permission.

    Args:
        group: the driver's option group, for that message.
    """

    def __init__(self, session: Session, group: str) -> None:
        self._session = session
        self._group = group

    def search(self, domains: Iterable[tuple[str, str]]) -> list[Claim]:
        """Return the claims of pairs of a domain and a scope.

        If there is no such claim, the answer may have the closest one instead, such as a parent's.
        """
        found: list[Document] = []
        for batch in chunks((_domain(*pair) for pair in dict.fromkeys(domains)), MOST_DOMAINS):
            params = {"includeAll": "true"}
            answer = self._request(
                "POST", "/search", reads=True, params=params, json={"domains": batch}
            )
            found += self._session.document(answer)["domains"]
        return [_claim(entry) for entry in found]

    def add(self, domains: Iterable[str]) -> dict[str, str]:
        """Claim hosts, also those whose tokens have expired.

        Returns:
            Akamai's reason by domain that it refuses. That includes domains with a pending claim
            and domains that a validated claim of a parent covers.
        """
        refused: dict[str, str] = {}
        for batch in chunks((_domain(name, HOST) for name in domains), MOST_DOMAINS):
            answer = self._session.document(self._request("POST", "", json={"domains": batch}))
            refused |= {
                entry["domainName"]: entry["detail"] for entry in answer.get("errors") or ()
            }
        return refused

    def validate(self, domains: Iterable[str], by_cname: Collection[str] = ()) -> set[str]:
        """Ask Akamai to look up the records of pending claims now.

        Args:
            by_cname: domains that are proven by the CNAME record, instead of the TXT record.

        Returns:
            The domains that are validated already.
        """
        found: list[Document] = []
        pending = (
            {
                **_domain(name, HOST),
                "validationMethod": "DNS_CNAME" if name in by_cname else "DNS_TXT",
            }
            for name in domains
        )
        for batch in chunks(pending, MOST_DOMAINS):
            answer = self._request("POST", "/validate-now", json={"domains": batch})
            found += self._session.document(answer)["domains"]
        return {entry["domainName"] for entry in found if entry["domainStatus"] == _VALIDATED}

    def invalidate(self, domain: str) -> None:
        """Make a validated claim of a host invalid. Ignore a missing one."""
        path = f"/invalidate/{quote(domain, safe='')}"
        self._request("POST", path, params={"validationScope": HOST}, accept=GONE)

    def delete(self, domain: str) -> None:
        """Delete an invalid or expired claim of a host. Ignore a missing one."""
        path = f"/{quote(domain, safe='')}"
        self._request("DELETE", path, params={"validationScope": HOST}, accept=GONE)

    def _request(
        self, method: str, path: str, accept: Collection[int] = (), **options: Any
    ) -> requests.Response:
        accepted = {*accept, HTTPStatus.FORBIDDEN}
        response = self._session.request(method, _PATH + path, accept=accepted, **options)
        if response.status_code == HTTPStatus.FORBIDDEN:
            # Only services with new domains need this API, so the provider works for others.
            raise Unauthorized(
                "Akamai refuses this API client the Domain Ownership Manager API "
                "(domain-validation): grant it read, write and delete access, or set "
                f"[{self._group}] domain_validation = false",
                scope=Scope.SERVICE,
            )
        return response


def _domain(name: str, scope: str) -> dict[str, str]:
    return {"domainName": name, "validationScope": scope}


def _claim(found: Document) -> Claim:
    txt = (found.get("validationChallenge") or {}).get("txtRecord")
    return Claim(
        name=found["domainName"].lower(),
        scope=found["validationScope"],
        status=found["domainStatus"],
        inherited=found.get("validationLevel", "FQDN") != "FQDN",
        record=(txt["name"], txt["value"]) if txt else None,
    )
