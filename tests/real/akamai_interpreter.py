# SPDX-License-Identifier: Apache-2.0
"""Rule trees, evaluated like Akamai: from the top, with later rules over earlier ones."""

import fnmatch
import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tests.real.akamai_variables import Variables

#: Behaviours of which all apply, one after the other.
SEVERAL = {
    "modifyIncomingRequestHeader",
    "modifyOutgoingResponseHeader",
    "modifyIncomingResponseHeader",
    "cacheId",
    "cacheTag",
}
_NEGATED = {
    "IS_NOT",
    "IS_NOT_ONE_OF",
    "DOES_NOT_MATCH_ONE_OF",
    "DOES_NOT_EXIST",
    "IS_NOT_EMPTY",
}


class Client:
    """A request and the origin's response, with the attributes that criteria use.

    Attributes:
        variables: of the request.
    """

    def __init__(
        self,
        path: str,
        *,
        ip: str = "198.51.100.1",
        country: str = "DE",
        referrer: str | None = None,
        authorization: str | None = None,
        kind: str = "CLIENT_REQ",
        response: Mapping[str, str] | None = None,
        status: int | None = None,
        scheme: str = "",
        method: str = "GET",
        query: str = "",
        host: str = "www.a.example",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self.scheme, self.method = scheme, method
        self.path, self.ip, self.country, self.kind = path, ip, country, kind
        more = {"Referer": referrer, "Authorization": authorization, **(fields or {})}
        self.fields = {name.lower(): value for name, value in more.items() if value is not None}
        self.status = 200 if status is None and response is not None else status
        self.response = {name.lower(): value for name, value in (response or {}).items()}
        builtin = {"AK_PATH": path, "AK_QUERY": query, "AK_HOST": host}
        self.variables = Variables(builtin, self.fields, self.response)

    def meets(self, criterion: dict[str, Any]) -> bool:
        options = criterion["options"]
        found = getattr(self, f"_{criterion['name']}")(options)
        return not found if options.get("matchOperator") in _NEGATED else found

    def _path(self, options: dict[str, Any]) -> bool:
        assert options["normalize"] and options["matchCaseSensitive"]
        return any(fnmatch.fnmatchcase(_normal(self.path), it) for it in options["values"])

    def _clientIp(self, options: dict[str, Any]) -> bool:
        address = ipaddress.ip_address(self.ip)
        return any(address in ipaddress.ip_network(value) for value in options["values"])

    def _userLocation(self, options: dict[str, Any]) -> bool:
        assert options["field"] == "COUNTRY"
        return self.country in options["countryValues"]

    def _requestHeader(self, options: dict[str, Any]) -> bool:
        value = self.fields.get(options["headerName"].lower())
        if options["matchOperator"] in ("EXISTS", "DOES_NOT_EXIST"):
            return value is not None
        return _matches(value or "", options["values"], options)

    def _responseHeader(self, options: dict[str, Any]) -> bool:
        assert options["matchOperator"] == "EXISTS"
        return options["headerName"].lower() in self.response

    def _matchResponseCode(self, options: dict[str, Any]) -> bool:
        return str(self.status) in options["values"]

    def _contentType(self, options: dict[str, Any]) -> bool:
        assert options["matchWildcard"] and not options["matchCaseSensitive"]
        value = self.response.get("content-type", "").lower()
        return any(fnmatch.fnmatchcase(value, pattern.lower()) for pattern in options["values"])

    def _requestProtocol(self, options: dict[str, Any]) -> bool:
        return self.scheme.upper() == options["value"]

    def _requestType(self, options: dict[str, Any]) -> bool:
        return self.kind == options["value"]

    def _requestMethod(self, options: dict[str, Any]) -> bool:
        return self.method == options["value"]

    def _regularExpression(self, options: dict[str, Any]) -> bool:
        assert options["caseSensitive"]
        text = self.variables.filled(options["matchString"])
        return re.search(options["regex"], text) is not None

    def _matchVariable(self, options: dict[str, Any]) -> bool:
        value = self.variables.get(options["variableName"])
        assert options["matchOperator"] in ("IS_EMPTY", "IS_NOT_EMPTY")
        return not value


def _matches(value: str, patterns: list[str], options: dict[str, Any]) -> bool:
    if not options["matchCaseSensitiveValue"]:
        value, patterns = value.lower(), [it.lower() for it in patterns]
    if not options["matchWildcardValue"]:
        return value in patterns
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def _normal(path: str) -> str:
    """Return a path as ``normalize`` leaves it: decoded, without dot segments and double slashes.

    See https://techdocs.akamai.com/property-mgr/reference/ga-path.
    """
    done: list[str] = []
    parts = re.sub("/+", "/", unquote(path)).split("/")
    for part in parts[1:]:
        if part == "..":
            done = done[:-1]
        elif part != ".":
            done.append(part)
    return "/" + "/".join(done)


def outcome(tree: dict[str, Any], client: Client) -> dict[str, Any]:
    """Return the options of each behaviour that applies to a request, by name.

    Those in :data:`SEVERAL` have a list of options. Variables are set on the way.
    """
    found: dict[str, Any] = {}
    _apply(tree, client, found)
    return found


def _apply(rule: dict[str, Any], client: Client, found: dict[str, Any]) -> None:
    criteria = rule.get("criteria", [])
    many = any if rule.get("criteriaMustSatisfy") == "any" else all
    if criteria and not many(client.meets(one) for one in criteria):
        return
    if any(one["name"] == "cacheId" for one in rule["behaviors"]):
        # https://techdocs.akamai.com/property-mgr/docs/cache-id-modification: those of earlier
        # rules do not apply any more.
        found.pop("cacheId", None)
    for one in rule["behaviors"]:
        name, options = one["name"], one["options"]
        if name == "setVariable":
            client.variables.set(options)
        elif name in SEVERAL:
            found.setdefault(name, []).append(options)
        else:
            found[name] = options
    for child in rule["children"]:
        _apply(child, client, found)
