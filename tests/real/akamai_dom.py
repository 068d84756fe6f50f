# SPDX-License-Identifier: Apache-2.0
"""The Domain Ownership Manager (DOM) of the double of Akamai, and tenants' DNS records.

The rules are those of https://techdocs.akamai.com/domain-validation/reference/api and of Akamai's
client library (``pkg/domainownership`` of AkamaiOPEN-edgegrid-golang), which has the messages.
"""

import datetime
import itertools
from typing import Any, NamedTuple

from tests.real.akamai_default import challenge, target
from tests.real.akamai_papi import Answer

_MOST = 1000
_MOST_AT_ONCE = 100
_LONGEST = 200
_SCOPES = ("HOST", "WILDCARD", "DOMAIN")
_PENDING = ("REQUEST_ACCEPTED", "VALIDATION_IN_PROGRESS")
_DEAD = ("TOKEN_EXPIRED", "INVALIDATED")


class _Refused(Exception):  # noqa: N818 - it is an answer
    """An answer with a status of 4xx."""


class Key(NamedTuple):
    """What a claim is for."""

    name: str
    scope: str


class DOMDouble:
    """Claims of domains, and the TXT records that tenants publish.

    Attributes:
        automatic: whether tenants publish the record of each new claim at once.
        takes: searches until Akamai has validated a claim whose record it has been asked to look
            up; 0 means at once.
        enforced: whether Property Manager activates validated hostnames only.
        permitted: whether the API client may use the API.
        lenient: whether a pending claim can be deleted. The reference says that it can't;
            Akamai's Terraform provider does so.
        taken: domains of other accounts.
        claims: by name and scope.
        records: values of TXT records by name, in all tenants' zones.
        cnames: targets of CNAME records by name, there.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.automatic = True
        self.takes = 0
        self.enforced = True
        self.permitted = True
        self.lenient = False
        self.taken: set[str] = set()
        self.claims: dict[Key, dict[str, Any]] = {}
        self.records: dict[str, str] = {}
        self.cnames: dict[str, str] = {}
        base = "/domain-validation/v1/domains"
        self.routes = [
            (method, path, self._guarded(act))
            for method, path, act in (
                ("POST", base, self._add),
                ("POST", f"{base}/search", self._search),
                ("POST", f"{base}/validate-now", self._validate),
                ("POST", f"{base}/invalidate/([^/]+)", self._invalidate),
                ("DELETE", f"{base}/([^/]+)", self._delete),
            )
        ]

    def own(self, name: str, scope: str = "DOMAIN", method: str = "MANUAL") -> None:
        """Add a validated claim, as an operator would."""
        claim = self._new(name, scope, "operator")
        self.claims[Key(name, scope)] = {**claim, "status": "VALIDATED", "method": method}

    def status(self, name: str, scope: str = "HOST") -> str | None:
        """Return the status of a claim; None without one."""
        found = self.claims.get(Key(name, scope))
        return found["status"] if found else None

    def publish(self) -> None:
        """Publish the records of all pending claims, as the domains' owners would."""
        for key, claim in self.claims.items():
            if claim["status"] in _PENDING:
                self.records[_record(key)] = claim["token"]

    def expire(self) -> None:
        """Let the tokens of all pending claims expire."""
        for claim in self.claims.values():
            if claim["status"] in _PENDING:
                claim["status"] = "TOKEN_EXPIRED"

    def accepts(self, name: str) -> bool:
        """Return whether a hostname is covered by a validated claim."""
        return not self.enforced or any(
            claim["status"] == "VALIDATED" and _covers(key, name)
            for key, claim in self.claims.items()
        )

    def _guarded(self, act: Any) -> Any:
        def answer(request: Any, *groups: str) -> Answer:
            if not self.permitted:
                return _problem(403, "forbidden", "The API client has no access to this API.")
            try:
                found: Answer = act(request, *groups)
            except _Refused as exc:
                return _problem(*exc.args)
            return found

        return answer

    def _add(self, request: Any) -> Answer:
        errors, successes = [], []
        for key, _entry in _keys(request, _MOST):
            reason = self._reason(key)
            if reason:
                shown = {"title": "Internal Server Error", "type": "internal-server-error"}
                errors.append({**shown, **_named(key), "detail": reason})
                continue
            self.claims[key] = self._new(*key, "poppy")
            if self.automatic:
                self.publish()
            successes.append(self._shown(key, full=True))
        return 207, {}, {"errors": errors, "successes": successes}

    def _reason(self, key: Key) -> str | None:
        """Return why a domain can't be claimed."""
        if key in self.claims and self.claims[key]["status"] not in _DEAD:
            return "Domain already exists."
        if any(
            other != key and claim["status"] == "VALIDATED" and _covers(other, key.name)
            for other, claim in self.claims.items()
        ):
            return "Supernet domain has been validated and is ready for use."
        if key.name in self.taken:
            return "Domain is already in use within the system. You cannot use this domain."
        return None

    def _search(self, request: Any) -> Answer:
        full = request.params.get("includeAll") == "true"
        found = [self._closest(key, full) for key, _entry in _keys(request, _MOST)]
        for claim in self.claims.values():
            self._look(claim)
        return 200, {}, {"domains": [entry for entry in found if entry]}

    def _closest(self, key: Key, full: bool) -> dict[str, Any] | None:
        same = [Key(key.name, scope) for scope in (key.scope, *_SCOPES)]
        exact = next((one for one in same if one in self.claims), None)
        if exact is not None:
            return self._shown(exact, full=full)
        for other, claim in self.claims.items():
            if _covers(other, key.name):
                status = claim["status"]
                level = "ROOT/WILDCARD"
                return {**_named(key), "domainStatus": status, "validationLevel": level}
        return None

    def _validate(self, request: Any) -> Answer:
        asked = _keys(request, _MOST_AT_ONCE)
        for key, entry in asked:
            claim = self._claim(key)
            method = entry.get("validationMethod")
            if method not in ("DNS_CNAME", "DNS_TXT", "HTTP"):
                raise _Refused(400, "bad-request", f"Invalid validationMethod {method!r}.")
            if claim["status"] not in _PENDING:
                detail = "Domain cannot be validated for the current state."
                raise _Refused(400, "bad-request", detail)
            if claim["status"] != "REQUEST_ACCEPTED":
                continue
            proofs = {
                "DNS_TXT": self.records.get(_record(key)) == claim["token"],
                "DNS_CNAME": self.cnames.get(challenge(key.name)) == target(key.name),
            }
            if proofs.get(method):
                status = "VALIDATION_IN_PROGRESS" if self.takes else "VALIDATED"
                claim |= {"status": status, "method": method, "looks": self.takes}
        shown = [{**_named(key), "domainStatus": self.claims[key]["status"]} for key, _ in asked]
        return 200, {}, {"domains": shown}

    def _invalidate(self, request: Any, name: str) -> Answer:
        key = _key(name, request.params.get("validationScope"))
        claim = self._claim(key)
        if claim["status"] != "VALIDATED":
            detail = "Domain cannot be invalidated for the current state."
            raise _Refused(400, "bad-request", detail)
        claim["status"] = "INVALIDATED"
        return 200, {}, {**_named(key), "domainStatus": "INVALIDATED"}

    def _delete(self, request: Any, name: str) -> Answer:
        key = _key(name, request.params.get("validationScope"))
        claim = self._claim(key)
        pending = self.lenient and claim["status"] in _PENDING
        if claim["status"] not in _DEAD and not pending:
            detail = "Domain cannot be deleted for the current state."
            raise _Refused(400, "bad-request", detail)
        del self.claims[key]
        return 204, {}, None

    def _look(self, claim: dict[str, Any]) -> None:
        """Advance time: each search brings validations in progress closer to their end."""
        if claim["status"] == "VALIDATION_IN_PROGRESS":
            claim["looks"] -= 1
            if claim["looks"] <= 0:
                claim["status"] = "VALIDATED"

    def _claim(self, key: Key) -> dict[str, Any]:
        if key not in self.claims:
            raise _Refused(404, "not-found", "Domain is not found.")
        return self.claims[key]

    def _new(self, name: str, scope: str, user: str) -> dict[str, Any]:
        return {
            "status": "REQUEST_ACCEPTED",
            "token": f"token-{next(self._numbers)}-of-{name}",
            "method": None,
            "user": user,
            "looks": 0,
        }

    def _shown(self, key: Key, *, full: bool) -> dict[str, Any]:
        claim = self.claims[key]
        shown = {**_named(key), "domainStatus": claim["status"], "validationLevel": "FQDN"}
        if not full:
            return shown
        shown |= {
            "accountId": "A-CCT9012",
            "validationMethod": claim["method"],
            "validationRequestedBy": claim["user"],
            "validationRequestedDate": _moment(0),
        }
        if claim["status"] == "VALIDATED":
            return {**shown, "validationCompletedDate": _moment(0)}
        shown["validationChallenge"] = {
            "cnameRecord": {"name": challenge(key.name), "target": target(key.name)},
            "txtRecord": {"name": _record(key), "value": claim["token"]},
            "expirationDate": _moment(30),
        }
        return shown


