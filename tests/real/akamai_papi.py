# SPDX-License-Identifier: Apache-2.0
"""The Property Manager (PAPI) of the double of Akamai."""

import copy
import datetime
import hashlib
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

from tests.real import akamai_rules
from tests.real.akamai_default import DefaultDouble, is_default

_VARIABLE = re.compile("PMUSER_[A-Z0-9_]{1,25}")
_LOCKED = "version is or was active and can't be edited"
Answer = tuple[int, dict[str, str], Any]


class PAPIDouble:
    """Properties, edge hostnames and CP codes.

    Args:
        owns: whether the account has proven that it owns a hostname.

    Attributes:
        takes: reads of the activations until one is done; None: it is never done.
        outcomes: states of the next activations instead of ``ACTIVE``, in order.
        refused: behaviors that rules must not have.
        dropped: options that this product does not know and drops.
        warnings: what Akamai warns of whenever rules are written.
        takes_stream: whether rules may name a stream of DataStream.
        needs_compliance: whether activations on PRODUCTION need a compliance record.
        default: the default certificates of hostnames.
        properties: by id.
        edge_hostnames: by id.
        cp_codes: names by number.
    """

    def __init__(
        self, contract: str, group: str, product: str, owns: Callable[[str], bool]
    ) -> None:
        self._owns = owns
        self._scope = {"contractId": contract, "groupId": group}
        self._account = {"accountId": "act_A-CCT9012", **self._scope}
        self._product = product
        self._numbers = itertools.count(100001)
        self.takes: int | None = 2
        self.outcomes: list[str] = []
        self.refused: set[str] = set()
        self.dropped: set[str] = set()
        self.warnings: list[str] = []
        self.takes_stream: Callable[[str], bool] = lambda _stream: False
        self.needs_compliance = False
        self.default = DefaultDouble()
        self.properties: dict[str, dict[str, Any]] = {}
        self.edge_hostnames: dict[str, dict[str, Any]] = {}
        self.cp_codes: dict[int, str] = {}
        one, version = r"/papi/v1/properties/([^/]+)", r"/versions/(\d+)"
        self.routes = [
            ("GET", "/papi/v1/contracts", self._contracts),
            ("POST", "/papi/v1/search/find-by-value", self._search),
            ("GET", "/papi/v1/properties", self._list),
            ("POST", "/papi/v1/properties", self._create),
            ("GET", one, self._get),
            ("DELETE", one, self._delete),
            ("POST", f"{one}/versions", self._new_version),
            ("GET", f"{one}{version}/rules", self._get_rules),
            ("PUT", f"{one}{version}/rules", self._put_rules),
            ("GET", f"{one}{version}/hostnames", self._get_hostnames),
            ("PUT", f"{one}{version}/hostnames", self._put_hostnames),
            ("GET", f"{one}/activations", self._activations),
            ("GET", f"{one}/activations/([^/]+)", self._activation),
            ("POST", f"{one}/activations", self._activate),
            ("GET", "/papi/v1/edgehostnames", self._edge_hostnames),
            ("POST", "/papi/v1/edgehostnames", self._create_edge_hostname),
            ("GET", "/papi/v1/cpcodes", self._cp_codes),
            ("POST", "/papi/v1/cpcodes", self._create_cp_code),
        ]

    def named(self, name: str) -> list[str]:
        """Return the ids of properties with a name."""
        return [key for key, found in self.properties.items() if found["name"] == name]

    def version(self, property_id: str, number: int = 0) -> dict[str, Any]:
        """Return a version; the latest by default."""
        found: dict[str, Any] = self.properties[property_id]["versions"][number - 1]
        return found

    def serving(self, network: str = "PRODUCTION") -> dict[str, tuple[str, str]]:
        """Return by domain the property that serves it, and its edge hostname."""
        return {
            entry["cnameFrom"]: (key, entry["cnameTo"])
            for key, found in self.properties.items()
            if found["active"].get(network)
            for entry in self.version(key, found["active"][network])["hostnames"]
        }

    def _contracts(self, _request: Any) -> Answer:
        items = [{"contractId": self._scope["contractId"], "contractTypeName": "DIRECT_CUSTOMER"}]
        return 200, {}, {"accountId": "act_A-CCT9012", "contracts": {"items": items}}

    def _search(self, request: Any) -> Answer:
        items = []
        for key in self.named(request.body["propertyName"]):
            found = self.properties[key]
            numbers = {len(found["versions"]), *filter(None, found["active"].values())}
            items += [
                {
                    **self._account,
                    "propertyId": key,
                    "propertyName": found["name"],
                    "propertyVersion": number,
                    "productionStatus": self._status(found, "PRODUCTION", number),
                    "stagingStatus": self._status(found, "STAGING", number),
                    "updatedByUser": "poppy",
                    "updatedDate": _now(),
                }
                for number in sorted(numbers)
            ]
        return 200, {}, {"versions": {"items": items}}

    def _list(self, request: Any) -> Answer:
        items = [self._shown(key) for key in self.properties]
        return self._scoped(request) or (200, {}, {"properties": {"items": items}})

    def _create(self, request: Any) -> Answer:
        name = request.body["propertyName"]
        if self.named(name):
            return _problem(400, "property_name_not_unique", f"{name} is taken")
        if request.body["productId"] != self._product:
            return _problem(400, "product", "no such product")
        key = f"prp_{next(self._numbers)}"
        empty = {"name": "default", "behaviors": [], "criteria": [], "children": [], "options": {}}
        first = {"rules": empty, "hostnames": [], "ruleFormat": request.body["ruleFormat"]}
        self.properties[key] = {
            "name": name,
            "versions": [first],
            "activations": [],
            "active": {},
        }
        link = f"/papi/v1/properties/{key}?contractId=x&groupId=y"
        return self._scoped(request) or (201, {"Location": link}, {"propertyLink": link})

    def _get(self, _request: Any, key: str) -> Answer:
        if key not in self.properties:
            return _problem(404, "not-found", "no such property")
        return 200, {}, {"properties": {"items": [self._shown(key)]}}

    def _delete(self, _request: Any, key: str) -> Answer:
        if key not in self.properties:
            return _problem(404, "not-found", "no such property")
        if any(self.properties[key]["active"].values()) or self._pending(key):
            return _problem(500, "active", "the property is active")
        del self.properties[key]
        return 200, {}, {"message": "Deletion Successful."}

    def _new_version(self, request: Any, key: str) -> Answer:
        number = request.body["createFromVersion"]
        source = self.version(key, number)
        if request.body.get("createFromVersionEtag") != _etag(source):
            return _problem(412, "precondition", "it has changed")
        self.properties[key]["versions"].append(copy.deepcopy(source))
        count = len(self.properties[key]["versions"])
        link = f"/papi/v1/properties/{key}/versions/{count}?contractId=x&groupId=y"
        return 201, {"Location": link}, {"versionLink": link}

    def _get_rules(self, _request: Any, key: str, number: str) -> Answer:
        found = self.version(key, int(number))
        return 200, {"ETag": f'"{_etag(found)}"'}, self._shown_rules(key, int(number))

    def _put_rules(self, request: Any, key: str, number: str) -> Answer:
        refusal = self._not_editable(request, key, int(number))
        if refusal:
            return refusal
        rules = copy.deepcopy(request.body["rules"])
        errors = self._errors(rules)
        found = self.version(key, int(number))
        found["rules"] = self._normal(rules)
        shown = self._shown_rules(key, int(number))
        if errors:
            shown["errors"] = errors
        if self.warnings:
            shown["warnings"] = [{"title": "Warning", "detail": it} for it in self.warnings]
        return 200, {"ETag": f'"{_etag(found)}"'}, shown

    def _get_hostnames(self, request: Any, key: str, number: str) -> Answer:
        return 200, {}, self._shown_hostnames(request, key, int(number))

    def _put_hostnames(self, request: Any, key: str, number: str) -> Answer:
        refusal = self._not_editable(request, key, int(number))
        if refusal:
            return refusal
        for entry in request.body:
            if is_default(entry):
                # Akamai creates a missing edge hostname with the activation.
                continue
            edge = self.edge_hostnames.get(entry["edgeHostnameId"])
            if edge is None or edge["edgeHostnameDomain"] != entry["cnameTo"]:
                return _problem(400, "hostname", f"no edge hostname {entry['cnameTo']}")
        refused = self.default.refusal(request.body)
        if refused:
            status, kind, detail, more = refused
            _status, headers, problem = _problem(status, kind, detail)
            return status, headers, {**problem, **more}
        self.version(key, int(number))["hostnames"] = copy.deepcopy(request.body)
        return 200, self.default.limits, self._shown_hostnames(request, key, int(number))

    def _activations(self, _request: Any, key: str) -> Answer:
        self._look(key)
        return 200, {}, self._shown_activations(key, self.properties[key]["activations"])

    def _activation(self, _request: Any, key: str, activation: str) -> Answer:
        found = [
            one for one in self.properties[key]["activations"] if one["activationId"] == activation
        ]
        if not found:
            return _problem(404, "not-found", "no such activation")
        wait = {"Retry-After": "7"} if _is_pending(found[0]) else {}
        return 200, wait, self._shown_activations(key, found)

    def _activate(self, request: Any, key: str) -> Answer:
        network, number = request.body["network"], request.body["propertyVersion"]
        if any(one["network"] == network for one in self._pending(key)):
            return _problem(422, "property_activation_still_pending", "still pending")
        if self.warnings and request.body.get("acknowledgeAllWarnings") is not True:
            return _problem(400, "activation-warnings", "warnings are not acknowledged")
        record = request.body.get("complianceRecord")
        if network == "PRODUCTION" and self.needs_compliance and not _complies(record):
            return _problem(400, "missing_compliance_record", "missing_compliance_record")
        found = self.properties[key]
        kind = request.body.get("activationType", "ACTIVATE")
        if kind == "ACTIVATE":
            serving = self.serving(network)
            hostnames = self.version(key, number)["hostnames"]
            names = [entry["cnameFrom"] for entry in hostnames]
            taken = [name for name in names if serving.get(name, (key,))[0] != key]
            rules = self.version(key, number)["rules"]
            errors = self._errors(rules)
            if any(map(is_default, hostnames)) and not rules["options"].get("is_secure"):
                errors.append({"detail": "a default certificate needs a secure property"})
            if not names or taken or errors:
                return _problem(400, "validation", f"can't be activated: {taken} {errors}")
            # Hostnames that the property serves already count as validated.
            new = [name for name in names if serving.get(name, ("",))[0] != key]
            unproven = [name for name in new if not self._owns(name)]
            if unproven:
                detail = f"domain ownership is not validated: {', '.join(unproven)}"
                return _problem(400, "validation", detail)
        elif found["active"].get(network) != number:
            return _problem(400, "not-active", "it is not active")
        activation = {
            "activationId": f"atv_{next(self._numbers)}",
            "activationType": kind,
            "network": network,
            "note": request.body.get("note", ""),
            "notifyEmails": request.body["notifyEmails"],
            "propertyId": key,
            "propertyName": found["name"],
            "propertyVersion": number,
            "status": "PENDING",
            "submitDate": _now(),
            "updateDate": _now(),
            "looks": 0,
        }
        found["activations"].append(activation)
        link = f"/papi/v1/properties/{key}/activations/{activation['activationId']}?contractId=x"
        return 201, {"Location": link}, {"activationLink": link}

    def _edge_hostnames(self, request: Any) -> Answer:
        items = list(self.edge_hostnames.values())
        shown = {**self._account, "edgeHostnames": {"items": items}}
        return self._scoped(request) or (200, {}, shown)

    def _create_edge_hostname(self, request: Any) -> Answer:
        body = request.body
        name = f"{body['domainPrefix']}.{body['domainSuffix']}"
        if any(one["edgeHostnameDomain"] == name for one in self.edge_hostnames.values()):
            return _problem(400, "edge-hostname", f"{name} exists")
        secure = body.get("secureNetwork") == "ENHANCED_TLS"
        if secure != (body["domainSuffix"] == "edgekey.net") or secure != (
            "certEnrollmentId" in body
        ):
            return _problem(400, "edge-hostname", "suffix, network and enrollment do not fit")
        key = self.add_edge_hostname(name, secure=secure)
        link = f"/papi/v1/edgehostnames/{key}?contractId=x&groupId=y"
        return self._scoped(request) or (201, {"Location": link}, {"edgeHostnameLink": link})

    def add_edge_hostname(self, name: str, *, secure: bool = False) -> str:
        """Add an edge hostname, as an operator would; return its id."""
        key = f"ehn_{next(self._numbers)}"
        prefix, *suffix = name.rsplit(".", 2)
        self.edge_hostnames[key] = {
            "domainPrefix": prefix,
            "domainSuffix": ".".join(suffix),
            "edgeHostnameDomain": name,
            "edgeHostnameId": key,
            "ipVersionBehavior": "IPV6_COMPLIANCE",
            "productId": self._product,
            "secure": secure,
        }
        return key

    def _cp_codes(self, request: Any) -> Answer:
        items = [
            {
                "cpcodeId": f"cpc_{number}",
                "cpcodeName": name,
                "createdDate": "2026-01-01T00:00:00Z",
                "productIds": [self._product],
            }
            for number, name in self.cp_codes.items()
        ]
        return self._scoped(request) or (200, {}, {**self._account, "cpcodes": {"items": items}})

    def _create_cp_code(self, request: Any) -> Answer:
        number = next(self._numbers)
        self.cp_codes[number] = request.body["cpcodeName"]
        link = f"/papi/v1/cpcodes/cpc_{number}?contractId=x&groupId=y"
        return self._scoped(request) or (201, {"Location": link}, {"cpcodeLink": link})

    def _scoped(self, request: Any) -> Answer | None:
        given = {name: request.params.get(name) for name in self._scope}
        return None if given == self._scope else _problem(403, "forbidden", f"not in {given}")

    def _shown(self, key: str) -> dict[str, Any]:
        found = self.properties[key]
        return {
            **self._account,
            "assetId": "aid_1",
            "latestVersion": len(found["versions"]),
            "note": "",
            "productionVersion": found["active"].get("PRODUCTION"),
            "propertyId": key,
            "propertyName": found["name"],
            "stagingVersion": found["active"].get("STAGING"),
        }

    def _head(self, key: str, number: int) -> dict[str, Any]:
        etag = _etag(self.version(key, number))
        return {**self._account, "propertyId": key, "propertyVersion": number, "etag": etag}

    def _shown_rules(self, key: str, number: int) -> dict[str, Any]:
        found = self.version(key, number)
        return {
            **self._head(key, number),
            "ruleFormat": found["ruleFormat"],
            "rules": found["rules"],
        }

    def _shown_hostnames(self, request: Any, key: str, number: int) -> dict[str, Any]:
        items = copy.deepcopy(self.version(key, number)["hostnames"])
        ids = {it["edgeHostnameDomain"]: key for key, it in self.edge_hostnames.items()}
        for entry in items:
            entry["edgeHostnameId"] = ids.get(entry["cnameTo"], "")
            if is_default(entry) and request.params.get("includeCertStatus") == "true":
                entry["certStatus"] = self.default.shown(entry["cnameFrom"])
        return {**self._head(key, number), "hostnames": {"items": items}}

    def _shown_activations(self, key: str, found: list[dict[str, Any]]) -> dict[str, Any]:
        items = [{name: one[name] for name in one if name != "looks"} for one in found]
        return {**self._account, "activations": {"items": items}}

    def _not_editable(self, request: Any, key: str, number: int) -> Answer | None:
        found = self.properties[key]
        if any(one["propertyVersion"] == number for one in found["activations"]):
            return _problem(403, "locked", _LOCKED)
        if request.headers.get("if-match") != f'"{_etag(self.version(key, number))}"':
            return _problem(412, "precondition", "it has changed")
        return None

    def _errors(self, rules: dict[str, Any]) -> list[dict[str, str]]:
        """Return the errors of a rule tree."""
        found = akamai_rules.errors(rules, self.cp_codes)
        found += sorted(self.refused & {one["name"] for one in _behaviors(rules)})
        for one in _behaviors(rules):
            if one["name"] == "datastream":
                streams = one["options"].get("logStreamName", [])
                found += [f"stream {it}" for it in streams if not self.takes_stream(it)]
        variables = [one["name"] for one in rules.get("variables", [])]
        found += [f"variable {name}" for name in variables if not _VARIABLE.fullmatch(name)]
        if len(variables) != len(set(variables)):
            found.append("variables with the same name")
        return [
            {"type": "https://problems.example/required", "title": "Invalid", "detail": name}
            for name in found
        ]

    def _normal(self, rules: dict[str, Any]) -> dict[str, Any]:
        """Return rules as Akamai stores them: with defaults and names, without unknown options."""
        for one in _behaviors(rules):
            options = one["options"]
            for name in self.dropped & set(options):
                del options[name]
            if one["name"] == "origin":
                options.setdefault("minTlsVersion", "DYNAMIC")
            if one["name"] == "cpCode":
                number = options["value"]["id"]
                options["value"]["name"] = self.cp_codes.get(number, "")
        return rules

    def _pending(self, key: str) -> list[dict[str, Any]]:
        return [one for one in self.properties[key]["activations"] if _is_pending(one)]

    def _look(self, key: str) -> None:
        """Advance time: each read brings pending activations closer to their end."""
        for one in self._pending(key):
            one["looks"] += 1
            if self.takes is not None and one["looks"] > self.takes:
                self._finish(key, one)

    def _finish(self, key: str, one: dict[str, Any]) -> None:
        active = self.properties[key]["active"]
        outcome = self.outcomes.pop(0) if self.outcomes else "ACTIVE"
        one["updateDate"] = _now()
        if outcome != "ACTIVE":
            one["status"] = outcome
            one["failureCause"] = {"title": "Activation failed", "detail": "the reason"}
            return
        for other in self.properties[key]["activations"]:
            if other["network"] == one["network"] and other["status"] == "ACTIVE":
                other["status"] = "INACTIVE"
        if one["activationType"] == "DEACTIVATE":
            one["status"], active[one["network"]] = "DEACTIVATED", None
        else:
            one["status"], active[one["network"]] = "ACTIVE", one["propertyVersion"]
        self._finish_certificates(one["network"])

    def _finish_certificates(self, network: str) -> None:
        """Create the missing edge hostnames of hostnames with a default certificate."""
        served = [
            entry
            for key, found in self.properties.items()
            if found["active"].get(network)
            for entry in self.version(key, found["active"][network])["hostnames"]
            if is_default(entry)
        ]
        present = {edge["edgeHostnameDomain"] for edge in self.edge_hostnames.values()}
        for name in sorted({entry["cnameTo"] for entry in served} - present):
            self.add_edge_hostname(name, secure=True)
        self.default.serve(network, {entry["cnameFrom"] for entry in served})

    def _status(self, found: dict[str, Any], network: str, number: int) -> str:
        return "ACTIVE" if found["active"].get(network) == number else "INACTIVE"


