# SPDX-License-Identifier: Apache-2.0
"""Certificate orders, which are independent of services.

An order uses the same operations as a service. It is stored as a
:class:`~poppy.model.services.Service` with one domain and no origins, in a namespace next to the
project's, so that the two do not see each other. An order claims the pair of certificate type and
domain, not the domain.
"""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poppy.model.provider_details import ProviderDetail
from poppy.model.schema_parts import Schema, record

#: Kinds of certificates that can be ordered.
TYPES = ("san", "sni")

#: States of a certificate, worst first. The worst state of any provider counts for the order.
STATES = ("failed", "cancelled", "create_in_progress", "deployed")

#: A certificate and its key, as a tenant brings them. The driver limits their lengths, so that no
#: message quotes a key.
UPLOAD: Schema = record(
    "Custom certificate with its key",
    {
        "chain": {
            "type": "string",
            "description": "Up to 10 certificates in PEM, up to 32 KiB together: the domain's "
            "first, each one issued by the next.",
        },
        "key": {
            "type": "string",
            "writeOnly": True,
            "description": "The private key in PEM, up to 8 KiB.",
        },
    },
    ("chain", "key"),
)

# No project id has this character; see poppy.model.names.
_NAMESPACE = "#certificates"


@dataclass(frozen=True, slots=True)
class Certificate:
    """An order for a certificate.

    Attributes:
        domain_name: the host name of the certificate.
        cert_type: ``san`` or ``sni``.
        flavor_id: the flavor; each of its providers gets the certificate.
    """

    project_id: str
    domain_name: str
    cert_type: str
    flavor_id: str


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A certificate that a tenant has brought.

    Attributes:
        domain: the domain that it is used for.
        names: the DNS names in it.
        expires_at: the end of its validity.
        fingerprint: the SHA-256 of the certificate, in hexadecimal digits.
    """

    domain: str
    names: tuple[str, ...]
    expires_at: datetime.datetime
    fingerprint: str


def namespace(project_id: str) -> str:
    """Return the namespace of a project's orders in storage."""
    return f"{project_id}{_NAMESPACE}"


def is_namespace(project_id: str) -> bool:
    """Return whether a stored project id is a namespace of orders."""
    return project_id.endswith(_NAMESPACE)


def owner(project_id: str) -> str:
    """Return the project of a namespace."""
    return project_id.removesuffix(_NAMESPACE)


def claim(domain: str, cert_type: str) -> str:
    """Return the claim of an order. It can't equal a domain."""
    return f"{cert_type}:{domain}"


def status_bucket(status: str) -> str:
    """Return the status bucket of orders with a status."""
    return f"certificate:{status}"


def status_of(details: Mapping[str, ProviderDetail]) -> str:
    """Return an order's status over all providers: one of :data:`STATES` or delete_in_progress."""
    if any(detail.status == "delete_in_progress" for detail in details.values()):
        return "delete_in_progress"
    return worst(map(_state, details.values()))


def worst(states: Iterable[str]) -> str:
    """Return the worst of several states; ``create_in_progress`` if there are none."""
    known = set(states)
    return next((state for state in STATES if state in known), "create_in_progress")


def _state(detail: ProviderDetail) -> str:
    state = worst(detail.certificates.values())
    if detail.status in ("deploy_in_progress", "update_in_progress"):
        return state if state == "deployed" else "create_in_progress"
    if detail.status == "failed" and state != "cancelled":
        return "failed"
    return state
