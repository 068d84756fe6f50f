# SPDX-License-Identifier: Apache-2.0
"""Encryption of secrets at rest: private keys, and the secrets of services' documents.

A sealed secret is ``<key ID>.<base64url of nonce and ciphertext>``, encrypted with AES-256-GCM
(NIST SP 800-38D). Its *purpose* is authenticated, so a sealed secret that was copied to another
row can't be opened there.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from oslo_config import cfg

from poppy.common import logs
from poppy.common.errors import ConfigError, PermanentError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: The options for the secrets of documents. Drivers have groups of their own.
GROUP = "document_secrets"
#: The option that contains the keys.
OPTION = "encryption_keys"
#: A command that prints a new key.
COMMAND = "openssl rand -base64 32"

OPTS = (
    cfg.ListOpt(
        OPTION,
        default=[],
        secret=True,
        help="Keys that encrypt the secrets of services' documents in the store: 32 bytes in "
        f"base64 each, from '{COMMAND}'. The same for all API servers and workers. The first one "
        "encrypts, all of them decrypt. To rotate, prepend a new one, redeploy the services, and "
        "remove the old one. Without any key, documents with secrets are refused. It needs the "
        "library cryptography, which the extra edge installs.",
    ),
)

_KEY_SIZE = 32  # Bytes.
_NONCE_SIZE = 12  # Bytes, as NIST SP 800-38D recommends.
_MAX_KEYS = 10


def key_id(sealed: str) -> str:
    """Return the ID of the key that sealed a secret."""
    return sealed.partition(".")[0]


class Damaged(PermanentError):
    """A sealed secret was changed, or belongs to another purpose."""


class _Key(NamedTuple):
    cipher: "AESGCM"
    fingerprints: bytes  #: The key of fingerprints, derived from the same option.


class Vault:
    """Seals and opens secrets.

    Args:
        keys: 32 bytes in base64 each. The first one seals, and each one opens, so a new key is
            prepended and the old one removed once everything is sealed again.
        group: the configuration group of the keys, for messages.

    Raises:
        ConfigError: there is no key, one is invalid, or a library is missing.
    """

    def __init__(self, keys: Sequence[str], group: str) -> None:
        self._option = f"[{group}] {OPTION}"
        if not 1 <= len(keys) <= _MAX_KEYS:
            raise ConfigError(
                f"{self._option} must contain 1 to {_MAX_KEYS} keys, not {len(keys)}; "
                f"{COMMAND} prints one"
            )
        logs.register_secrets(keys)
        # Dictionaries keep the order of insertion.
        self._keys = dict(self._key(number, key) for number, key in enumerate(keys, 1))

    @property
    def key_ids(self) -> Sequence[str]:
        """The IDs of the keys, in the order of the option."""
        return list(self._keys)

    def seal(self, secret: bytes, purpose: str) -> str:
        """Encrypt a secret with the first key."""
        key_id, key = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_SIZE)
        sealed = nonce + key.cipher.encrypt(nonce, secret, purpose.encode())
        return f"{key_id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, purpose: str) -> bytes:
        """Decrypt a secret.

        Raises:
            ConfigError: the option lacks the key that sealed it; the message has the key's ID.
            Damaged: the text is no sealed secret of this purpose.
        """
        from cryptography.exceptions import InvalidTag

        key_id, _, text = sealed.partition(".")
        key = self._keys.get(key_id)
        if key is None:
            raise ConfigError(
                f"{self._option} lacks the key with the ID {key_id:.16}, with which the secret of "
                f"{purpose} is encrypted"
            )
        try:
            data = base64.b64decode(text, altchars=b"-_", validate=True)
            return key.cipher.decrypt(data[:_NONCE_SIZE], data[_NONCE_SIZE:], purpose.encode())
        except (InvalidTag, ValueError):
            # Without its cause, which may quote the text.
            raise Damaged(f"The encrypted secret of {purpose} is damaged") from None

    def seal_again(self, sealed: str, purpose: str) -> str:
        """Return a sealed secret as the first key seals it; the same text if that sealed it."""
        if key_id(sealed) == next(iter(self._keys)):
            return sealed
        return self.seal(self.open(sealed, purpose), purpose)

    def fingerprint(self, secret: bytes, purpose: str) -> str:
        """Return 8 hexadecimal digits that tell secrets of a purpose apart.

        They depend on the first key, so that they do not help to guess the secret.
        """
        key = next(iter(self._keys.values())).fingerprints
        return hmac.digest(key, purpose.encode() + b"\0" + secret, "sha256").hex()[:8]

    def _key(self, number: int, text: str) -> tuple[str, _Key]:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as exc:
            raise ConfigError(
                f"{self._option} needs the library cryptography: install the extra edge"
            ) from exc
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_SIZE:
            raise ConfigError(
                f"Key {number} of {self._option} is not {_KEY_SIZE} bytes in base64; "
                f"{COMMAND} prints one"
            )
        fingerprints = hmac.digest(key, b"fingerprints", "sha256")
        return hashlib.sha256(key).hexdigest()[:16], _Key(AESGCM(key), fingerprints)
