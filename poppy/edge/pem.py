# SPDX-License-Identifier: Apache-2.0
"""PEM (RFC 7468) in programs, as HAProxy's runtime API takes it: it has no empty lines."""

import re
from collections.abc import Mapping
from typing import Any

MAX_CHAIN = 32 * 1024  #: Bytes of PEM.
MAX_KEY = 8 * 1024  #: Bytes of PEM.

# HAProxy's runtime API takes an empty line for the end.
_BASE64 = "(?:[A-Za-z0-9+/=]{1,76}\n)+"
_CHAIN = re.compile(
    f"(?:-----BEGIN CERTIFICATE-----\n{_BASE64}-----END CERTIFICATE-----\n){{1,10}}"
)
_KEY = re.compile(f"-----BEGIN ((?:EC |RSA )?PRIVATE KEY)-----\n{_BASE64}-----END \\1-----\n")


def chain(document: Mapping[str, Any]) -> str:
    """Return the field ``chain``.

    Raises:
        ValueError: it is no chain of certificates in PEM.
    """
    return _read(document, "chain", _CHAIN, MAX_CHAIN)


def key(document: Mapping[str, Any]) -> str:
    """Return the field ``key``; no error quotes it.

    Raises:
        ValueError: it is no private key in PEM.
    """
    return _read(document, "key", _KEY, MAX_KEY)


def _read(document: Mapping[str, Any], name: str, pattern: re.Pattern[str], most: int) -> str:
    text = document.get(name)
    if not isinstance(text, str) or len(text) > most or not pattern.fullmatch(text):
        raise ValueError(f"{name} is no PEM of up to {most} bytes")
    return text
