# SPDX-License-Identifier: Apache-2.0
"""Fairness between projects: turns, joined purges and limits."""

import pytest

from poppy.common import errors
from poppy.manager.change_pipeline import RETRY_AFTER
from poppy.model.operations import Kind, Priority, Purge, State
from poppy.model.purges import MAX_PATHS
from poppy.model.services import Status
from tests.functional.harness import PROJECT, Harness, Hold


@pytest.fixture
def poppy(tmp_path):
    made = Harness(tmp_path)
    made.boot.manager.services._default_limit = 1000
    yield made
    made.close()


@pytest.fixture
def capped(tmp_path):
    groups = {"drivers:storage": {"max_open_operations_per_project": 3}}
    made = Harness(tmp_path, groups)
    yield made
    made.close()


def deployed(poppy, **changes):
    service_id = poppy.create(**changes)
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    return service_id


def purges(poppy, service_id):
    return [it for it in poppy.operations(service_id) if it.kind is Kind.PURGE]


def priorities(poppy, service_id):
    return [(it.kind, it.priority) for it in poppy.operations(service_id)]


def test_queued_purges_join_into_one_operation(poppy):
    service_id = deployed(poppy)
    for number in range(5):
        poppy.services.purge(PROJECT, service_id, Purge(f"/{number % 3}", True), None)
    (operation,) = purges(poppy, service_id)
    assert operation.purge == Purge("/0", True, ("/1", "/2"))
    with poppy.working():
        poppy.settle(service_id)
    assert poppy.cdn_a.purges == [Purge(f"/{number}", True) for number in range(3)]


@pytest.mark.parametrize(
    ("store", "method"), [("services", "get"), ("operations", "join")], ids=["read", "join"]
)
def test_purges_join_if_one_is_stored_during_the_decision_on_another(
    poppy, monkeypatch, store, method
):
    service_id = deployed(poppy)
    target = getattr(poppy.boot.storage, store)
    original = getattr(target, method)

    def then_purge(*arguments):
        found = original(*arguments)
        monkeypatch.undo()
        poppy.services.purge(PROJECT, service_id, Purge("/b", True), None)
        return found

    monkeypatch.setattr(target, method, then_purge)
    poppy.services.purge(PROJECT, service_id, Purge("/a", True), None)
    (operation,) = purges(poppy, service_id)
    assert operation.purge == Purge("/b", True, ("/a",))


def test_many_purges_are_few_operations(poppy):
    service_id = deployed(poppy)
    for number in range(4 * MAX_PATHS):
        poppy.services.purge(PROJECT, service_id, Purge(f"/{number}", True), None)
    assert len(purges(poppy, service_id)) == 4
    for _ in range(50):
        poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
    assert len(purges(poppy, service_id)) == 4
    with poppy.working():
        poppy.settle(service_id)
    expected = [Purge(f"/{number}", True) for number in range(3 * MAX_PATHS)]
    assert poppy.cdn_a.purges == [*expected, Purge(None, True)]


def test_purge_does_not_join_a_running_purge(poppy):
    service_id = deployed(poppy)
    hold = Hold()
    poppy.cdn_a.script = [hold]
    with poppy.working():
        poppy.services.purge(PROJECT, service_id, Purge("/a", True), None)
        assert hold.begun.wait(20)
        poppy.services.purge(PROJECT, service_id, Purge("/b", True), None)
        poppy.services.purge(PROJECT, service_id, Purge("/c", True), None)
        assert len(purges(poppy, service_id)) == 2
        hold.go.set()
        poppy.settle(service_id)
    assert [it.url for it in poppy.cdn_a.purges] == ["/a", "/b", "/c"]


def test_soft_purge_joins_a_queued_soft_purge(poppy):
    service_id = deployed(poppy)
    poppy.services.purge(PROJECT, service_id, Purge("/a", False), None)
    poppy.services.purge(PROJECT, service_id, Purge("/b", False), None)
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.purges == [Purge("/a", False), Purge("/b", False)]


def test_joined_purge_continues_after_a_failure(poppy):
    service_id = deployed(poppy)
    for name in "abc":
        poppy.services.purge(PROJECT, service_id, Purge(f"/{name}", True), None)
    poppy.cdn_a.script = [None, errors.RetryableError("busy")]
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert {it.url for it in poppy.cdn_a.purges} == {"/a", "/b", "/c"}
    assert purges(poppy, service_id)[0].state is State.SUCCEEDED


def test_purge_is_refused_unless_the_service_can_be_purged(poppy):
    with pytest.raises(errors.NotFound):
        poppy.services.purge(PROJECT, "0" * 36, Purge(None, True), None)
    service_id = poppy.create()
    with pytest.raises(errors.ServiceBusy):
        poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
    poppy.services.delete(PROJECT, service_id, None)
    with pytest.raises(errors.ServiceBusy):
        poppy.services.purge(PROJECT, service_id, Purge(None, True), None)


