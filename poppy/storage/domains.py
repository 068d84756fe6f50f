# SPDX-License-Identifier: Apache-2.0
"""The contract of domain claims: which service holds a domain, and which held it until recently.

Services claim domains when they are created or changed (see :mod:`poppy.storage.services`), and
release them at the end of a delete or an update (see :mod:`poppy.storage.operations`). A claim is
*pending* until the project has proven that it owns the domain.
:class:`poppy.common.domains.Policy` holds the rules:

* A released domain stays in quarantine for its former project. That project may claim it again
  at once; others get :class:`~poppy.common.errors.DomainReleased`.
* A pending claim leaves no quarantine: a project without proof can't keep a domain from others.
* Certificate orders claim the order, not the domain. They are never pending or in quarantine.

Times are those of operations: a claim counts from ``created_at``, a release from ``updated_at``.
"""

import abc
import datetime
from collections.abc import Sequence
from typing import NamedTuple

from poppy.common.domains import Policy
from poppy.model import certificates
from poppy.model.services import Service


class Claim(NamedTuple):
    """What is stored about a domain.

    Attributes:
        project_id: the current holder, or the last one.
        service_id: the service that holds it; None after the release.
        pending: the project has not proven that it owns the domain.
        released_at: when it was released; None while a service holds it.
    """

    domain: str
    project_id: str
    service_id: str | None
    pending: bool = False
    released_at: datetime.datetime | None = None


def awaits_proof(policy: Policy, service: Service, domain: str) -> bool:
    """Whether a new claim is pending. Names under a shared certificate never are."""
    if not policy.proof or certificates.is_namespace(service.project_id):
        return False
    return any(
        entry.domain == domain and entry.certificate != "shared" for entry in service.spec.domains
    )


def is_kept(policy: Policy, project_id: str) -> bool:
    """Whether a project's released domains go into quarantine (pending claims never do)."""
    return bool(policy.quarantine) and not certificates.is_namespace(project_id)


class DomainStore(abc.ABC):
    """Read and change claims apart from changes to services."""

    @abc.abstractmethod
    def get(self, domain: str) -> Claim:
        """Return the holder of a domain, or its last holder if that is still stored.

        Raises:
            NotFound: there is no holder, past or present.
        """

    @abc.abstractmethod
    def prove(self, project_id: str, service_id: str, domain: str) -> bool:
        """Record that a service's project has proven its ownership of a domain. Idempotent.

        Returns:
            Whether the service holds the domain. If not, the claim was revoked.
        """

    @abc.abstractmethod
    def release(self, claim: Claim) -> None:
        """End a domain's quarantine, or revoke a pending claim.

        A service with a revoked claim still names the domain in its document but no longer holds
        it: its worker must not deploy it.

        Args:
            claim: as read from :meth:`get`.

        Raises:
            Changed: the claim has changed, or it is a service's and not pending.
        """

    @abc.abstractmethod
    def released(self, marker: str | None, limit: int) -> Sequence[Claim]:
        """Return a page of released domains that are still stored, in the store's own order.

        For operators' tools: it may read much more than it returns.

        Args:
            marker: the page starts after this domain.
        """
