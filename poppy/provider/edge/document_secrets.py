# SPDX-License-Identifier: Apache-2.0
"""Secrets of documents in programs: those of signed URLs and of origins."""

import json
from typing import Any

from poppy.common.vault import Vault
from poppy.model.secrets import purpose

#: What a published program contains if it has secrets of the document.
MARK = '"sealed"'

_SEALED = {"fingerprint", "sealed"}
_PARTS = ("signed_urls", "origins")


def reveal(program: str, vault: Vault) -> str:
    """Return a published program with open secrets.

    Raises:
        ConfigError: a key to decrypt them is missing.
        Damaged: a secret was changed in the store.
    """
    document = json.loads(program)
    why = purpose(document["service_id"])

    def opened(value: Any) -> Any:
        if isinstance(value, list):
            return [opened(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == _SEALED:
            return vault.open(value["sealed"], why).decode()
        return {name: opened(entry) for name, entry in value.items()}

    document |= {name: opened(document[name]) for name in _PARTS if name in document}
    return json.dumps(document, sort_keys=True)
