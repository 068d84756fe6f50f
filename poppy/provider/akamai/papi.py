# SPDX-License-Identifier: Apache-2.0
"""Akamai's Property Manager API, version 1, as far as the driver needs it: a method for a call.

The reference is https://techdocs.akamai.com/property-mgr/reference/api. A *property* is a
configuration with numbered *versions*; a version has a tree of *rules* and a list of *hostnames*,
each of which leads to an *edge hostname*, the name to make it a CNAME of; *activating* a version
takes it to a network.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import requests

from poppy.common.errors import PermanentError, RetryableError
from poppy.common.http import retry_after
from poppy.provider.akamai.edgegrid import GONE, Document, Session, json_object, words

#: Another change is on its way: 412 and 422 carry that too, with a type that says so.
_BUSY = frozenset(
    {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.UNPROCESSABLE_ENTITY}
)
_AGAIN = 5.0  # Seconds.


class Property(NamedTuple):
    """A property.

    Attributes:
        latest: the highest number of a version.
        networks: on which some version of it serves.
    """

    property_id: str
    name: str
    latest: int
    networks: frozenset[str]


class Activation(NamedTuple):
    """A version's way to a network, or from it.

    Attributes:
        kind: ``ACTIVATE`` or ``DEACTIVATE``.
        cause: why it failed, where Akamai says so.
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
        """Whether it is under way."""
        return self.status in _PENDING

    @property
    def serves(self) -> bool:
        """Whether it is what the network serves by."""
        return self.kind == "ACTIVATE" and self.status == "ACTIVE"

    @property
    def failed(self) -> bool:
        """Whether it came to nothing."""
        return self.status in ("FAILED", "ABORTED")


_PENDING = frozenset(
    {"NEW", "PENDING", "ZONE_1", "ZONE_2", "ZONE_3", "PENDING_DEACTIVATION"}
    | {"PENDING_CANCELLATION"}
)