def _behaviors(rules: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(rules.get("behaviors", []))
    for child in rules.get("children", []):
        found += _behaviors(child)
    return found


def _complies(record: Any) -> bool:
    """Return whether Akamai accepts a compliance record for PRODUCTION."""
    given = dict(record or {})
    reason, ticket = given.pop("noncomplianceReason", None), given.pop("ticketId", "")
    if not isinstance(ticket, str):
        return False
    if reason == "NONE":
        tested = given.pop("unitTested", None) is True
        return tested and set(given) == {"customerEmail", "peerReviewedBy"} and all(given.values())
    if reason == "OTHER":
        return set(given) == {"otherNoncomplianceReason"} and all(given.values())
    return reason in ("NO_PRODUCTION_TRAFFIC", "EMERGENCY") and not given


def _is_pending(activation: dict[str, Any]) -> bool:
    return activation["status"] == "PENDING"


def _etag(version: dict[str, Any]) -> str:
    return hashlib.sha1(json.dumps(version, sort_keys=True).encode()).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _problem(status: int, kind: str, detail: str) -> Answer:
    document = {
        "type": f"https://problems.luna.akamaiapis.net/papi/v1/{kind}",
        "title": "Problem",
        "detail": detail,
        "instance": "/papi/v1/x",
        "status": status,
    }
    return status, {}, document
