# SPDX-License-Identifier: Apache-2.0
"""Check accepted requests against the actual state.

The rules for each service in the journal:

* accepted and not deleted: it is stored with the last accepted document or that of a later
  unanswered request; the provider has exactly one object for it, with that document; each of its
  domains' names is in the zone and points at that object; each accepted purge has reached
  the object; its operations are finished and its status is ``deployed``;
* deleted: it is not in the store, at the provider or in the zone;
* refused by the provider (by order): it is ``failed`` with a reason; the provider may have the
  earlier object;

and there is nothing else at the provider, in the zone or in the store.
"""

import enum
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from poppy.model import validation
from poppy.model.operations import Kind, Operation, State
from poppy.model.services import Service, Status
from poppy.storage.base import Storage
from tests.chaos.driver import access_url
from tests.chaos.tenant import Answer, Journal, Request

#: The only provider of the flavor.
PROVIDER = "chaos"
_TTL = 86400
#: The suffix of operator names.
SUFFIX = "cdn.example.net"


class Wrong(enum.StrEnum):
    """Kinds of violations."""

    LOST = "lost"
    DOUBLED = "doubled"
    STUCK = "stuck"
    STALE = "stale"
    ORPHAN = "orphan"
    FAILED = "failed"


class Violation(NamedTuple):
    """A violation and its subject."""

    wrong: Wrong
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.wrong}: {self.subject}: {self.message}"


@dataclass(frozen=True)
class World:
    """The actual state.

    Attributes:
        services: the stored services.
        operations: the stored operations by service id, including those of deleted services.
        objects: the provider's objects.
        zone: the CNAMEs: target by name.
        refused: ids of services with a refused call, by order.
        tampered: ids of services with an object that was changed or deleted by hand.
    """

    services: Sequence[Service]
    operations: Mapping[str, Sequence[Operation]]
    objects: Sequence[Mapping[str, Any]]
    zone: Mapping[str, str]
    refused: Collection[str] = ()
    tampered: Collection[str] = ()


def look(storage: Storage, journal: Journal, double: Any) -> World:
    """Read the state.

    Args:
        storage: any storage driver.
        double: a :class:`tests.chaos.control.Double`.
    """
    services = list(storage.services.scan())
    known = {(r.project_id, r.service_id) for r in journal.requests if r.service_id}
    known |= {(service.project_id, service.service_id) for service in services}
    operations = {
        service_id: storage.operations.list(project, service_id) for project, service_id in known
    }
    refusals = {
        subject
        for call in double.journal()
        if call.get("refusal") == 400
        for subject in call["subjects"]
    }
    refused = {
        str(request.service_id)
        for request in journal.requests
        if refusals & {request.service_id, *_asked_names(request)}
    }
    return World(services, operations, double.objects(), double.zone(), refused, double.tampered())


def _asked_names(request: Request) -> set[str]:
    domains = (request.document or {}).get("domains", ())
    return {f"{entry['domain']}.{SUFFIX}" for entry in domains}


def unfinished(world: World) -> list[Operation]:
    """Return the unfinished operations."""
    return [o for listed in world.operations.values() for o in listed if not o.state.finished]