def test_project_with_too_many_open_operations_is_throttled(capped):
    service_id = deployed(capped)
    for number in range(3):
        capped.create(domain=f"n{number}.example.com")
    patch = [{"op": "replace", "path": "/name", "value": "another"}]
    attempts = [
        lambda: capped.create(domain="n3.example.com"),
        lambda: capped.services.update(PROJECT, service_id, patch, None),
        lambda: capped.services.purge(PROJECT, service_id, Purge(None, True), None),
    ]
    for attempt in attempts:
        with pytest.raises(errors.TooManyRequests, match="3 unfinished operations") as caught:
            attempt()
        assert caught.value.retry_after == RETRY_AFTER
    assert capped.get(service_id).spec.name == "site"
    capped.services.create("other", capped.document("other.example.com"), None)
    capped.services.delete(PROJECT, service_id, None)
    with capped.working():
        assert capped.settle(service_id) is None
        listed = capped.services.list(PROJECT, None, 10)
        capped.wait(
            lambda: all(
                it.state.finished
                for service in listed.services
                for it in capped.operations(service.service_id)
            )
        )
        capped.create(domain="n3.example.com")


def test_purge_that_joins_another_is_not_throttled(capped):
    service_id = deployed(capped)
    capped.services.purge(PROJECT, service_id, Purge("/a", True), None)
    for number in range(2):
        capped.create(domain=f"n{number}.example.com")
    capped.services.purge(PROJECT, service_id, Purge("/b", True), None)
    (operation,) = purges(capped, service_id)
    assert operation.purge == Purge("/a", True, ("/b",))


def test_operations_of_operators_do_not_count_toward_the_limit(capped):
    ids = [deployed(capped, domain=f"n{number}.example.com") for number in range(4)]
    for service_id in ids:
        capped.services.redeploy(PROJECT, service_id, None)
    capped.create(domain="new.example.com")


def test_operations_have_priorities(poppy):
    service_id = deployed(poppy)
    poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
    poppy.services.redeploy(PROJECT, service_id, None)
    poppy.services.delete(PROJECT, service_id, None)
    assert priorities(poppy, service_id) == [
        (Kind.CREATE, Priority.TENANT),
        (Kind.PURGE, Priority.PURGE),
        (Kind.UPDATE, Priority.BULK),
        (Kind.DELETE, Priority.TENANT),
    ]


def test_imported_services_have_bulk_priority(poppy):
    service_id = deployed(poppy)
    (document,) = poppy.boot.manager.transfers.give(PROJECT)
    poppy.services.delete(PROJECT, service_id, None)
    with poppy.working():
        assert poppy.settle(service_id) is None
    copied = {**document, "service_id": "0198f1a0-0000-7000-8000-000000000001"}
    assert poppy.boot.manager.transfers.take(copied).outcome == "created"
    assert priorities(poppy, copied["service_id"]) == [(Kind.CREATE, Priority.BULK)]


def test_bulk_operations_run_after_those_of_tenants(tmp_path):
    poppy = Harness(tmp_path, concurrency=1)
    redone = [deployed(poppy, domain=f"n{number}.example.com") for number in range(4)]
    for service_id in redone:
        poppy.services.redeploy(PROJECT, service_id, None)
    document = poppy.document("other.example.com")
    poppy.services.create("other", document, None)
    order = []
    poppy.cdn_a.ensure = _noting(poppy.cdn_a.ensure, order)
    with poppy.working():
        for service_id in redone:
            poppy.settle(service_id)
    assert order[0] == "other"
    poppy.close()


def test_create_does_not_wait_for_a_flood_of_another_project(tmp_path):
    poppy = Harness(tmp_path, concurrency=1, board_depth=8)
    poppy.boot.manager.services._default_limit = 1000
    for number in range(40):
        poppy.create(domain=f"n{number}.example.com")
    order = []
    poppy.cdn_a.ensure = _noting(poppy.cdn_a.ensure, order)
    poppy.services.create("other", poppy.document("other.example.com"), None)
    with poppy.working():
        poppy.wait(lambda: len(order) >= 10)
    assert "other" in order[:3]
    poppy.close()


def _noting(ensure, order):
    def noted(service, known):
        order.append(service.project_id)
        return ensure(service, known)

    return noted


def test_parked_operations_do_not_keep_new_ones_off_the_board(tmp_path):
    poppy = Harness(tmp_path, board_depth=4, dispatch_interval=3600)
    service_id = deployed(poppy)
    poppy.cdn_a.script = [errors.RetryableError("down", retry_after=3600)] * 2
    parked = [poppy.create(domain=f"n{number}.example.com") for number in range(2)]
    with poppy.working():
        for it in parked:
            poppy.wait(lambda it=it: poppy.operations(it)[0].state is State.WAITING)
        poppy.boot.distributed_task._room = (0.0, 0)
        poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
        assert poppy.settle(service_id).status is Status.DEPLOYED
    poppy.close()
