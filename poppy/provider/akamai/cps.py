# SPDX-License-Identifier: Apache-2.0
"""Client of Akamai's Certificate Provisioning System (CPS), version 2.

The reference is https://techdocs.akamai.com/cps/reference/api. An *enrollment* is an order for a
certificate with renewals. Each new or modified certificate is a *change*, which takes hours and
may wait for input.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import requests

from poppy.common.errors import PermanentError
from poppy.common.http import GONE
from poppy.provider.akamai.edgegrid import Document, Session

#: Prefix of the API's media types.
MEDIA_TYPE = "application/vnd.akamai.cps."
_ENROLLMENT = f"{MEDIA_TYPE}enrollment.v11+json"
_ENROLLMENTS = f"{MEDIA_TYPE}enrollments.v11+json"
_STATUS = f"{MEDIA_TYPE}enrollment-status.v1+json"
_CHANGE = f"{MEDIA_TYPE}change.v2+json"
_CHANGE_ID = f"{MEDIA_TYPE}change-id.v1+json"
_DEPLOYMENT = f"{MEDIA_TYPE}deployment.v7+json"
_CHALLENGES = f"{MEDIA_TYPE}dv-challenges.v2+json"
_ACKNOWLEDGEMENT = f"{MEDIA_TYPE}acknowledgement.v1+json"
#: Read-only members of an enrollment, which Akamai refuses in a PUT.
_READ_ONLY = frozenset(
    {"id", "location", "pendingChanges", "assignedSlots", "stagingSlots", "productionSlots"}
    | {"maxAllowedSanNames", "maxAllowedWildcardSanNames", "autoRenewalStartTime"}
)


class Enrollment(NamedTuple):
    """An order for a certificate.

    Attributes:
        names: the names of the certificate, including the common name.
        changes: the paths of pending changes, the latest last.
        document: the complete document.
    """

    enrollment_id: int
    common_name: str
    names: frozenset[str]
    changes: tuple[str, ...]
    document: Document

    @property
    def pending(self) -> bool:
        """Whether a change is pending. Until it is done, Akamai refuses another one."""
        return bool(self.changes)


class Change(NamedTuple):
    """The progress of a change.

    Attributes:
        state: ``new``, ``running``, ``awaiting-input``, ``suspended``, ``cancelled``,
            ``completed`` or ``error``.
        inputs: the information path of each allowed input, by the last segment of its update
            path.
        needed: the inputs that the change requires to proceed.
    """

    state: str
    description: str
    inputs: Mapping[str, str]
    needed: frozenset[str]


class CPS:
    """The API's calls. They raise the same errors as :meth:`Client.request`.

    Args:
        contract: the contract id; its ``ctr_`` prefix is removed, because CPS does not use it.
    """

    def __init__(self, session: Session, contract: str) -> None:
        self._session = session
        self._contract = contract.removeprefix("ctr_")

    def enrollments(self) -> list[Enrollment]:
        """Return all enrollments of the contract, the oldest first."""
        params = {"contractId": self._contract}
        found = self._json("GET", "/enrollments", _ENROLLMENTS, params=params)
        return sorted(map(_enrollment, found["enrollments"]), key=lambda one: one.enrollment_id)

    def enrollment(self, enrollment_id: int) -> Enrollment | None:
        """Return an enrollment; None if it does not exist."""
        path = f"/enrollments/{int(enrollment_id)}"
        found = self._find(path, _ENROLLMENT)
        return None if found is None else _enrollment(found)

    def create(self, document: Document) -> int:
        """Order a certificate and return the enrollment's id."""
        params = {"contractId": self._contract}
        headers = {"Content-Type": _ENROLLMENT}
        found = self._json(
            "POST", "/enrollments", _STATUS, params=params, headers=headers, json=document
        )
        return _last(found["enrollment"])

    def change_names(self, enrollment: Enrollment, names: Iterable[str]) -> bool:
        """Change the names of a certificate. Return False if another change is pending."""
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
            # CPS has no conditional writes; a pending change is the only sign of a conflict.
            now = self.enrollment(enrollment.enrollment_id)
            if now is None or not now.pending:
                raise
            return False
        return True

    def delete(self, enrollment_id: int) -> None:
        """Delete an enrollment and cancel its pending changes. Ignore a missing one."""
        self._request(
            "DELETE",
            f"/enrollments/{int(enrollment_id)}",
            _STATUS,
            params={"allow-cancel-pending-changes": "true"},
            accept=GONE,
        )

    def change(self, path: str) -> Change | None:
        """Return the progress of a change; None if it does not exist any more."""
        found = self._find(_local(path), _CHANGE)
        if found is None:
            return None
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
        """Return the domain validation challenges of a change."""
        return list(self._json("GET", _local(path), _CHALLENGES)["dv"])

    def acknowledge(self, path: str, name: str) -> None:
        """Acknowledge the warnings of a change, so that it proceeds."""
        self._request(
            "POST",
            f"{_local(path)}/input/update/{name}",
            _CHANGE_ID,
            headers={"Content-Type": _ACKNOWLEDGEMENT},
            json={"acknowledgement": "acknowledge"},
        )

    def is_deployed(self, one: Enrollment, domain: str) -> bool:
        """Return whether the certificate on the production network covers a domain.

        If Akamai lists no names, the certificate covers all of them.
        """
        path = f"/enrollments/{one.enrollment_id}/deployments/production"
        found = self._find(path, _DEPLOYMENT)
        if found is None:
            return False
        # The reference shows the document both with and without this envelope.
        network = found.get("production", found).get("networkConfiguration") or {}
        names = network.get("dnsNames")
        return not names or domain in {name.lower() for name in names}

    def _find(self, path: str, media: str) -> Document | None:
        return self._session.find(f"/cps/v2{path}", headers={"Accept": media})

    def _request(self, method: str, path: str, media: str, **options: Any) -> requests.Response:
        headers = {"Accept": media, **options.pop("headers", {})}
        return self._session.request(method, f"/cps/v2{path}", headers=headers, **options)

    def _json(self, method: str, path: str, media: str, **options: Any) -> Document:
        return self._session.document(self._request(method, path, media, **options))


def _enrollment(found: Document) -> Enrollment:
    csr = found["csr"]
    names = {csr["cn"], *(csr.get("sans") or ())}
    # The path may start with another name of the API (/cps-api); the end is the same.
    identifier = found.get("id") or found["location"]
    return Enrollment(
        enrollment_id=_last(str(identifier)),
        common_name=csr["cn"].lower(),
        names=frozenset(name.lower() for name in names),
        changes=tuple(entry["location"] for entry in found.get("pendingChanges") or ()),
        document=found,
    )


def _writable(document: Document) -> Document:
    """Return the writable members of a document."""
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
    """Return a path without the API's name, which varies."""
    return path[path.index("/enrollments") :]