class PAPI:
    """The calls. Each raises RetryableError or PermanentError, as :meth:`Client.request` does.

    Args:
        contract: with its prefix ``ctr_``; as ``group`` (``grp_``) and ``product`` (``prd_``).
        rule_format: the dated set of features that rules are written in.
    """

    def __init__(
        self, session: Session, contract: str, group: str, product: str, rule_format: str
    ) -> None:
        self._session = session
        self._scope = {"contractId": contract, "groupId": group}
        self._product = product
        self._rule_format = rule_format

    def answers(self) -> bool:
        """Whether Akamai answers and takes the credentials."""
        try:
            self._json("GET", "/contracts", params={})
        except (RetryableError, PermanentError):
            return False
        return True

    def find(self, name: str) -> str | None:
        """The id of the property of exactly this name."""
        body = {"propertyName": name}
        found = self._json("POST", "/search/find-by-value", params={}, json=body)
        ids = {
            entry["propertyId"]
            for entry in found["versions"]["items"]
            if entry.get("propertyName") == name
        }
        return min(ids, default=None)

    def find_in_list(self, name: str) -> str | None:
        """As :meth:`find`, but from the list of all, which knows what the search does not yet."""
        items = self._json("GET", "/properties")["properties"]["items"]
        ids = {entry["propertyId"] for entry in items if entry["propertyName"] == name}
        return min(ids, default=None)

    def create(self, name: str) -> str:
        """Make a property with one empty version; its id."""
        body = {
            "productId": self._product,
            "propertyName": name,
            "ruleFormat": self._rule_format,
        }
        return _last(self._json("POST", "/properties", json=body)["propertyLink"])

    def property(self, property_id: str) -> Property | None:
        """What there is of a property; None if there is none."""
        response = self._request("GET", _path(property_id), accept=GONE)
        if response.status_code in GONE:
            return None
        (found,) = json_object(response)["properties"]["items"]
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
        """Delete a property that is active nowhere; fine if there is none."""
        self._request("DELETE", _path(property_id), accept=GONE)

    def new_version(self, property_id: str, of: int, etag: str) -> int:
        """Copy a version to a new one, which can be changed; its number."""
        body = {"createFromVersion": of, "createFromVersionEtag": etag}
        path = f"{_path(property_id)}/versions"
        return int(_last(_changing(self._request("POST", path, accept=_BUSY, json=body))))

    def rules(self, property_id: str, version: int) -> tuple[Document, str]:
        """The rule tree of a version, and the mark of its state (ETag)."""
        path = f"{_path(property_id)}/versions/{version}/rules"
        found = self._json("GET", path, params={**self._scope, "validateRules": "false"})
        return found["rules"], found["etag"]

    def put_rules(self, property_id: str, version: int, etag: str, rules: Document) -> Document:
        """Write the rule tree of a version that was never activated; what Akamai made of it.

        Raises:
            PermanentError: Akamai finds errors in it, in its words.
            RetryableError: also if the version is no longer what the mark says.
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

    def hostnames(self, property_id: str, version: int) -> list[Document]:
        """Which names a version serves, and by which edge hostnames."""
        path = f"{_path(property_id)}/versions/{version}/hostnames"
        return list(self._json("GET", path)["hostnames"]["items"])

    def put_hostnames(
        self, property_id: str, version: int, etag: str, hostnames: Sequence[Mapping[str, str]]
    ) -> str:
        """Write the names of a version that was never activated; the new mark of its state."""
        path = f"{_path(property_id)}/versions/{version}/hostnames"
        response = self._request(
            "PUT",
            path,
            accept=_BUSY,
            headers={"If-Match": f'"{etag}"'},
            params={**self._scope, "validateHostnames": "true"},
            json=list(hostnames),
        )
        return str(self._checked(response, "hostnames")["etag"])

    def activations(self, property_id: str) -> list[Activation]:
        """All of a property, the latest first."""
        found = self._json("GET", f"{_path(property_id)}/activations")["activations"]["items"]
        # Their ids grow; dates have only seconds.
        return sorted(map(_activation, found), key=lambda one: -_number(one.activation_id))

    def ready_in(self, property_id: str, activation_id: str) -> float | None:
        """Seconds until something may have changed, by Akamai's estimate; None without one."""
        path = f"{_path(property_id)}/activations/{quote(activation_id, safe='')}"
        return retry_after(self._request("GET", path).headers)

    def activate(
        self, property_id: str, version: int, network: str, kind: str, emails: Sequence[str]
    ) -> bool:
        """Begin to activate or deactivate; False if another such change is under way."""
        body = {
            "propertyVersion": version,
            "network": network,
            "activationType": kind,
            "acknowledgeAllWarnings": True,
            "notifyEmails": list(emails),
            "note": "by Poppy",
        }
        path = f"{_path(property_id)}/activations"
        response = self._request("POST", path, accept=_BUSY, json=body)
        if response.status_code not in _BUSY:
            return True
        problem = json_object(response)
        if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY and not _is_pending(problem):
            raise PermanentError(f"Akamai refuses to {kind.lower()} it: {words(problem)}")
        return False

    def edge_hostnames(self) -> dict[str, str]:
        """The ids of all edge hostnames, by name."""
        items = self._json("GET", "/edgehostnames")["edgeHostnames"]["items"]
        return {entry["edgeHostnameDomain"]: entry["edgeHostnameId"] for entry in items}

    def create_edge_hostname(
        self, prefix: str, suffix: str, ip_version: str, enrollment: int | None
    ) -> None:
        """Make an edge hostname; with an enrollment, it serves TLS by that one's certificate."""
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
        """The names of all CP codes, by number."""
        items = self._json("GET", "/cpcodes")["cpcodes"]["items"]
        return {_number(entry["cpcodeId"]): entry["cpcodeName"] for entry in items}

    def create_cp_code(self, name: str) -> int:
        """Make a CP code, which nothing can ever delete; its number."""
        body = {"productId": self._product, "cpcodeName": name}
        return _number(_last(self._json("POST", "/cpcodes", json=body)["cpcodeLink"]))

    def _checked(self, response: requests.Response, what: str) -> Document:
        """What was written, unless it was for nothing."""
        if response.status_code in _BUSY:
            raise RetryableError(
                f"Akamai's {what} were changed by somebody else meanwhile", retry_after=_AGAIN
            )
        found = json_object(response)
        if found.get("errors"):
            raise PermanentError(f"Akamai refuses the {what}: {words(found)}")
        return found

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"PAPI-Use-Prefixes": "true", **options.pop("headers", {})}
        params = options.pop("params", self._scope)
        return self._session.request(
            method, f"/papi/v1{path}", headers=headers, params=params, **options
        )

    def _json(self, method: str, path: str, **options: Any) -> Document:
        return json_object(self._request(method, path, **options))


def _changing(response: requests.Response) -> str:
    if response.status_code in _BUSY:
        raise RetryableError(
            "Akamai's version was changed by somebody else meanwhile", retry_after=_AGAIN
        )
    return str(json_object(response)["versionLink"])


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
    """The last segment of a link's path."""
    return link.partition("?")[0].rstrip("/").rpartition("/")[2]


def _number(identifier: str) -> int:
    """The number in an id with or without its prefix."""
    return int(re.sub("[^0-9]", "", identifier) or 0)
