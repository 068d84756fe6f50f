# SPDX-License-Identifier: Apache-2.0
"""The items of dictionaries, for :mod:`tests.real.fastly`.

Limits are those of https://docs.fastly.com/en/guides/working-with-dictionary-items-using-the-api:
keys of 256 and values of 8,000 characters, and 1,000 changes in a request.
"""

from typing import Any

from tests.real.fastly_objects import Refused

_OPERATIONS = {"create", "update", "upsert", "delete"}


class Dictionaries:
    """The items by the ids of dictionaries. They belong to no version.

    Attributes:
        items: by dictionary and key.
    """

    def __init__(self) -> None:
        self.items: dict[str, dict[str, str]] = {}

    def change(self, dictionary: str, document: Any) -> None:
        """Change items of an existing dictionary."""
        changes = document.get("items") if isinstance(document, dict) else None
        if not isinstance(changes, list) or not 1 <= len(changes) <= 1000:
            raise Refused(400, "Bad request", "items must be a list of 1 to 1000")
        for change in changes:
            key, value = str(change.get("item_key", "")), change.get("item_value")
            if change.get("op") not in _OPERATIONS:
                raise Refused(400, "Bad request", f"op can't be {change.get('op')!r}")
            if not 1 <= len(key) <= 256:
                raise Refused(400, "Bad request", "item_key has 1 to 256 characters")
            found = self.items.setdefault(dictionary, {})
            if change["op"] == "delete":
                found.pop(key, None)
            elif not isinstance(value, str) or len(value) > 8000:
                raise Refused(400, "Bad request", "item_value has up to 8000 characters")
            elif (change["op"] == "create") and key in found:
                raise Refused(409, "Duplicate record", key)
            elif (change["op"] == "update") and key not in found:
                raise Refused(404, "Record not found", key)
            else:
                found[key] = value