def _keys(request: Any, most: int) -> list[tuple[Key, dict[str, Any]]]:
    """Return the domains of a request, each with its entry.

    Raises:
        _Refused: there are too many, or one is not a domain.
    """
    entries = request.body["domains"]
    if not 1 <= len(entries) <= most:
        raise _Refused(400, "bad-request", f"{len(entries)} domains, not 1 to {most}.")
    return [(_key(one["domainName"], one["validationScope"]), one) for one in entries]


def _key(name: str, scope: str | None) -> Key:
    if scope not in _SCOPES:
        raise _Refused(400, "bad-request", f"Invalid value {scope!r} for validationScope.")
    if not 1 <= len(name) <= _LONGEST or name.startswith("*") or name != name.strip():
        raise _Refused(400, "bad-request", f"Invalid domainName {name!r}.")
    return Key(name, scope)


def _covers(key: Key, name: str) -> bool:
    parent = name.partition(".")[2]
    return {
        "HOST": name == key.name,
        "WILDCARD": parent == key.name,
        "DOMAIN": name == key.name or name.endswith(f".{key.name}"),
    }[key.scope]


def _named(key: Key) -> dict[str, str]:
    return {"domainName": key.name, "validationScope": key.scope}


def _record(key: Key) -> str:
    return f"_akamai-{key.scope.lower()}-challenge.{key.name}"


def _moment(days: int) -> str:
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _problem(status: int, kind: str, detail: str) -> Answer:
    return status, {}, {"type": kind, "title": "Refused", "detail": detail, "status": status}
