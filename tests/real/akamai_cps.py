# SPDX-License-Identifier: Apache-2.0
"""The Certificate Provisioning System (CPS) of the double of Akamai."""

import copy
import itertools
from typing import Any

from tests.real.akamai_papi import Answer

_TYPE = "application/vnd.akamai.cps."


class CPSDouble:
    """Enrollments, and the changes of their certificates.

    A change first shows a warning that must be acknowledged, then challenges until
    :meth:`validate`. It is done some reads later.

    Attributes:
        takes: reads of a change until it is done, once nothing is missing.
        automatic: whether domains are validated without :meth:`validate`.
        enrollments: by id; ``deployed`` has the names of the certificate on the network.
    """

    def __init__(self, contract: str) -> None:
        self._contract = contract.removeprefix("ctr_")
        self._numbers = itertools.count(20001)
        self.takes = 1
        self.automatic = True
        self.enrollments: dict[int, dict[str, Any]] = {}
        one = r"/cps/v2/enrollments/(\d+)"
        change = rf"{one}/changes/(\d+)"
        self.routes = [
            ("GET", "/cps/v2/enrollments", self._list),
            ("POST", "/cps/v2/enrollments", self._create),
            ("GET", one, self._get),
            ("PUT", one, self._put),
            ("DELETE", one, self._delete),
            ("GET", change, self._change),
            ("GET", f"{change}/input/info/lets-encrypt-challenges", self._challenges),
            ("POST", f"{change}/input/update/pre-verification-warnings-ack", self._acknowledge),
            ("GET", f"{one}/deployments/production", self._deployment),
        ]

    def add(self, common_name: str, *names: str) -> int:
        """Add an enrollment with a deployed certificate, as an operator would; return its id."""
        number = next(self._numbers)
        document = {**TEMPLATE, "csr": {"cn": common_name, "sans": [common_name, *names]}}
        deployed = {common_name, *names}
        self.enrollments[number] = {"document": document, "change": None, "deployed": deployed}
        return number

    def named(self, common_name: str) -> list[int]:
        """Return the ids of enrollments with a common name."""
        return [
            number
            for number, found in self.enrollments.items()
            if found["document"]["csr"]["cn"] == common_name
        ]

    def begin_change(self, number: int) -> None:
        """Begin a change of an enrollment, as another client would."""
        self._begin(self.enrollments[number])

    def end_change(self, number: int, state: str = "completed") -> None:
        """End the change of an enrollment, successfully or not."""
        self._end(self.enrollments[number], state)

    def validate(self) -> None:
        """Fulfill the challenges of all domains, as their owners would."""
        for found in self.enrollments.values():
            if found["change"]:
                found["change"]["validated"] = True

    def _list(self, request: Any) -> Answer:
        if request.params.get("contractId") != self._contract:
            return 403, {}, {"title": "no such contract"}
        found = [self._shown(number) for number in self.enrollments]
        return 200, _media("enrollments.v11"), {"enrollments": found}

    def _create(self, request: Any) -> Answer:
        number = next(self._numbers)
        found = {"document": copy.deepcopy(request.body), "change": None, "deployed": set()}
        self.enrollments[number] = found
        self._begin(found)
        return 202, _media("enrollment-status.v1"), self._status(number)

    def _get(self, _request: Any, number: str) -> Answer:
        if int(number) not in self.enrollments:
            return 404, {}, {"title": "no such enrollment"}
        return 200, _media("enrollment.v11"), self._shown(int(number))

    def _put(self, request: Any, number: str) -> Answer:
        found = self.enrollments[int(number)]
        if found["change"]:
            return 409, {}, {"title": "Conflict", "detail": "a change is pending"}
        found["document"] = copy.deepcopy(request.body)
        self._begin(found)
        return 202, _media("enrollment-status.v1"), self._status(int(number))

    def _delete(self, request: Any, number: str) -> Answer:
        found = self.enrollments.get(int(number))
        if found is None:
            return 404, {}, {"title": "no such enrollment"}
        if found["change"] and request.params.get("allow-cancel-pending-changes") != "true":
            return 409, {}, {"title": "Conflict", "detail": "a change is pending"}
        status = self._status(int(number))
        del self.enrollments[int(number)]
        return 200, _media("enrollment-status.v1"), status

    def _change(self, _request: Any, number: str, change: str) -> Answer:
        found = self.enrollments.get(int(number))
        if found is None or not found["change"] or found["change"]["id"] != int(change):
            return 404, {}, {"title": "no such change"}
        now = found["change"]
        wanted = self._wanted(now)
        if wanted is None:
            now["looks"] += 1
            if now["looks"] > self.takes:
                self._end(found, "completed")
        base = f"/cps/v2/enrollments/{number}/changes/{change}/input"
        inputs = [
            {
                "type": kind,
                "requiredToProceed": True,
                "info": f"{base}/info/{info}",
                "update": f"{base}/update/{update}",
            }
            for kind, info, update in ([wanted] if wanted else [])
        ]
        state = now["state"] if now["state"] != "running" or not wanted else "awaiting-input"
        info = {
            "state": state,
            "status": "working",
            "description": "It is worked on.",
            "deploymentSchedule": {},
        }
        return 200, _media("change.v2"), {"statusInfo": info, "allowedInput": inputs}

    def _wanted(self, change: dict[str, Any]) -> tuple[str, str, str] | None:
        if change["state"] != "running":
            return None
        if not change["acknowledged"]:
            name = "pre-verification-warnings"
            return f"{name}-acknowledgement", name, f"{name}-ack"
        if not (self.automatic or change["validated"]):
            name = "lets-encrypt-challenges"
            return name, name, f"{name}-completed"
        return None

    def _challenges(self, _request: Any, number: str, _change: str) -> Answer:
        csr = self.enrollments[int(number)]["document"]["csr"]
        found = [
            {
                "domain": name,
                "status": "Awaiting user",
                "validationStatus": "IN_PROGRESS",
                "challenges": [
                    {
                        "type": "dns-01",
                        "status": "Pending",
                        "fullPath": f"_acme-challenge.{name}.",
                        "responseBody": f"proof-of-{name}",
                        "validationRecords": [],
                    }
                ],
            }
            for name in sorted({csr["cn"], *csr["sans"]})
        ]
        return 200, _media("dv-challenges.v2"), {"dv": found}

    def _acknowledge(self, request: Any, number: str, change: str) -> Answer:
        if request.body != {"acknowledgement": "acknowledge"}:
            return 400, {}, {"title": "not acknowledged"}
        self.enrollments[int(number)]["change"]["acknowledged"] = True
        path = f"/cps/v2/enrollments/{number}/changes/{change}"
        return 200, _media("change-id.v1"), {"change": path}

    def _deployment(self, _request: Any, number: str) -> Answer:
        if not self.enrollments[int(number)]["deployed"]:
            return 404, {}, {"title": "nothing is deployed"}
        certificate = {"certificate": "PEM", "trustChain": "PEM", "signatureAlgorithm": "SHA-256"}
        names = sorted(self.enrollments[int(number)]["deployed"])
        network = {"quicEnabled": False, "sniOnly": True, "dnsNames": names}
        body = {
            "primaryCertificate": certificate,
            "multiStackedCertificates": [],
            "networkConfiguration": network,
        }
        return 200, _media("deployment.v7"), body

    def _begin(self, found: dict[str, Any]) -> None:
        found["change"] = {
            "id": next(self._numbers),
            "looks": 0,
            "acknowledged": False,
            "validated": False,
            "state": "running",
        }

    def _end(self, found: dict[str, Any], state: str) -> None:
        if state == "completed":
            csr = found["document"]["csr"]
            found["deployed"] = {csr["cn"], *csr["sans"]}
            found["change"] = None
        elif state == "dropped":
            found["change"] = None
        else:
            found["change"]["state"] = state

    def _shown(self, number: int) -> dict[str, Any]:
        found = self.enrollments[number]
        # The API has two names for itself, and shows the other one.
        path = f"/cps-api/enrollments/{number}"
        changes = []
        if found["change"]:
            location = f"{path}/changes/{found['change']['id']}"
            changes = [{"changeType": "modify-san", "location": location}]
        return {
            **found["document"],
            "id": str(number),
            "location": path,
            "pendingChanges": changes,
            "maxAllowedSanNames": 100,
        }

    def _status(self, number: int) -> dict[str, Any]:
        change = self.enrollments[number]["change"]
        path = f"/cps/v2/enrollments/{number}"
        changes = [f"{path}/changes/{change['id']}"] if change else []
        return {"enrollment": path, "changes": changes}


#: An enrollment as an operator may want it, without names.
TEMPLATE: dict[str, Any] = {
    "certificateType": "san",
    "changeManagement": False,
    "enableMultiStackedCertificates": False,
    "ra": "lets-encrypt",
    "validationType": "dv",
    "signatureAlgorithm": "SHA-256",
    "csr": {"c": "US", "st": "TX", "l": "Austin", "o": "Example"},
    "networkConfiguration": {
        "geography": "core",
        "quicEnabled": True,
        "secureNetwork": "enhanced-tls",
        "sniOnly": True,
        "dnsNameSettings": {"cloneDnsNames": True},
    },
    "adminContact": {"firstName": "A", "lastName": "B", "email": "a@example.com"},
    "techContact": {"firstName": "C", "lastName": "D", "email": "c@example.com"},
    "org": {"name": "Example", "city": "Austin", "country": "US"},
}


def _media(kind: str) -> dict[str, str]:
    return {"Content-Type": f"{_TYPE}{kind}+json"}
