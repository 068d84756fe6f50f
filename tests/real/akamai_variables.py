# SPDX-License-Identifier: Apache-2.0
"""Variables of rule trees: Akamai's own, and the behaviour ``setVariable``.

See https://techdocs.akamai.com/property-mgr/reference/built-in-system-variables and
https://techdocs.akamai.com/property-mgr/docs/set-var-operations. Path and query are taken as the
client sent them.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

_REFERENCE = re.compile(r"\{\{(builtin|user)\.([A-Z0-9_]+)\}\}")


class Variables:
    """The variables of a request.

    Args:
        builtin: Akamai's own variables by name.
        fields: the fields of the client's request, by name in lower case.
        response: those of the origin's response.
    """

    def __init__(
        self,
        builtin: Mapping[str, str],
        fields: Mapping[str, str],
        response: Mapping[str, str],
    ) -> None:
        self._builtin, self._fields, self._response = builtin, fields, response
        self._user: dict[str, str] = {}

    def get(self, name: str) -> str:
        """Return the value of a variable of the rule tree; it is empty before it is set."""
        return self._user.get(name, "")

    def filled(self, text: str) -> str:
        """Return a text with the values of the variables that it refers to."""
        return _REFERENCE.sub(
            lambda it: self._builtin[it[2]] if it[1] == "builtin" else self.get(it[2]), text
        )

    def set(self, options: Mapping[str, Any]) -> None:
        """Apply a behaviour ``setVariable``."""
        if options["valueSource"] == "EXTRACT":
            if options["extractLocation"] == "RESPONSE_HEADER":
                value = self._response.get(options["responseHeaderName"].lower(), "")
            else:
                value = self._fields.get(options["headerName"].lower(), "")
        else:
            value = self.filled(options["variableValue"])
        self._user[options["variableName"]] = _transformed(value, options)


def _transformed(value: str, options: Mapping[str, Any]) -> str:
    kind = options["transform"]
    if kind in ("NONE", "LOWER"):
        return value.lower() if kind == "LOWER" else value
    if kind == "SUBSTITUTE":
        assert options["caseSensitive"]
        replacement = re.sub(r"\$([0-9])", r"\\g<\1>", options["replacement"])
        count = 0 if options["globalSubstitution"] else 1
        return re.sub(options["regex"], replacement, value, count=count)
    if kind == "URL_DECODE":
        return unquote(value, "utf-8", "surrogateescape")
    assert kind == "URL_ENCODE", kind
    safe = "".join(it for it in options["exceptChars"] if it not in options["forceChars"])
    return quote(value.encode("utf-8", "surrogateescape"), safe=safe)
