# SPDX-License-Identifier: Apache-2.0
"""The contract of claims to domains: who holds a domain, and who held it until recently.

Services claim domains when they are created or changed, and release them at the end of a delete
or an update (see :mod:`poppy.storage.base`). A claim may be *pending*: the project has not proven
yet that the domain is its own. The rules are :class:`poppy.common.domains.Policy`:

* A released domain is kept for its former project while it is in quarantine. That project may
  claim it again at once; others get :class:`~poppy.common.errors.DomainReleased`.
* A pending claim leaves no quarantine: who has proven nothing can't keep a domain from others.
* Orders of certificates claim the order, not the domain. They are neither pending nor kept.

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
    """What is stored of a domain.

    Attributes:
        project_id: who holds it, or held it last.
        service_id: which service holds it; None once it is released.
        pending: the project has not proven that it owns it.
        released_at: when it was released; None while a service holds it.
    """

    domain: str
    project_id: str
    service_id: str | None
    pending: bool = False
    released_at: datetime.datetime | None = None


def awaits_proof(policy: Policy, service: Service, domain: str) -> bool:
    """Whether a new claim to a domain is pending: names under a shared certificate never are."""
    if not policy.proof or certificates.is_namespace(service.project_id):
        return False
    return any(
        entry.domain == domain and entry.certificate != "shared" for entry in service.spec.domains
    )


def is_kept(policy: Policy, project_id: str) -> bool:
    """Whether what a project releases is kept for it, unless the claim was pending."""
    return bool(policy.quarantine) and not certificates.is_namespace(project_id)


class DomainStore(abc.ABC):
    """Claims to domains, beside what services do with them."""

    @abc.abstractmethod
    def get(self, domain: str) -> Claim:
        """Who holds a domain, or held it last if that is still stored.

        Raises:
            NotFound: nobody does or did.
        """

    @abc.abstractmethod
    def prove(self, project_id: str, service_id: str, domain: str) -> bool:
        """Note that a service's project has proven that it owns a domain; may be repeated.

        Returns:
            Whether the service holds the domain. If not, the claim was revoked before.
        """

    @abc.abstractmethod
    def release(self, claim: Claim) -> None:
        """Free a domain that is kept for its former project, or revoke a pending claim.

        A service whose claim is revoked keeps naming the domain in its document, but holds it no
        more: its worker must not deploy it.

        Args:
            claim: as read from :meth:`get`.

        Raises:
            Changed: it is not as read, or a service holds it by a claim that is not pending.
        """

    @abc.abstractmethod
    def released(self, marker: str | None, limit: int) -> Sequence[Claim]:
        """A page of the domains that are released but still stored, in an order of the store's.

        For operators' tools: it may read much more than it gives.

        Args:
            marker: the page begins behind this domain.
        """
