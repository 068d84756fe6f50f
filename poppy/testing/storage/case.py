# SPDX-License-Identifier: Apache-2.0
"""What the parts of the storage suite share: fixtures, and verbs that keep the tests short."""

import datetime
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from poppy.common import errors
from poppy.model.operations import Kind, Operation, State
from poppy.model.services import ProviderDetails, Service
from poppy.storage.base import Run, Storage
from poppy.testing.builders import NOW, after, make_flavor, make_operation, make_service

LIMIT = 100
"""Of services, in tests that are not about it."""

Connect = Callable[[], Storage]
Action = Callable[[Storage], Any]
T = TypeVar("T")


class StorageCase:
    """Fixtures that a driver's tests provide, and one that builds on them."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        """A driver on an empty store with its schema; closed afterwards."""
        raise NotImplementedError("the tests of a driver provide this fixture")

    @pytest.fixture
    def connect_again(self, storage: Storage) -> Connect:
        """A function that gives another driver on the same data, as another process has it."""
        raise NotImplementedError("the tests of a driver provide this fixture")

    @pytest.fixture
    def stocked(self, storage: Storage) -> Storage:
        """The store with the flavor that services made by the builders name.

        Released domains are free at once: tests use them again, in other projects.
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
    """Create a service as given."""
    storage.services.create(service, make_operation(service), limit)


def first_operation(storage: Storage, service: Service) -> Operation:
    """The oldest operation of a service."""
    return storage.operations.list(service.project_id, service.service_id)[0]


def submit(
    storage: Storage, service: Service, kind: Kind = Kind.UPDATE, **overrides: Any
) -> Operation:
    """Queue an operation for a service as given."""
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
    """Begin a run that counts as lost after half a minute."""
    return storage.operations.begin(operation.key, runner, now, until or after(30))


def finish(
    storage: Storage,
    operation: Operation,
    state: State = State.SUCCEEDED,
    details: ProviderDetails | None = None,
) -> Operation | None:
    """End a run."""
    return storage.operations.save(replace(operation, state=state), details)


def settle(storage: Storage, service: Service) -> Service:
    """Run the first operation of a new service to its end; gives the service as stored."""
    finish(storage, begin(storage, first_operation(storage, service)).operation)
    return storage.services.get(service.project_id, service.service_id)


def remove(storage: Storage, service: Service) -> Operation:
    """Delete a service, from the request to the end; gives the finished operation."""
    run = begin(storage, submit(storage, service, Kind.DELETE))
    done = replace(run.operation, state=State.SUCCEEDED, next_attempt_at=None)
    storage.operations.remove(done)
    return done


def is_free(storage: Storage, domain: str) -> bool:
    """Whether a new service could claim a domain; leaves nothing behind."""
    try:
        service = add(storage, domains=[domain], project_id="whoever-asks")
    except errors.DomainTaken:
        return False
    remove(storage, service)
    return True


def each(action: Callable[[Storage, T], Any], arguments: Iterable[T]) -> list[Action]:
    """The action with one argument each, for :func:`race`."""

    def bind(argument: T) -> Action:
        return lambda storage: action(storage, argument)

    return [bind(argument) for argument in arguments]


def race(connect: Connect, actions: Sequence[Action]) -> list[Any]:
    """Do all actions at once, each with a driver of its own.

    Returns:
        For each action what it returned, or the error of Poppy that it raised.
    """
    start = threading.Barrier(len(actions), timeout=30)

    def run(storage: Storage, action: Action) -> Any:
        storage.is_alive()  # connects, so that the race is not won by who connects first
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
    """The errors among the outcomes of a race."""
    return [outcome for outcome in outcomes if isinstance(outcome, errors.PoppyError)]
