# SPDX-License-Identifier: Apache-2.0
"""Client of Akamai's Property Manager API, version 1; one method per call.

The reference is https://techdocs.akamai.com/property-mgr/reference/api. A *property* is a
configuration with numbered *versions*. A version has a tree of *rules* and a list of *hostnames*.
Each hostname has an *edge hostname*, its CNAME target. *Activating* a version deploys it to a
network.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import requests
from oslo_log import log

from poppy.common.errors import PermanentError, RetryableError, Scope, Unauthorized, succeeds
from poppy.common.http import GONE, failure, retry_after
from poppy.provider.akamai.edgegrid import Document, Session, listed, words
from poppy.provider.akamai.quotas import read_quotas

LOG = log.getLogger(__name__)

#: Statuses for a conflicting change. 412 and 422 may mean that too, according to the type.
_BUSY = frozenset(
    {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.UNPROCESSABLE_ENTITY}
)
#: Statuses that may concern default certificates.
_REFUSALS = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
_AGAIN = 5.0  # Seconds.


class Property(NamedTuple):
    """A property.

    Attributes:
        latest: the highest version number.
        networks: the networks with an active version.
    """

    property_id: str
    name: str
    latest: int
    networks: frozenset[str]


class Activation(NamedTuple):
    """An activation or deactivation of a version on a network.

    Attributes:
        kind: ``ACTIVATE`` or ``DEACTIVATE``.
        cause: why it failed; empty if Akamai gives no reason.
    """

    activation_id: str
    version: int
    network: str
    kind: str
    status: str
    updated: str
    cause: str

    @property
    def pending(self) -> bool:
        """Whether it is in progress."""
        return self.status in _PENDING

    @property
    def serves(self) -> bool:
        """Whether the network serves this version."""
        return self.kind == "ACTIVATE" and self.status == "ACTIVE"

    @property
    def failed(self) -> bool:
        """Whether it failed or was aborted."""
        return self.status in ("FAILED", "ABORTED")


_PENDING = frozenset(
    {"NEW", "PENDING", "ZONE_1", "ZONE_2", "ZONE_3", "PENDING_DEACTIVATION"}
    | {"PENDING_CANCELLATION"}
)


class PAPI:
    """The API's calls. They raise the same errors as :meth:`Client.request`.

    Args:
        contract: with its prefix ``ctr_``, like ``group`` (``grp_``) and ``product`` (``prd_``).
        rule_format: the dated rule format.
    """

    def __init__(
        self, session: Session, contract: str, group: str, product: str, rule_format: str
    ) -> None:
        self._session = session
        self._scope = {"contractId": contract, "groupId": group}
        self._product = product
        self._rule_format = rule_format

    def answers(self) -> bool:
        """Return whether Akamai answers and accepts the credentials."""
        return succeeds(lambda: self._json("GET", "/contracts", params={}))

    def find(self, name: str) -> str | None:
        """Search the property with exactly this name and return its id; None without one."""
        body = {"propertyName": name}
        found = self._json("POST", "/search/find-by-value", reads=True, params={}, json=body)
        ids = {
            entry["propertyId"]
            for entry in found["versions"]["items"]
            if entry.get("propertyName") == name
        }
        return min(ids, default=None)

    def find_in_list(self, name: str) -> str | None:
        """Find a property in the list of all, which is more current than the search."""
        items = self._json("GET", "/properties")["properties"]["items"]
        ids = {entry["propertyId"] for entry in items if entry["propertyName"] == name}
        return min(ids, default=None)

    def create(self, name: str) -> str:
        """Create a property with one empty version and return its id."""
        body = {
            "productId": self._product,
            "propertyName": name,
            "ruleFormat": self._rule_format,
        }
        return _last(self._json("POST", "/properties", json=body)["propertyLink"])

    def property(self, property_id: str) -> Property | None:
        """Return a property; None if it does not exist."""
        response = self._request("GET", _path(property_id), accept=GONE)
        if response.status_code in GONE:
            return None
        (found,) = self._session.document(response)["properties"]["items"]
        numbers = {
            "STAGING": found["stagingVersion"],
            "PRODUCTION": found["productionVersion"],
        }
        return Property(
            property_id=found["propertyId"],
            name=found["propertyName"],
            latest=int(found["latestVersion"]),
            networks=frozenset(network for network, number in numbers.items() if number),
        )

    def delete(self, property_id: str) -> None:
        """Delete an inactive property. Ignore a missing one."""
        self._request("DELETE", _path(property_id), accept=GONE)

    def new_version(self, property_id: str, of: int, etag: str) -> int:
        """Copy a version to a new, editable one and return its number."""
        body = {"createFromVersion": of, "createFromVersionEtag": etag}
        path = f"{_path(property_id)}/versions"
        response = self._request("POST", path, accept=_BUSY, json=body)
        if response.status_code in _BUSY:
            raise RetryableError("Akamai's version was changed concurrently", retry_after=_AGAIN)
        return int(_last(self._session.document(response)["versionLink"]))

    def rules(self, property_id: str, version: int) -> tuple[Document, str]:
        """Return the rule tree of a version, and its ETag."""
        path = f"{_path(property_id)}/versions/{version}/rules"
        found = self._json("GET", path, params={**self._scope, "validateRules": "false"})
        return found["rules"], found["etag"]

    def put_rules(self, property_id: str, version: int, etag: str, rules: Document) -> Document:
        """Write the rule tree of an editable version and return Akamai's result.

        Raises:
            PermanentError: Akamai finds errors in the rules; the message quotes them.
            RetryableError: also if the ETag does not match any more.
        """
        path = f"{_path(property_id)}/versions/{version}/rules"
        media = f"application/vnd.akamai.papirules.{self._rule_format}+json"
        if self._rule_format == "latest":
            media = "application/json"
        response = self._request(
            "PUT",
            path,
            accept=_BUSY,
            headers={"If-Match": f'"{etag}"', "Content-Type": media},
            json={"rules": rules},
        )
        return self._checked(response, "rules")

    def hostnames(self, property_id: str, version: int, *, status: bool = False) -> list[Document]:
        """Return the hostnames of a version with their edge hostnames.

        Args:
            status: whether to include the status of default certificates.
        """
        path = f"{_path(property_id)}/versions/{version}/hostnames"
        params = {**self._scope, **({"includeCertStatus": "true"} if status else {})}
        return list(self._json("GET", path, params=params)["hostnames"]["items"])

    def put_hostnames(
        self, property_id: str, version: int, etag: str, hostnames: Sequence[Mapping[str, str]]
    ) -> str:
        """Write the hostnames of an editable version and return its new ETag.

        Raises:
            PermanentError: also if the contract has no default certificates left.
            Unauthorized: also if it has none at all.
        """
        path = f"{_path(property_id)}/versions/{version}/hostnames"
        response = self._request(
            "PUT",
            path,
            accept=_BUSY | _REFUSALS,
            headers={"If-Match": f'"{etag}"'},
            params={**self._scope, "validateHostnames": "true"},
            json=list(hostnames),
        )
        if response.status_code in _REFUSALS:
            raise self._refusal(response)
        return str(self._checked(response, "hostnames")["etag"])

    def activations(self, property_id: str) -> list[Activation]:
        """Return all activations of a property, the latest first."""
        found = self._json("GET", f"{_path(property_id)}/activations")["activations"]["items"]
        # Sort by id: ids grow, and dates have a resolution of seconds only.
        return sorted(map(_activation, found), key=lambda one: -_number(one.activation_id))

    def ready_in(self, property_id: str, activation_id: str) -> float | None:
        """Return Akamai's estimate of the remaining seconds; None without one."""
        path = f"{_path(property_id)}/activations/{quote(activation_id, safe='')}"
        return retry_after(self._request("GET", path).headers, read_quotas)

    def activate(
        self,
        property_id: str,
        version: int,
        network: str,
        kind: str,
        emails: Sequence[str],
        compliance: Document | None,
    ) -> bool:
        """Start an activation or deactivation. Return False if another one is in progress.

        Args:
            compliance: see :mod:`poppy.provider.akamai.compliance`; for PRODUCTION.

        Raises:
            PermanentError: also if Akamai misses a compliance record.
        """
        body: Document = {
            "propertyVersion": version,
            "network": network,
            "activationType": kind,
            "acknowledgeAllWarnings": True,
            "notifyEmails": list(emails),
            "note": "by Poppy",
        }
        if compliance is not None and network == "PRODUCTION":
            body["complianceRecord"] = compliance
        path = f"{_path(property_id)}/activations"
        try:
            response = self._request("POST", path, accept=_BUSY, json=body)
        except PermanentError as exc:
            if "missing_compliance_record" in str(exc):
                raise PermanentError(
                    "This Akamai account needs the option compliance_record"
                ) from exc
            raise
        if response.status_code not in _BUSY:
            return True
        problem = self._session.document(response)
        if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY and not _is_pending(problem):
            raise PermanentError(f"Akamai refuses to {kind.lower()} it: {words(problem)}")
        return False

    def edge_hostnames(self) -> dict[str, str]:
        """Return the ids of all edge hostnames by name."""
        items = self._json("GET", "/edgehostnames")["edgeHostnames"]["items"]
        return {entry["edgeHostnameDomain"]: entry["edgeHostnameId"] for entry in items}

    def create_edge_hostname(
        self, prefix: str, suffix: str, ip_version: str, enrollment: int | None
    ) -> None:
        """Create an edge hostname. With an enrollment, it serves TLS with its certificate."""
        body: Document = {
            "productId": self._product,
            "domainPrefix": prefix,
            "domainSuffix": suffix,
            "ipVersionBehavior": ip_version,
        }
        if enrollment is not None:
            body |= {"secureNetwork": "ENHANCED_TLS", "certEnrollmentId": enrollment}
        self._json("POST", "/edgehostnames", json=body)

    def cp_codes(self) -> dict[int, str]:
        """Return the names of all CP codes by number."""
        items = self._json("GET", "/cpcodes")["cpcodes"]["items"]
        return {_number(entry["cpcodeId"]): entry["cpcodeName"] for entry in items}

    def create_cp_code(self, name: str) -> int:
        """Create a CP code, which can't be deleted, and return its number."""
        body = {"productId": self._product, "cpcodeName": name}
        return _number(_last(self._json("POST", "/cpcodes", json=body)["cpcodeLink"]))

    def _refusal(self, response: requests.Response) -> Exception:
        """Return the error for a refused change of hostnames.

        The limit has the status of the rate limit, but waiting does not help. See
        https://techdocs.akamai.com/property-mgr/reference/rate-and-resource-limiting.
        """
        problem = self._session.document(response)
        if problem.get("limitKey") == "DEFAULT_CERTS_PER_CONTRACT":
            return PermanentError(
                f"Akamai's contract has no default certificates left (limit "
                f"{problem.get('limit')}): {words(problem)}"
            )
        if str(problem.get("type")).endswith("/default-cert-provisioning-unavailable"):
            return Unauthorized(
                "Akamai's contract has no default certificates, which the option "
                f"default_certificates needs: {words(problem)}",
                scope=Scope.SERVICE,
            )
        message = f"Akamai refuses the hostnames with {response.status_code}: {words(problem)}"
        return failure(message, words(problem), response, read_quotas)

    def _checked(self, response: requests.Response, what: str) -> Document:
        """Return the written document, or raise an error if the write failed."""
        if response.status_code in _BUSY:
            raise RetryableError(f"Akamai's {what} were changed concurrently", retry_after=_AGAIN)
        found = self._session.document(response)
        if found.get("errors"):
            raise PermanentError(f"Akamai refuses the {what}: {words(found)}")
        if found.get("warnings"):
            LOG.warning(
                "Akamai warns of the %s of property %s: %s",
                what,
                found.get("propertyId"),
                listed(found["warnings"]),
            )
        return found

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"PAPI-Use-Prefixes": "true", **options.pop("headers", {})}
        params = options.pop("params", self._scope)
        return self._session.request(
            method, f"/papi/v1{path}", headers=headers, params=params, **options
        )

    def _json(self, method: str, path: str, **options: Any) -> Document:
        return self._session.document(self._request(method, path, **options))


def _is_pending(problem: Document) -> bool:
    return "pending" in str(problem.get("type", "")).lower()


def _activation(found: Document) -> Activation:
    cause = found.get("failureCause")
    return Activation(
        activation_id=found["activationId"],
        version=int(found.get("propertyVersion") or 0),
        network=found["network"],
        kind=found["activationType"],
        status=found["status"],
        updated=found["updateDate"],
        cause=words(cause) if isinstance(cause, dict) else "",
    )


def _path(property_id: str) -> str:
    return f"/properties/{quote(property_id, safe='')}"


def _last(link: str) -> str:
    """Return the last segment of a link's path."""
    return link.partition("?")[0].rstrip("/").rpartition("/")[2]


def _number(identifier: str) -> int:
    """Return the number in an id, with or without its prefix."""
    return int(re.sub("[^0-9]", "", identifier) or 0)
