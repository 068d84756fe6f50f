# SPDX-License-Identifier: Apache-2.0
"""Contract: claims to domains, quarantine after a release, and pending claims."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model import certificates
from poppy.model.operations import Kind, State
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.storage.base import Storage
from poppy.storage.domains import Claim
from poppy.testing.builders import (
    NOW,
    PROJECT_ID,
    after,
    make_operation,
    make_service,
    make_spec,
)
from poppy.testing.storage.case import (
    LIMIT,
    Connect,
    StorageCase,
    add,
    begin,
    each,
    failures,
    finish,
    first_operation,
    race,
    remove,
    submit,
)

_QUARANTINE = 3600
_NAME = "a.example.com"


def claim(
    storage: Storage, project_id: str, name: str = _NAME, seconds: float = 0, limit: int = LIMIT
) -> Service:
    """Create a service with one domain, requested ``seconds`` after :data:`NOW`."""
    service = make_service(project_id=project_id, domains=[name])
    operation = replace(make_operation(service), created_at=after(seconds))
    storage.services.create(service, operation, limit)
    return service


def drop(storage: Storage, service: Service, name: str) -> None:
    """Remove a domain from a service by an update that succeeds."""
    finish(storage, begin(storage, first_operation(storage, service)).operation)
    known = storage.services.get(service.project_id, service.service_id)
    kept = tuple(it for it in known.spec.domains if it.domain != name)
    operation = submit(storage, replace(known, spec=replace(known.spec, domains=kept)))
    finish(storage, begin(storage, operation).operation)


class QuarantineContract(StorageCase):
    """A released domain is in quarantine: only its former project can claim it."""

    @pytest.fixture
    def keeping(self, stocked: Storage) -> Storage:
        """The store with a quarantine of an hour."""
        stocked.conf.set_override("domain_quarantine", _QUARANTINE)
        return stocked

    def test_others_wait_for_the_domain_of_a_removed_service(self, keeping: Storage) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))
        with pytest.raises(errors.DomainReleased) as caught:
            claim(keeping, "another")
        assert caught.value.domain == _NAME
        assert caught.value.free_at == after(_QUARANTINE)
        assert PROJECT_ID not in str(caught.value)
        with pytest.raises(errors.DomainReleased):
            claim(keeping, "another", seconds=_QUARANTINE - 1)
        assert list(keeping.services.list("another", None, 10)) == []
        claim(keeping, "another", seconds=_QUARANTINE, limit=1)

    def test_others_wait_for_a_domain_that_an_update_dropped(self, keeping: Storage) -> None:
        service = add(keeping, domains=[_NAME, "b.example.com"])
        drop(keeping, service, _NAME)
        with pytest.raises(errors.DomainReleased):
            claim(keeping, "another")
        with pytest.raises(errors.DomainTaken, match="b.example.com has already been taken"):
            claim(keeping, "another", "b.example.com")
        claim(keeping, "another", seconds=_QUARANTINE)

    def test_an_update_can_not_add_a_domain_in_quarantine(self, keeping: Storage) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))
        mine = add(keeping, project_id="another", domains=["b.example.com"])
        spec = replace(mine.spec, domains=(*mine.spec.domains, Domain(_NAME)))
        with pytest.raises(errors.DomainReleased):
            submit(keeping, replace(mine, spec=spec))
        assert keeping.services.get("another", mine.service_id) == mine
        changed = replace(mine, spec=spec)
        later = replace(make_operation(mine, Kind.UPDATE), created_at=after(_QUARANTINE))
        keeping.services.submit(changed, later)

    def test_former_project_can_claim_a_domain_in_quarantine(self, keeping: Storage) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))
        again = claim(keeping, PROJECT_ID)
        assert keeping.queries.by_claim(_NAME) == again
        with pytest.raises(errors.DomainTaken, match="taken"):
            claim(keeping, "another", seconds=10 * _QUARANTINE)

    def test_refused_claim_of_the_former_project_keeps_the_quarantine(
        self, keeping: Storage
    ) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))
        add(keeping, project_id="third", domains=["taken.example.com"])
        service = make_service(domains=[_NAME, "taken.example.com"])
        with pytest.raises(errors.DomainTaken):
            keeping.services.create(service, make_operation(service), LIMIT)
        with pytest.raises(errors.DomainReleased):
            claim(keeping, "another")
        claim(keeping, PROJECT_ID)

    def test_each_release_begins_a_quarantine(self, keeping: Storage) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))
        later = claim(keeping, "another", seconds=_QUARANTINE)
        run = begin(keeping, submit(keeping, later, Kind.DELETE))
        gone = replace(
            run.operation,
            state=State.SUCCEEDED,
            next_attempt_at=None,
            updated_at=after(_QUARANTINE + 5),
        )
        keeping.operations.remove(gone)
        with pytest.raises(errors.DomainReleased):
            claim(keeping, PROJECT_ID, seconds=2 * _QUARANTINE)
        claim(keeping, PROJECT_ID, seconds=2 * _QUARANTINE + 5)

    def test_released_domain_is_free_at_once_without_quarantine(self, keeping: Storage) -> None:
        keeping.conf.set_override("domain_quarantine", 0)
        remove(keeping, add(keeping, domains=[_NAME]))
        claim(keeping, "another")

    def test_certificate_order_leaves_no_quarantine(self, keeping: Storage) -> None:
        spec = make_spec(domains=())
        spec = replace(spec, domains=(Domain(_NAME, "https", "san"),))
        for project in (PROJECT_ID, "another"):
            order = make_service(project_id=certificates.namespace(project), spec=spec)
            keeping.services.create(order, make_operation(order), LIMIT)
            remove(keeping, order)
        claim(keeping, "third")

    def test_only_one_of_several_concurrent_claims_of_a_free_domain_succeeds(
        self, keeping: Storage, connect_again: Connect
    ) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))

        def take(storage: Storage, project: str) -> Service:
            storage.conf.set_override("domain_quarantine", _QUARANTINE)
            return claim(storage, project, seconds=_QUARANTINE)

        outcomes = race(connect_again, each(take, [f"project-{n}" for n in range(6)]))
        assert [type(error) for error in failures(outcomes)] == [errors.DomainTaken] * 5
        (winner,) = [it for it in outcomes if isinstance(it, Service)]
        assert keeping.queries.by_claim(_NAME) == winner

    def test_domain_in_quarantine_has_no_holder(self, keeping: Storage) -> None:
        service = add(keeping, domains=[_NAME, "b.example.com"])
        drop(keeping, service, _NAME)
        with pytest.raises(errors.NotFound):
            keeping.queries.by_claim(_NAME)
        assert keeping.domains.get(_NAME) == Claim(_NAME, PROJECT_ID, None, False, NOW)

    def test_released_domains_are_listed_by_pages(self, keeping: Storage) -> None:
        names = [f"{letter}.example.com" for letter in "dbca"]
        remove(keeping, add(keeping, domains=names))
        add(keeping, domains=["held.example.com"])
        assert set(keeping.domains.released(None, 10)) == {
            Claim(name, PROJECT_ID, None, False, NOW) for name in names
        }
        first = list(keeping.domains.released(None, 3))
        rest = list(keeping.domains.released(first[-1].domain, 3))
        assert sorted(it.domain for it in first + rest) == sorted(names)

    def test_operator_can_end_a_quarantine_early(self, keeping: Storage) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))
        kept = keeping.domains.get(_NAME)
        keeping.domains.release(kept)
        with pytest.raises(errors.NotFound):
            keeping.domains.get(_NAME)
        with pytest.raises(errors.Changed):
            keeping.domains.release(kept)
        claim(keeping, "another")

    def test_reclaimed_domain_is_not_released(self, keeping: Storage) -> None:
        remove(keeping, add(keeping, domains=[_NAME]))
        kept = keeping.domains.get(_NAME)
        service = claim(keeping, PROJECT_ID)
        with pytest.raises(errors.Changed):
            keeping.domains.release(kept)
        with pytest.raises(errors.Changed):
            keeping.domains.release(keeping.domains.get(_NAME))
        assert keeping.queries.by_claim(_NAME) == service


class ProofContract(StorageCase):
    """If proof of ownership is required, a claim is pending until it is proven."""

    @pytest.fixture
    def proving(self, stocked: Storage) -> Storage:
        """The store of a Poppy that requires proof, with a quarantine of an hour."""
        stocked.conf.set_override("domain_quarantine", _QUARANTINE)
        stocked.conf.set_override("domain_ownership", "txt")
        return stocked

    def test_a_claim_is_pending_until_it_is_proven(self, proving: Storage) -> None:
        service = claim(proving, PROJECT_ID)
        held = Claim(_NAME, PROJECT_ID, service.service_id, pending=True)
        assert proving.domains.get(_NAME) == held
        for _ in range(2):
            assert proving.domains.prove(PROJECT_ID, service.service_id, _NAME) is True
            assert proving.domains.get(_NAME) == held._replace(pending=False)

    def test_only_its_holder_proves_a_domain(self, proving: Storage) -> None:
        service = claim(proving, PROJECT_ID)
        other = claim(proving, "another", "b.example.com")
        assert proving.domains.prove("another", other.service_id, _NAME) is False
        assert proving.domains.prove("another", service.service_id, _NAME) is False
        assert proving.domains.prove("another", other.service_id, "c.example.com") is False
        assert proving.domains.get(_NAME).pending is True

    def test_no_claim_is_pending_without_required_proof(self, stocked: Storage) -> None:
        claim(stocked, PROJECT_ID)
        assert stocked.domains.get(_NAME).pending is False

    def test_shared_domains_and_orders_need_no_proof(self, proving: Storage) -> None:
        spec = replace(make_spec(), domains=(Domain("shop.s0.example.net", "https", "shared"),))
        service = make_service(spec=spec)
        proving.services.create(service, make_operation(service), LIMIT)
        assert proving.domains.get("shop.s0.example.net").pending is False
        spec = replace(make_spec(), domains=(Domain(_NAME, "https", "san"),))
        order = make_service(project_id=certificates.namespace(PROJECT_ID), spec=spec)
        proving.services.create(order, make_operation(order), LIMIT)
        assert proving.domains.get(certificates.claim(_NAME, "san")).pending is False

    def test_a_pending_claim_leaves_no_quarantine(self, proving: Storage) -> None:
        remove(proving, claim(proving, PROJECT_ID))
        service = claim(proving, "another")
        proving.domains.prove("another", service.service_id, _NAME)
        remove(proving, service)
        with pytest.raises(errors.DomainReleased):
            claim(proving, PROJECT_ID)

    def test_a_proof_is_good_until_the_end_of_the_quarantine(self, proving: Storage) -> None:
        for seconds, pending in ((0, True), (1, False), (_QUARANTINE + 1, True)):
            service = claim(proving, PROJECT_ID, seconds=seconds)
            assert proving.domains.get(_NAME).pending is pending
            proving.domains.prove(PROJECT_ID, service.service_id, _NAME)
            remove(proving, service)

    def test_a_pending_claim_can_be_revoked(self, proving: Storage) -> None:
        service = add(proving, domains=[_NAME, "b.example.com"])
        proving.domains.release(proving.domains.get(_NAME))
        owner = claim(proving, "another")
        assert proving.queries.by_claim(_NAME) == owner
        assert proving.domains.prove(PROJECT_ID, service.service_id, _NAME) is False
        assert proving.domains.prove(PROJECT_ID, service.service_id, "b.example.com") is True
        # The service can't be changed with the lost domain. Its removal keeps the new claim.
        known = proving.services.get(PROJECT_ID, service.service_id)
        with pytest.raises(errors.DomainTaken):
            submit(proving, known)
        remove(proving, known)
        assert proving.queries.by_claim(_NAME) == owner

    def test_only_one_of_concurrent_proof_and_revocation_counts(
        self, proving: Storage, connect_again: Connect
    ) -> None:
        for number in range(5):
            name = f"{number}.example.com"
            service = claim(proving, PROJECT_ID, name)
            pending = proving.domains.get(name)
            actions = [*each(prove, [service]), *each(release, [pending])]
            proven, revoked = race(connect_again, actions)
            assert {proven, revoked} == {True, False}


def prove(storage: Storage, service: Service) -> bool:
    """Prove the only domain of a service; return whether the service holds it."""
    (name,) = service.spec.domain_names
    return storage.domains.prove(service.project_id, service.service_id, name)


def release(storage: Storage, it: Claim) -> bool:
    """Release a claim; return whether that succeeded."""
    try:
        storage.domains.release(it)
    except errors.Changed:
        return False
    return True
