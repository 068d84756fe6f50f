# SPDX-License-Identifier: Apache-2.0
"""Dry runs: check a request completely, store nothing, and return its plan."""

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from poppy.common import errors
from poppy.common.domains import Policy
from poppy.dns.base import DNSDriver
from poppy.manager.change_pipeline import Changes
from poppy.manager.limits import LimitsManager
from poppy.model.dns_records import DNSRecord
from poppy.model.services import Service
from poppy.model.specs import Domain, ServiceSpec
from poppy.storage.base import Storage
from poppy.storage.domains import Claim


class Action(enum.StrEnum):
    """What a request does to an object at a provider, a name in DNS or a certificate."""

    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"
    REMOVE = "remove"


class NamePlan(NamedTuple):
    """The plan for the operator name of a domain; ``name`` is the operator name."""

    domain: str
    name: str
    action: Action


class CertificatePlan(NamedTuple):
    """The plan for the certificate of a domain; ``kind`` is as in the document."""

    domain: str
    kind: str
    action: Action


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request would do.

    Attributes:
        spec: the document as it would be stored.
        providers: by the provider's name.
        records: the records that the tenant would have to create.
    """

    spec: ServiceSpec
    providers: Mapping[str, Action]
    names: Sequence[NamePlan]
    certificates: Sequence[CertificatePlan]
    records: Sequence[DNSRecord]

    @classmethod
    def unchanged(cls, service: Service) -> Self:
        """Return the plan of a request that changes nothing."""
        return cls(service.spec, {}, (), (), service.dns_records)


class DryRun:
    """Stands in for the store: refuses what the store would refuse.

    Later documents of a dry run take earlier ones into account.

    Attributes:
        specs: the accepted documents of new services, by project and ID.
    """

    def __init__(self, storage: Storage, policy: Policy, limits: LimitsManager) -> None:
        self._storage = storage
        self._policy = policy
        self._limits = limits
        self._taken: set[str] = set()
        self._released: set[str] = set()
        self._room: dict[str, int] = {}
        self.specs: dict[tuple[str, str], ServiceSpec] = {}

    def create(self, service: Service) -> None:
        """Accept a new service.

        Raises:
            DomainTaken: another service has claimed a domain.
            DomainReleased: a domain is in quarantine for another project.
            LimitReached: the project has reached its limit of services.
        """
        self.update(service)
        project_id = service.project_id
        if project_id not in self._room:
            there = self._storage.projects.count(project_id)
            self._room[project_id] = self._limits.get(project_id) - there
        if self._room[project_id] <= 0:
            raise errors.LimitReached(project_id, self._limits.get(project_id))
        self._room[project_id] -= 1
        self._taken |= service.spec.domain_names
        self.specs[project_id, service.service_id] = service.spec

    def update(self, service: Service) -> None:
        """Accept a changed service.

        Raises:
            DomainTaken: another service has claimed a domain.
            DomainReleased: a domain is in quarantine for another project.
        """
        for domain in sorted(service.spec.domain_names):
            if domain in self._taken:
                raise errors.DomainTaken(domain)
            if domain not in self._released:
                self._check_free(domain, service)

    def release(self, claim: Claim) -> None:
        """Count a domain as free, because the project of the request has proven it."""
        self._released.add(claim.domain)

    def _check_free(self, domain: str, service: Service) -> None:
        try:
            claim = self._storage.domains.get(domain)
        except errors.NotFound:
            return
        if claim.released_at is None:
            if (claim.project_id, claim.service_id) != (service.project_id, service.service_id):
                raise errors.DomainTaken(domain)
            return
        free_at = self._policy.free_at(claim.released_at)
        is_former = claim.project_id == service.project_id
        if not is_former and free_at > datetime.datetime.now(datetime.UTC):
            raise errors.DomainReleased(domain, free_at)


class Planner:
    """Finds out what requests would do."""

    def __init__(
        self,
        storage: Storage,
        changes: Changes,
        dns: DNSDriver,
        policy: Policy,
        limits: LimitsManager,
    ) -> None:
        self._storage = storage
        self._changes = changes
        self._dns = dns
        self._policy = policy
        self._limits = limits

    def dry_run(self) -> DryRun:
        """Begin a dry run."""
        return DryRun(self._storage, self._policy, self._limits)

    def plan(self, before: Service | None, after: Service) -> Plan:
        """Return the plan of a change that has passed all other checks.

        Args:
            before: the stored service; None for a new one.
            after: the service to store.

        Raises:
            InvalidRequest: as for :meth:`Changes.place`.
            DomainTaken: as for :meth:`DryRun.update`.
            LimitReached: as for :meth:`DryRun.create`.
        """
        dry_run = self.dry_run()
        placed = after

        def store(spec: ServiceSpec) -> None:
            nonlocal placed
            placed = replace(after, spec=spec)
            (dry_run.create if before is None else dry_run.update)(placed)

        old = None if before is None else before.spec
        self._changes.place(after.project_id, after.spec, store, old, release=dry_run.release)
        flavor = self._changes.flavor(placed.spec.flavor_id)
        return Plan(
            spec=placed.spec,
            providers=_provider_actions(before, placed, flavor.provider_names),
            names=self._names(before, placed),
            certificates=_certificates(before, placed.spec),
            records=placed.dns_records,
        )

    def _names(self, before: Service | None, after: Service) -> Sequence[NamePlan]:
        deployed = frozenset() if before is None else before.deployed_domains
        kinds = {it.domain: it.certificate for it in (*_domains(before), *after.spec.domains)}
        return [
            NamePlan(
                domain,
                self._dns.operator_name(domain, kind),
                _action(domain in deployed, domain in after.spec.domain_names),
            )
            for domain, kind in kinds.items()
        ]


def _domains(service: Service | None) -> Sequence[Domain]:
    return () if service is None else service.spec.domains


def _provider_actions(
    before: Service | None, after: Service, flavor: Sequence[str]
) -> Mapping[str, Action]:
    """Return what happens at each provider; ``flavor`` names those of the new flavor."""
    known = {} if before is None else before.provider_details
    return {
        name: _action(name in known and known[name].exists, name in flavor)
        for name in after.provider_details
        if name in flavor or known[name].exists
    }


def _certificates(before: Service | None, after: ServiceSpec) -> Sequence[CertificatePlan]:
    old, new = _kinds(_domains(before)), _kinds(after.domains)
    return [
        CertificatePlan(domain, kind, Action.KEEP if old.get(domain) == kind else Action.CREATE)
        for domain, kind in new.items()
    ] + [
        CertificatePlan(domain, kind, Action.REMOVE)
        for domain, kind in old.items()
        if domain not in new
    ]


def _kinds(domains: Sequence[Domain]) -> dict[str, str]:
    return {it.domain: it.certificate for it in domains if it.certificate is not None}


def _action(exists: bool, wanted: bool) -> Action:
    if not wanted:
        return Action.REMOVE
    return Action.UPDATE if exists else Action.CREATE
