# SPDX-License-Identifier: Apache-2.0
"""Encryption of account keys and private keys at rest.

A sealed secret is ``<key ID>.<base64url of nonce and ciphertext>``, encrypted with AES-256-GCM
(NIST SP 800-38D). Its *purpose* is authenticated, so a sealed secret that was copied to another
row can't be opened there.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from poppy.common import logs
from poppy.common.errors import ConfigError, PermanentError

#: The option that contains the keys.
OPTION = "encryption_keys"
#: A command that prints a new key.
COMMAND = "openssl rand -base64 32"

_KEY_SIZE = 32  # Bytes.
_NONCE_SIZE = 12  # Bytes, as NIST SP 800-38D recommends.
_MAX_KEYS = 10


def key_id(sealed: str) -> str:
    """Return the ID of the key that sealed a secret."""
    return sealed.partition(".")[0]


class Damaged(PermanentError):
    """A sealed secret was changed, or belongs to another purpose."""


class Vault:
    """Seals and opens secrets.

    Args:
        keys: 32 bytes in base64 each. The first one seals, and each one opens, so a new key is
            prepended and the old one removed once everything is sealed again.
        group: the configuration group of the keys, for messages.

    Raises:
        ConfigError: there is no key, or one is invalid.
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
        self._ciphers = dict(self._cipher(number, key) for number, key in enumerate(keys, 1))

    @property
    def key_ids(self) -> Sequence[str]:
        """The IDs of the keys, in the order of the option."""
        return list(self._ciphers)

    def seal(self, secret: bytes, purpose: str) -> str:
        """Encrypt a secret with the first key."""
        key_id, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(_NONCE_SIZE)
        sealed = nonce + cipher.encrypt(nonce, secret, purpose.encode())
        return f"{key_id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, purpose: str) -> bytes:
        """Decrypt a secret.

        Raises:
            ConfigError: the option lacks the key that sealed it; the message has the key's ID.
            Damaged: the text is no sealed secret of this purpose.
        """
        key_id, _, text = sealed.partition(".")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise ConfigError(
                f"{self._option} lacks the key with the ID {key_id:.16}, with which the key of "
                f"{purpose} is encrypted"
            )
        try:
            data = base64.b64decode(text, altchars=b"-_", validate=True)
            return cipher.decrypt(data[:_NONCE_SIZE], data[_NONCE_SIZE:], purpose.encode())
        except (InvalidTag, ValueError):
            # Without its cause, which may quote the text.
            raise Damaged(f"The encrypted key of {purpose} is damaged") from None

    def seal_again(self, sealed: str, purpose: str) -> str:
        """Return a sealed secret as the first key seals it; the same text if that sealed it."""
        if key_id(sealed) == next(iter(self._ciphers)):
            return sealed
        return self.seal(self.open(sealed, purpose), purpose)

    def _cipher(self, number: int, text: str) -> tuple[str, AESGCM]:
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_SIZE:
            raise ConfigError(
                f"Key {number} of {self._option} is not {_KEY_SIZE} bytes in base64; "
                f"{COMMAND} prints one"
            )
        return hashlib.sha256(key).hexdigest()[:16], AESGCM(key)
