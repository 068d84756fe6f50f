# SPDX-License-Identifier: Apache-2.0
"""The secrets of documents: sealed before they are stored, and opened for the operator only."""

from collections.abc import Sequence
from typing import Any

from poppy.common.errors import ConfigError, DriverError, InvalidRequest
from poppy.common.vault import GROUP, OPTION, Vault
from poppy.model import validation
from poppy.model.schema_parts import SECRETIVE
from poppy.model.secrets import Secret, purpose, secrets_of, with_secrets
from poppy.model.specs import ServiceSpec


class DocumentSecrets:
    """Seals and opens the secrets of documents.

    Args:
        keys: the option ``encryption_keys``.

    Raises:
        ConfigError: a key is invalid.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._vault = Vault(keys, GROUP) if keys else None

    def sealed(
        self, spec: ServiceSpec, service_id: str, before: ServiceSpec | None = None
    ) -> ServiceSpec:
        """Return the document of a request with its new secrets sealed.

        Args:
            spec: the valid document.
            service_id: the service.
            before: the stored document; the request may keep its secrets by their fingerprints.

        Raises:
            InvalidRequest: there is no key to seal a secret, or no secret with a fingerprint.
        """
        known = {} if before is None else {it.fingerprint: it for it in secrets_of(before)}

        def change(secret: Secret) -> Secret:
            if secret.text:
                for it in known.values():
                    if self._has(it, secret.text, service_id):
                        return it
                return self._seal(secret.text, service_id)
            if secret.fingerprint not in known:
                raise InvalidRequest(
                    f"The service has no secret with the fingerprint {secret.fingerprint}: give "
                    "the secret itself"
                )
            return known[secret.fingerprint]

        return with_secrets(spec, change)

    def renewed(self, spec: ServiceSpec, service_id: str) -> ServiceSpec:
        """Return a stored document with its secrets sealed by the first key.

        A secret that can't be opened stays as it is.
        """

        def change(secret: Secret) -> Secret:
            if self._vault is None:
                return secret
            try:
                sealed = self._vault.seal_again(secret.sealed, purpose(service_id))
            except (ConfigError, DriverError):
                return secret
            return Secret(secret.fingerprint, sealed)

        return with_secrets(spec, change)

    def opened(self, spec: ServiceSpec, service_id: str) -> dict[str, Any]:
        """Return a stored document with its secrets as text.

        Raises:
            ConfigError: a key is missing.
            Damaged: a secret was changed in the store.
        """
        return spec.to_dict(lambda secret: self._open(secret, service_id))

    def masked(self, value: Any) -> Any:
        """Return a document of a request with fingerprints in place of what may be secret."""
        if isinstance(value, list):
            return [self.masked(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        return {
            name: self._mask(entry) if name in SECRETIVE else self.masked(entry)
            for name, entry in value.items()
        }

    def _mask(self, value: Any) -> str:
        if self._vault is None:
            return ""
        text = validation.compact(value).encode("utf-8", "surrogatepass")
        return self._vault.fingerprint(text, "request")

    def _seal(self, text: str, service_id: str) -> Secret:
        if self._vault is None:
            raise InvalidRequest(
                "This installation can't store secrets, so documents with secrets are refused: "
                f"the operator has configured no key ([{GROUP}] {OPTION})"
            )
        secret, what = text.encode(), purpose(service_id)
        return Secret(self._vault.fingerprint(secret, what), self._vault.seal(secret, what))

    def _open(self, secret: Secret, service_id: str) -> str:
        if self._vault is None:
            raise ConfigError(f"[{GROUP}] {OPTION} is empty, but there are secrets")
        return self._vault.open(secret.sealed, purpose(service_id)).decode()

    def _has(self, secret: Secret, text: str, service_id: str) -> bool:
        try:
            return self._open(secret, service_id) == text
        except (ConfigError, DriverError):
            return False
