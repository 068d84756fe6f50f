# SPDX-License-Identifier: Apache-2.0
"""Contract: changing a stored service and queueing an operation for it."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.operations import Kind, Operation, State
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.testing.builders import after, make_flavor, make_service, make_spec
from poppy.testing.storage.case import (
    Connect,
    StorageCase,
    add,
    begin,
    each,
    failures,
    finish,
    first_operation,
    is_free,
    race,
    remove,
    settle,
    submit,
)


class SubmissionContract(StorageCase):
    """A submit atomically replaces the service and queues its operation."""

    def test_service_is_replaced_and_its_revision_grows(self, stocked: Storage) -> None:
        stocked.flavors.create(make_flavor("fast"))
        service = add(stocked, domains=["a.example.com"])
        changed = replace(
            service,
            spec=make_spec(["a.example.com"], name="new", flavor_id="fast"),
            provider_details={"mock": ProviderDetail(ProviderStatus.UPDATE_IN_PROGRESS)},
            disabled=True,
            updated_at=after(1),
        )
        operation = submit(stocked, changed)
        assert stored(stocked, service) == replace(changed, revision=service.revision + 1)
        assert stocked.operations.get(operation.key) == operation
        stocked.flavors.delete(make_flavor().flavor_id)
        with pytest.raises(errors.InUse):
            stocked.flavors.delete("fast")

    def test_outdated_submission_is_refused(self, stocked: Storage) -> None:
        service = add(stocked)
        submit(stocked, renamed(service, "first"))
        late = replace(service, spec=make_spec(name="second", domains=["late.example.com"]))
        with pytest.raises(errors.Changed):
            submit(stocked, late)
        assert stored(stocked, service).spec.name == "first"
        assert stored(stocked, service).revision == service.revision + 1
        assert len(operations(stocked, service)) == 2
        assert is_free(stocked, "late.example.com")

    def test_submission_outdated_by_a_run_is_refused(self, stocked: Storage) -> None:
        service = add(stocked)
        details = {"mock": ProviderDetail(ProviderStatus.DEPLOYED)}
        run = begin(stocked, first_operation(stocked, service))
        stocked.operations.save(run.operation, details)
        with pytest.raises(errors.Changed):
            submit(stocked, renamed(service, "late"))
        assert stored(stocked, service).provider_details == details

    def test_unknown_service_is_not_found(self, stocked: Storage) -> None:
        service = make_service(domains=["a.example.com"])
        with pytest.raises(errors.NotFound):
            submit(stocked, service)
        assert operations(stocked, service) == []
        assert is_free(stocked, "a.example.com")

    def test_removed_service_is_not_found(self, stocked: Storage) -> None:
        service = add(stocked)
        remove(stocked, service)
        with pytest.raises(errors.NotFound):
            submit(stocked, service)

    def test_service_of_another_project_is_not_found(self, stocked: Storage) -> None:
        service = add(stocked)
        with pytest.raises(errors.NotFound):
            submit(stocked, replace(service, project_id="another"))
        assert stored(stocked, service) == service

    def test_only_one_of_several_concurrent_submissions_succeeds(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        service = add(stocked)
        names = [f"name {n}" for n in range(6)]
        outcomes = race(
            connect_again, each(lambda s, name: submit(s, renamed(service, name)), names)
        )
        assert [type(error) for error in failures(outcomes)] == [errors.Changed] * 5
        winner = next(n for n, outcome in enumerate(outcomes) if isinstance(outcome, Operation))
        assert stored(stocked, service).spec.name == names[winner]
        assert operations(stocked, service)[1:] == [outcomes[winner]]

    def test_flavor_that_does_not_exist_is_refused(self, stocked: Storage) -> None:
        service = add(stocked)
        changed = replace(service, spec=replace(service.spec, flavor_id="no-such"))
        with pytest.raises(errors.InvalidRequest):
            submit(stocked, changed)
        assert stored(stocked, service) == service
        assert len(operations(stocked, service)) == 1

    def test_added_domain_is_claimed_at_once(self, stocked: Storage) -> None:
        service = add(stocked, domains=["a.example.com"])
        submit(stocked, with_domains(service, "a.example.com", "b.example.com"))
        assert not is_free(stocked, "a.example.com")
        assert not is_free(stocked, "b.example.com")

    def test_added_domain_of_another_service_is_refused(self, stocked: Storage) -> None:
        service = add(stocked, domains=["m.example.com"])
        add(stocked, domains=["n.example.com"])
        names = ("a.example.com", "m.example.com", "n.example.com", "z.example.com")
        with pytest.raises(errors.DomainTaken) as caught:
            submit(stocked, with_domains(service, *names))
        assert caught.value.domain == "n.example.com"
        assert stored(stocked, service) == service
        assert len(operations(stocked, service)) == 1
        assert is_free(stocked, "a.example.com")
        assert is_free(stocked, "z.example.com")

    def test_only_one_of_several_services_adds_the_same_domain(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        services = [add(stocked) for _ in range(4)]
        domain = "contended.example.com"
        outcomes = race(
            connect_again,
            each(lambda s, service: submit(s, with_domains(service, domain)), services),
        )
        assert [type(error) for error in failures(outcomes)] == [errors.DomainTaken] * 3
        revisions = sorted(stored(stocked, service).revision for service in services)
        assert revisions == [1, 1, 1, 2]

    def test_dropped_domain_stays_claimed_until_an_operation_succeeds(
        self, stocked: Storage
    ) -> None:
        service = settle(stocked, add(stocked, domains=["a.example.com", "b.example.com"]))
        operation = submit(stocked, with_domains(service, "b.example.com"))
        assert not is_free(stocked, "a.example.com")
        run = begin(stocked, operation)
        stocked.operations.save(run.operation, None)
        assert not is_free(stocked, "a.example.com")
        finish(stocked, run.operation)
        assert is_free(stocked, "a.example.com")
        assert not is_free(stocked, "b.example.com")

    def test_dropped_domain_stays_claimed_when_the_update_fails(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked, domains=["a.example.com", "b.example.com"]))
        operation = submit(stocked, with_domains(service, "b.example.com"))
        finish(stocked, begin(stocked, operation).operation, State.FAILED)
        assert not is_free(stocked, "a.example.com")
        retry = submit(stocked, stored(stocked, service))
        finish(stocked, begin(stocked, retry).operation)
        assert is_free(stocked, "a.example.com")

    def test_dropped_domain_can_be_added_again_while_it_is_claimed(self, stocked: Storage) -> None:
        service = add(stocked, domains=["a.example.com", "b.example.com"])
        submit(stocked, with_domains(service, "b.example.com"))
        submit(stocked, with_domains(stored(stocked, service), "a.example.com", "b.example.com"))
        finish(stocked, begin(stocked, first_operation(stocked, service)).operation)
        assert not is_free(stocked, "a.example.com")

    def test_success_of_an_older_operation_keeps_what_the_newest_document_names(
        self, stocked: Storage
    ) -> None:
        service = add(stocked, domains=["a.example.com"])
        run = begin(stocked, first_operation(stocked, service))
        submit(stocked, with_domains(service, "a.example.com", "b.example.com"))
        finish(stocked, run.operation)
        assert not is_free(stocked, "b.example.com")

    def test_dropped_domain_stays_claimed_until_its_own_update_succeeds(
        self, stocked: Storage
    ) -> None:
        service = add(stocked, domains=["a.example.com", "b.example.com"])
        run = begin(stocked, first_operation(stocked, service))
        dropped = replace(service, spec=replace(service.spec, domains=service.spec.domains[:1]))
        update = submit(stocked, dropped)
        finish(stocked, run.operation)
        assert not is_free(stocked, "b.example.com")
        finish(stocked, begin(stocked, update).operation)
        assert is_free(stocked, "b.example.com")

    def test_concurrent_success_and_added_domain_leave_it_claimed(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        for turn in range(4):
            check_success_against_addition(stocked, connect_again, f"added{turn}.example.com")

    def test_success_releases_nothing_of_other_services(self, stocked: Storage) -> None:
        add(stocked, domains=["other.example.com"])
        settle(stocked, add(stocked))
        assert not is_free(stocked, "other.example.com")

    @pytest.mark.parametrize("kind", [Kind.PURGE, Kind.DISABLE])
    def test_success_of_an_operation_that_deploys_nothing_releases_no_domain(
        self, stocked: Storage, kind: Kind
    ) -> None:
        service = settle(stocked, add(stocked, domains=["a.example.com", "b.example.com"]))
        dropped = replace(service, spec=replace(service.spec, domains=service.spec.domains[:1]))
        update = submit(stocked, dropped)
        finish(stocked, begin(stocked, update).operation, State.FAILED)
        other = submit(stocked, stored(stocked, service), kind)
        finish(stocked, begin(stocked, other).operation)
        assert not is_free(stocked, "b.example.com")

    def test_delete_supersedes_every_unfinished_operation(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        for kind in (Kind.UPDATE, Kind.PURGE):
            submit(stocked, service, kind)
            service = stored(stocked, service)
        finished, update, purge = operations(stocked, service)
        begin(stocked, update)
        other = first_operation(stocked, add(stocked))
        delete = submit(stocked, service, Kind.DELETE)
        after_delete = operations(stocked, service)
        assert after_delete[0] == finished
        assert [operation.state for operation in after_delete] == [
            State.SUCCEEDED,
            State.SUPERSEDED,
            State.SUPERSEDED,
            State.QUEUED,
        ]
        # The superseded update blocks the service until its worker ends or is lost.
        assert [it.next_attempt_at for it in after_delete[1:3]] == [after(30), None]
        assert after_delete[3] == delete
        assert stocked.operations.get(other.key) == other
        assert {due.key for due in stocked.operations.due(after(3600), 10)} == {
            delete.key,
            other.key,
        }
        with pytest.raises(errors.NotRunnable):
            begin(stocked, purge)

    def test_update_leaves_the_operations_before_it_queued(self, stocked: Storage) -> None:
        service = add(stocked)
        submit(stocked, service)
        assert [it.state for it in operations(stocked, service)] == [State.QUEUED] * 2


def check_success_against_addition(storage: Storage, connect: Connect, domain: str) -> None:
    """Race the end of a successful run with a submit that adds a domain."""
    service = add(storage)
    run = begin(storage, first_operation(storage, service))
    outcomes = race(
        connect,
        [
            lambda s: finish(s, run.operation),
            lambda s: submit(s, with_domains(service, domain)),
        ],
    )
    assert failures(outcomes) == []
    assert stored(storage, service).spec.domain_names == {domain}
    assert not is_free(storage, domain)


def stored(storage: Storage, service: Service) -> Service:
    """Return the stored service."""
    return storage.services.get(service.project_id, service.service_id)


def operations(storage: Storage, service: Service) -> list[Operation]:
    """Return the stored operations of the service."""
    return list(storage.operations.list(service.project_id, service.service_id))


def renamed(service: Service, name: str) -> Service:
    """Return the same service with another name."""
    return replace(service, spec=replace(service.spec, name=name))


def with_domains(service: Service, *names: str) -> Service:
    """Return the same service with other domains."""
    return replace(service, spec=replace(service.spec, domains=make_spec(names).domains))
