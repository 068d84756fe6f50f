# SPDX-License-Identifier: Apache-2.0
"""Fixtures and helpers of the storage suite."""

import datetime
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from poppy.common import errors
from poppy.model.lifecycle import Run
from poppy.model.operations import Kind, Operation, State
from poppy.model.provider_details import ProviderDetails
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.testing.builders import NOW, after, make_flavor, make_operation, make_service

LIMIT = 100
"""The limit of services in tests of other things."""

Connect = Callable[[], Storage]
Action = Callable[[Storage], Any]
T = TypeVar("T")


class StorageCase:
    """Base of all storage tests: the fixtures that a driver's tests must provide, and one more."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        """A driver on an empty store with its schema; closed after the test."""
        raise NotImplementedError("a driver's tests must provide this fixture")

    @pytest.fixture
    def connect_again(self, storage: Storage) -> Connect:
        """A function that returns another driver on the same data, as in another process."""
        raise NotImplementedError("a driver's tests must provide this fixture")

    @pytest.fixture
    def stocked(self, storage: Storage) -> Storage:
        """The store with the flavor that the builders use.

        There is no quarantine, because tests reuse released domains in other projects.
        """
        storage.conf.set_override("domain_quarantine", 0)
        storage.flavors.create(make_flavor())
        return storage


def add(storage: Storage, limit: int = LIMIT, **overrides: Any) -> Service:
    """Create a service; see :func:`make_service` for the overrides."""
    service = make_service(**overrides)
    create(storage, service, limit)
    return service


def create(storage: Storage, service: Service, limit: int = LIMIT) -> None:
    """Create this service."""
    storage.services.create(service, make_operation(service), limit)


def first_operation(storage: Storage, service: Service) -> Operation:
    """Return the oldest operation of a service."""
    return storage.operations.list(service.project_id, service.service_id)[0]


def submit(
    storage: Storage, service: Service, kind: Kind = Kind.UPDATE, **overrides: Any
) -> Operation:
    """Submit this service with a new operation."""
    operation = make_operation(service, kind, **overrides)
    storage.services.submit(service, operation)
    return operation


def begin(
    storage: Storage,
    operation: Operation,
    runner: str = "job-1",
    now: datetime.datetime = NOW,
    until: datetime.datetime | None = None,
) -> Run:
    """Begin a run with a lease of half a minute."""
    return storage.operations.begin(operation.key, runner, now, until or after(30))


def finish(
    storage: Storage,
    operation: Operation,
    state: State = State.SUCCEEDED,
    details: ProviderDetails | None = None,
) -> Operation | None:
    """Save the end of a run."""
    return storage.operations.save(replace(operation, state=state), details)


def settle(storage: Storage, service: Service) -> Service:
    """Finish the first operation of a new service; return the stored service."""
    finish(storage, begin(storage, first_operation(storage, service)).operation)
    return storage.services.get(service.project_id, service.service_id)


def remove(storage: Storage, service: Service) -> Operation:
    """Delete a service, from the request to the end; return the finished operation."""
    run = begin(storage, submit(storage, service, Kind.DELETE))
    done = replace(run.operation, state=State.SUCCEEDED, next_attempt_at=None)
    storage.operations.remove(done)
    return done


def is_free(storage: Storage, domain: str) -> bool:
    """Whether a new service could claim a domain; the service is removed again."""
    try:
        service = add(storage, domains=[domain], project_id="whoever-asks")
    except errors.DomainTaken:
        return False
    remove(storage, service)
    return True


def each(action: Callable[[Storage, T], Any], arguments: Iterable[T]) -> list[Action]:
    """Bind the action to each argument, for :func:`race`."""

    def bind(argument: T) -> Action:
        return lambda storage: action(storage, argument)

    return [bind(argument) for argument in arguments]


def race(connect: Connect, actions: Sequence[Action]) -> list[Any]:
    """Run all actions at once, each with its own driver.

    Returns:
        For each action its result, or the Poppy error that it raised.
    """
    start = threading.Barrier(len(actions), timeout=30)

    def run(storage: Storage, action: Action) -> Any:
        storage.is_alive()  # connect before the race
        start.wait()
        try:
            return action(storage)
        except errors.PoppyError as exc:
            return exc

    with ExitStack() as stack:
        stores = [stack.enter_context(closing(connect())) for _ in actions]
        pool = stack.enter_context(ThreadPoolExecutor(len(actions)))
        return list(pool.map(run, stores, actions))


def failures(outcomes: Sequence[Any]) -> list[errors.PoppyError]:
    """Return the errors among the outcomes of a race."""
    return [outcome for outcome in outcomes if isinstance(outcome, errors.PoppyError)]
