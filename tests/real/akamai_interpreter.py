# SPDX-License-Identifier: Apache-2.0
"""Rule trees, evaluated like Akamai: from the top, with later rules over earlier ones."""

import fnmatch
import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote


class Client:
    """A request and the origin's response, with the attributes that criteria use."""

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
        scheme: str = "",
    ) -> None:
        self.scheme = scheme
        self.path, self.ip, self.country, self.kind = path, ip, country, kind
        self.fields = {"Referer": referrer, "Authorization": authorization}
        self.response = {name.lower() for name in response or {}}

    def meets(self, criterion: dict[str, Any]) -> bool:
        options = criterion["options"]
        operator = options.get("matchOperator")
        found = getattr(self, f"_{criterion['name']}")(options)
        negated = operator in ("IS_NOT_ONE_OF", "DOES_NOT_MATCH_ONE_OF", "DOES_NOT_EXIST")
        return not found if negated else found

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
        value = self.fields[options["headerName"]]
        if options["matchOperator"] in ("EXISTS", "DOES_NOT_EXIST"):
            return value is not None
        assert not options["matchCaseSensitiveValue"]
        value = (value or "").lower()
        return any(fnmatch.fnmatchcase(value, pattern.lower()) for pattern in options["values"])

    def _responseHeader(self, options: dict[str, Any]) -> bool:
        assert options["matchOperator"] == "EXISTS"
        return options["headerName"].lower() in self.response

    def _requestProtocol(self, options: dict[str, Any]) -> bool:
        return self.scheme.upper() == options["value"]

    def _requestType(self, options: dict[str, Any]) -> bool:
        return self.kind == options["value"]


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
    """Return the options of each behaviour that applies to a request, by name."""
    criteria = tree.get("criteria", [])
    many = any if tree.get("criteriaMustSatisfy") == "any" else all
    if criteria and not many(client.meets(one) for one in criteria):
        return {}
    found = {one["name"]: one["options"] for one in tree["behaviors"]}
    for child in tree["children"]:
        found |= outcome(child, client)
    return found
