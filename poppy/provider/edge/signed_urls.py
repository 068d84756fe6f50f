# SPDX-License-Identifier: Apache-2.0
"""Signed URLs in programs."""

import json

from poppy.common.vault import Vault
from poppy.model.secrets import purpose

#: What a published program contains if it has secrets of the document.
MARK = '"signed_urls"'


def reveal(program: str, vault: Vault) -> str:
    """Return a published program with open secrets.

    Raises:
        ConfigError: a key to decrypt them is missing.
        Damaged: a secret was changed in the store.
    """
    document = json.loads(program)
    for key in document["signed_urls"]["keys"]:
        opened = vault.open(key["secret"]["sealed"], purpose(document["service_id"]))
        key["secret"] = opened.decode()
    return json.dumps(document, sort_keys=True)
