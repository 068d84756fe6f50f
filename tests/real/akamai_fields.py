# SPDX-License-Identifier: Apache-2.0
"""The behaviours ``modify...Header``: which fields origins and clients get.

https://techdocs.akamai.com/property-mgr/docs/modify-incoming-req-header: MODIFY replaces the whole
value. https://techdocs.akamai.com/adaptive-media-delivery/docs/default-cors-policy-rule uses it
for fields that a response may lack.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.real.akamai_variables import Variables

Fields = list[tuple[str, str]]


def edited(
    fields: Iterable[tuple[str, str]], edits: Iterable[Mapping[str, Any]], variables: Variables
) -> Fields:
    """Return fields after some behaviours of one kind, in their order."""
    found = list(fields)
    for options in edits:
        action = options["action"]
        name = _name(options[f"standard{action.title()}HeaderName"], options)
        if action == "DELETE":
            found = _without(found, name)
        elif action == "MODIFY":
            assert options["avoidDuplicateHeaders"]
            value = variables.filled(options["newHeaderValue"])
            found = [*_without(found, name), (name, value)]
        else:
            found = [*found, (name, variables.filled(options["headerValue"]))]
    return found


def _without(fields: Fields, name: str) -> Fields:
    return [field for field in fields if field[0].lower() != name.lower()]


def _name(standard: str, options: Mapping[str, Any]) -> str:
    name: str = (
        options["customHeaderName"] if standard == "OTHER" else standard.replace("_", "-").title()
    )
    return name
