# SPDX-License-Identifier: Apache-2.0
"""The private dictionary with a service's secrets.

Fastly does not return the items of a private dictionary (``write_only``), neither by its API nor
in generated VCL. Items are not part of a version, so a change would take effect in the active
version at once. Hence each set of secrets has a dictionary of its own, and its items are written
before the version with it is activated. See "Private dictionaries",
https://docs.fastly.com/en/guides/private-dictionaries.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from poppy.model.secrets import Secret
from poppy.model.specs import ServiceSpec
from poppy.provider.fastly import origins

KIND = "dictionary"
PREFIX = "poppy_"  #: Of the names of Poppy's dictionaries.


class Dictionary(NamedTuple):
    """A dictionary.

    Attributes:
        name: empty without secrets; also the name of the table in VCL.
        secrets: by their keys in the dictionary.
    """

    name: str
    secrets: Mapping[str, Secret]

    @property
    def objects(self) -> list[dict[str, str]]:
        """The object of the version, without items."""
        return [{"name": self.name, "write_only": "1"}] if self.name else []


def dictionary(spec: ServiceSpec) -> Dictionary:
    """Return the dictionary of a document.

    The name is a digest of fingerprints, which differ for each secret, and not of secrets.
    """
    keys = spec.signed_urls.keys if spec.signed_urls else ()
    secrets = {key.id: key.secret for key in keys}
    for number, origin in enumerate(spec.origins):
        if origin.secret_header:
            secrets[origins.key(number)] = origin.secret_header.value
    if not secrets:
        return Dictionary("", {})
    text = " ".join(f"{key} {secrets[key].fingerprint}" for key in sorted(secrets))
    return Dictionary(f"{PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:16]}", secrets)
