# SPDX-License-Identifier: Apache-2.0
"""Akamai's Certificate Provisioning System, version 2, as far as the driver needs it.

The reference is https://techdocs.akamai.com/cps/reference/api. An *enrollment* is an order for a
certificate that is renewed; each new or modified certificate is a *change*, which is worked on
for hours, and may wait for somebody's input.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import requests

from poppy.common.errors import PermanentError
from poppy.provider.akamai.edgegrid import GONE, Document, Session, json_object

#: What all of this API's media types begin with.
MEDIA_TYPE = "application/vnd.akamai.cps."
_ENROLLMENT = f"{MEDIA_TYPE}enrollment.v11+json"
_ENROLLMENTS = f"{MEDIA_TYPE}enrollments.v11+json"
_STATUS = f"{MEDIA_TYPE}enrollment-status.v1+json"
_CHANGE = f"{MEDIA_TYPE}change.v2+json"
_CHANGE_ID = f"{MEDIA_TYPE}change-id.v1+json"
_DEPLOYMENT = f"{MEDIA_TYPE}deployment.v7+json"
_CHALLENGES = f"{MEDIA_TYPE}dv-challenges.v2+json"
_ACKNOWLEDGEMENT = f"{MEDIA_TYPE}acknowledgement.v1+json"
#: What Akamai adds to an enrollment, and does not take back.
_READ_ONLY = frozenset(
    {"id", "location", "pendingChanges", "assignedSlots", "stagingSlots", "productionSlots"}
    | {"maxAllowedSanNames", "maxAllowedWildcardSanNames", "autoRenewalStartTime"}
)


class Enrollment(NamedTuple):
    """An order.

    Attributes:
        names: that the certificate is for, the common name included.
        changes: the paths of changes under way, the latest last.
        document: the whole of it.
    """

    enrollment_id: int
    common_name: str
    names: frozenset[str]
    changes: tuple[str, ...]
    document: Document

    @property
    def pending(self) -> bool:
        """Whether a change is under way: until it is done, another one is refused."""
        return bool(self.changes)


class Change(NamedTuple):
    """How far a change got.

    Attributes:
        state: ``new``, ``running``, ``awaiting-input``, ``suspended``, ``cancelled``,
            ``completed`` or ``error``.
        inputs: by the last part of the path to give it by, the path to read about it.
        needed: those inputs without which it does not go on.
    """

    state: str
    description: str
    inputs: Mapping[str, str]
    needed: frozenset[str]


class CPS:
    """The calls. Each raises RetryableError or PermanentError, as :meth:`Client.request` does.

    Args:
        contract: with or without its prefix, which this API does not have.
    """

    def __init__(self, session: Session, contract: str) -> None:
        self._session = session
        self._contract = contract.removeprefix("ctr_")

    def enrollments(self) -> list[Enrollment]:
        """All of the contract, the oldest first."""
        params = {"contractId": self._contract}
        found = self._json("GET", "/enrollments", _ENROLLMENTS, params=params)
        return sorted(map(_enrollment, found["enrollments"]), key=lambda one: one.enrollment_id)

    def enrollment(self, enrollment_id: int) -> Enrollment | None:
        """One of them; None if there is none."""
        path = f"/enrollments/{int(enrollment_id)}"
        response = self._request("GET", path, _ENROLLMENT, accept=GONE)
        return None if response.status_code in GONE else _enrollment(json_object(response))

    def create(self, document: Document) -> int:
        """Order a certificate; the id of the enrollment."""
        params = {"contractId": self._contract}
        headers = {"Content-Type": _ENROLLMENT}
        found = self._json(
            "POST", "/enrollments", _STATUS, params=params, headers=headers, json=document
        )
        return _last(found["enrollment"])

    def change_names(self, enrollment: Enrollment, names: Iterable[str]) -> bool:
        """Have a certificate for other names; False while another change is under way."""
        document = _writable(enrollment.document)
        csr = {**document["csr"], "sans": sorted(names)}
        path = f"/enrollments/{enrollment.enrollment_id}"
        try:
            self._request(
                "PUT",
                path,
                _STATUS,
                headers={"Content-Type": _ENROLLMENT},
                json={**document, "csr": csr},
            )
        except PermanentError:
            # There is no mark to make the write conditional on; the change under way is it.
            now = self.enrollment(enrollment.enrollment_id)
            if now is None or not now.pending:
                raise
            return False
        return True

    def delete(self, enrollment_id: int) -> None:
        """Give up an order, with what is under way for it; fine if there is none."""
        self._request(
            "DELETE",
            f"/enrollments/{int(enrollment_id)}",
            _STATUS,
            params={"allow-cancel-pending-changes": "true"},
            accept=GONE,
        )

    def change(self, path: str) -> Change | None:
        """How far it got; None if it is over."""
        response = self._request("GET", _local(path), _CHANGE, accept=GONE)
        if response.status_code in GONE:
            return None
        found = json_object(response)
        status = found["statusInfo"]
        inputs = {
            entry["update"].rpartition("/")[2]: entry for entry in found.get("allowedInput") or ()
        }
        error = status.get("error") or {}
        return Change(
            state=status["state"],
            description=error.get("description") or status.get("description") or "",
            inputs={name: entry["info"] for name, entry in inputs.items()},
            needed=frozenset(name for name, entry in inputs.items() if entry["requiredToProceed"]),
        )

    def challenges(self, path: str) -> list[Document]:
        """How owners can show whose the names of a change are."""
        return list(self._json("GET", _local(path), _CHALLENGES)["dv"])

    def acknowledge(self, path: str, name: str) -> None:
        """Let a change go on in spite of warnings."""
        self._request(
            "POST",
            f"{_local(path)}/input/update/{name}",
            _CHANGE_ID,
            headers={"Content-Type": _ACKNOWLEDGEMENT},
            json={"acknowledgement": "acknowledge"},
        )

    def is_deployed(self, one: Enrollment, domain: str) -> bool:
        """Whether its certificate on the production network is for a domain.

        Where Akamai does not say for which it is, it is for all.
        """
        path = f"/enrollments/{one.enrollment_id}/deployments/production"
        response = self._request("GET", path, _DEPLOYMENT, accept=GONE)
        if response.status_code in GONE:
            return False
        found = json_object(response)
        # The reference shows it both with this envelope and without.
        network = found.get("production", found).get("networkConfiguration") or {}
        names = network.get("dnsNames")
        return not names or domain in {name.lower() for name in names}

    def _request(self, method: str, path: str, media: str, **options: Any) -> requests.Response:
        headers = {"Accept": media, **options.pop("headers", {})}
        return self._session.request(method, f"/cps/v2{path}", headers=headers, **options)

    def _json(self, method: str, path: str, media: str, **options: Any) -> Document:
        return json_object(self._request(method, path, media, **options))


def _enrollment(found: Document) -> Enrollment:
    csr = found["csr"]
    names = {csr["cn"], *(csr.get("sans") or ())}
    # Its path may start with another name of the API (/cps-api), but ends alike.
    identifier = found.get("id") or found["location"]
    return Enrollment(
        enrollment_id=_last(str(identifier)),
        common_name=csr["cn"].lower(),
        names=frozenset(name.lower() for name in names),
        changes=tuple(entry["location"] for entry in found.get("pendingChanges") or ()),
        document=found,
    )


def _writable(document: Document) -> Document:
    """What Akamai takes back of what it gave."""
    return {
        key: _without_null(value)
        for key, value in document.items()
        if key not in _READ_ONLY and value is not None
    }


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(entry) for key, entry in value.items() if entry is not None}
    return value


def _last(path: str) -> int:
    return int(path.rstrip("/").rpartition("/")[2])


def _local(path: str) -> str:
    """A path that Akamai gave, without the API's name, of which there are several."""
    return path[path.index("/enrollments") :]
