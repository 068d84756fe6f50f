# SPDX-License-Identifier: Apache-2.0
"""Certificates that are ordered by themselves, before a service uses their domain.

An order is carried like a service, by the same operations: stored as a
:class:`~poppy.model.services.Service` whose document has one domain and no origins, in a
namespace of its own beside the project's, so that neither sees the other. What is claimed is not
the domain but the pair of certificate type and domain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poppy.model.services import ProviderDetail

#: Certificates that can be ordered.
TYPES = ("san", "sni")

#: What a certificate can be, and how those of several providers add up: the first that any of
#: them reports.
STATES = ("failed", "cancelled", "create_in_progress", "deployed")

# No project id has this character; see poppy.model.names.
_NAMESPACE = "#certificates"


@dataclass(frozen=True, slots=True)
class Certificate:
    """An order for a certificate.

    Attributes:
        domain_name: the host name it is for.
        cert_type: ``san`` or ``sni``.
        flavor_id: the flavor whose providers are to have it.
    """

    project_id: str
    domain_name: str
    cert_type: str
    flavor_id: str


def namespace(project_id: str) -> str:
    """Where a project's orders are stored."""
    return f"{project_id}{_NAMESPACE}"


def is_namespace(project_id: str) -> bool:
    """Whether what is stored under this project id are orders."""
    return project_id.endswith(_NAMESPACE)


def owner(project_id: str) -> str:
    """The project whose namespace it is."""
    return project_id.removesuffix(_NAMESPACE)


def claim(domain: str, cert_type: str) -> str:
    """What an order claims; no domain looks like it."""
    return f"{cert_type}:{domain}"


def shelf(status: str) -> str:
    """Where orders of a status stand, in lists by status."""
    return f"certificate:{status}"


def status_of(details: "Mapping[str, ProviderDetail]") -> str:
    """How far an order got, over all its providers: of :data:`STATES`, or being deleted."""
    if any(detail.status == "delete_in_progress" for detail in details.values()):
        return "delete_in_progress"
    return worst(map(_state, details.values()))


def worst(states: Iterable[str]) -> str:
    """What the states of several providers add up to."""
    known = set(states)
    return next((state for state in STATES if state in known), "create_in_progress")


def _state(detail: "ProviderDetail") -> str:
    state = worst(detail.certificates.values())
    if detail.status in ("deploy_in_progress", "update_in_progress"):
        return state if state == "deployed" else "create_in_progress"
    if detail.status == "failed" and state != "cancelled":
        return "failed"
    return state
