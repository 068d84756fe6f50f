# SPDX-License-Identifier: Apache-2.0
"""Certificates that tenants bring: what nodes need of them, and how they are stored.

They are stored as finished orders of no authority, so they are published, encrypted again and
deleted as those are. A domain has one at most.
"""

import hashlib

from poppy.common.errors import PermanentError
from poppy.edge.errors import Refused
from poppy.edge.plane.certificates import check, served
from poppy.edge.program import Certificate
from poppy.model.certificates import Uploaded
from poppy.provider import uploads
from poppy.provider.edge import acme_renewal


def order_id(domain: str) -> str:
    """Return the ID of a domain's order: a later certificate replaces an earlier one."""
    return f"custom-{hashlib.sha256(domain.encode()).hexdigest()[:32]}"


def checked(domain: str, chain: str, key: str) -> tuple[str, str]:
    """Return a chain and its private key in PEM, as nodes need them.

    Raises:
        PermanentError: as :func:`poppy.provider.uploads.checked`.
    """
    found = uploads.checked([domain], chain, key)
    text = "".join(found.chain)
    try:
        check(served("custom", Certificate((domain,), text, found.key)))
    except Refused as exc:
        raise PermanentError(str(exc)) from None
    return text, found.key


def described(domain: str, chain: str) -> Uploaded:
    """Return what a tenant sees of a stored certificate."""
    return uploads.described(domain, acme_renewal.leaf(chain))