class _Expected:
    """The expected state of one service by its requests."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.documents: list[Any] = []
        self.purges: list[str] = []
        self.created = False
        self.deleted = False
        self.may_be_deleted = False
        for request in requests:
            self._take(request)

    def _take(self, request: Request) -> None:
        if request.answer is Answer.REFUSED:
            return
        accepted = request.answer is Answer.ACCEPTED
        if request.kind in (Kind.CREATE, Kind.UPDATE):
            if accepted:
                self.documents.clear()
                self.created = True
            self.documents.append(validation.service(request.document, _TTL).to_dict())
        elif request.kind is Kind.PURGE and accepted and request.url:
            self.purges.append(request.url)
        elif request.kind is Kind.DELETE:
            self.deleted = self.deleted or accepted
            self.may_be_deleted = True


def check(journal: Journal, world: World) -> list[Violation]:
    """Return all violations."""
    by_name: dict[str, list[Request]] = {}
    for request in journal.requests:
        by_name.setdefault(request.name, []).append(request)
    stored = {service.service_id: service for service in world.services}
    names = {service.spec.name: service.service_id for service in world.services}
    found: list[Violation] = []
    for name, requests in by_name.items():
        expected = _Expected(requests)
        ids = [request.service_id for request in requests if request.service_id]
        service_id = ids[0] if ids else names.get(name)
        if service_id is not None and expected.documents:
            found += _check_service(service_id, expected, stored.get(service_id), world)
    asked = {name for name, requests in by_name.items() if _Expected(requests).documents}
    for service in world.services:
        if service.spec.name not in asked:
            found.append(_orphan(service.service_id, "is stored, and nobody asked for it"))
    found += _orphans(stored, world)
    return found


def _check_service(
    service_id: str, expected: _Expected, service: Service | None, world: World
) -> Iterator[Violation]:
    for operation in world.operations.get(service_id, ()):
        if not operation.state.finished:
            yield Violation(
                Wrong.STUCK,
                service_id,
                f"{operation.kind} is {operation.state} after {operation.attempt} attempts: "
                f"{operation.error}",
            )
        elif operation.kind is Kind.PURGE and service_id in world.tampered:
            continue  # The object may have been missing. A new one has no outdated content.
        elif operation.state is State.FAILED and service_id not in world.refused:
            yield Violation(Wrong.FAILED, service_id, f"{operation.kind}: {operation.error}")
    if service is None:
        if expected.created and not expected.may_be_deleted:
            yield Violation(Wrong.LOST, service_id, "was accepted and is not stored")
    elif expected.deleted:
        yield from _check_undeleted(service, world)
    else:
        yield from _check_stored(service, expected, world)


def _check_undeleted(service: Service, world: World) -> Iterator[Violation]:
    if service.status is not Status.FAILED or service.service_id not in world.refused:
        yield Violation(
            Wrong.LOST, service.service_id, f"was to be deleted and is {service.status}"
        )


def _check_stored(service: Service, expected: _Expected, world: World) -> Iterator[Violation]:
    service_id = service.service_id
    document = service.spec.to_dict()
    if document not in expected.documents:
        yield Violation(Wrong.LOST, service_id, f"the store has another document: {document}")
    objects = [thing for thing in world.objects if thing["reference"] == service_id]
    if len(objects) > 1:
        names = [thing["id"] for thing in objects]
        yield Violation(Wrong.DOUBLED, service_id, f"has {len(objects)} objects: {names}")
    if service_id in world.refused:
        if service.status is Status.FAILED and not service.errors:
            yield Violation(Wrong.FAILED, service_id, "does not say why")
        return
    if service.status is not Status.DEPLOYED:
        yield Violation(Wrong.STUCK, service_id, f"is {service.status}")
    if not objects:
        yield Violation(Wrong.LOST, service_id, "has no object at the provider")
    for thing in objects:
        yield from _check_object(service, thing, expected, world)


def _check_object(
    service: Service, thing: Mapping[str, Any], expected: _Expected, world: World
) -> Iterator[Violation]:
    service_id, name = service.service_id, thing["id"]
    if thing["document"]["spec"] != service.spec.to_dict():
        yield Violation(Wrong.STALE, service_id, f"{name} serves {thing['document']['spec']}")
    if thing["deleting"] or thing["pending"]:
        yield Violation(Wrong.STUCK, service_id, f"the provider is not done with {name}")
    known = service.provider_details[PROVIDER].provider_service_id
    if known != name:
        yield Violation(Wrong.STALE, service_id, f"its object is {name}, the store has {known}")
    purged = [purge["url"] for purge in thing["purges"]]
    for url in expected.purges:
        if url not in purged and service_id not in world.tampered:
            yield Violation(Wrong.LOST, service_id, f"{url} was not purged")
    for operator_name, target in _names(service, name, SUFFIX).items():
        there = world.zone.get(operator_name)
        if there is None:
            yield Violation(Wrong.LOST, service_id, f"{operator_name} is not in the zone")
        elif there != target:
            yield Violation(Wrong.STALE, service_id, f"{operator_name} points at {there}")


def _names(service: Service, name: str, suffix: str) -> dict[str, str]:
    return {f"{domain}.{suffix}": access_url(domain, name) for domain in service.spec.domain_names}


def _orphans(stored: Mapping[str, Service], world: World) -> Iterator[Violation]:
    for thing in world.objects:
        if thing["reference"] not in stored:
            yield _orphan(thing["id"], f"is an object of {thing['reference']}, which is gone")
    owned = {name for service in stored.values() for name in _names(service, "", SUFFIX)}
    # A partly refused change may leave the earlier names.
    refused = {
        entry.operator_url
        for service in stored.values()
        if service.service_id in world.refused
        for detail in service.provider_details.values()
        for entry in detail.access_urls
    }
    for name in world.zone:
        if name not in owned and name not in refused:
            yield _orphan(name, f"is in the zone, for nobody, and points at {world.zone[name]}")


def _orphan(subject: str, message: str) -> Violation:
    return Violation(Wrong.ORPHAN, subject, message)
