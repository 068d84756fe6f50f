# SPDX-License-Identifier: Apache-2.0
"""A customer's account at Fastly and its rules, for :mod:`tests.real.fastly`.

Fields and values are from the API reference (https://www.fastly.com/documentation/reference/api/),
and the form of the answers from the recordings in https://github.com/fastly/go-fastly. Where the
reference does not describe a behavior, the double does what is harder for a client, or has an
option.
"""

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.real import fastly_vcl
from tests.real.fastly_dictionaries import Dictionaries
from tests.real.fastly_objects import (
    KINDS,
    LISTED,
    OTHER,
    REFERENCES,
    REQUIRED,
    Fields,
    Refused,
    check,
    check_change,
    object_document,
    only,
)

_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,}")


@dataclass
class Version:
    """A version of a service; changes affect its objects only."""

    number: int
    comment: str = ""
    active: bool = False
    locked: bool = False
    objects: dict[str, dict[str, Fields]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    other: dict[str, list[Any]] = field(default_factory=dict)

    def summary(self, service: str) -> dict[str, Any]:
        """Return the version as in a list of versions."""
        return {
            "number": self.number,
            "comment": self.comment,
            "active": self.active,
            "locked": self.locked,
            "service_id": service,
            "deployed": False,
            "staging": False,
            "testing": False,
            "deleted_at": None,
            "created_at": "2030-01-02T03:04:05Z",
            "updated_at": "2030-01-02T03:04:05Z",
        }

    def document(self, service: str) -> dict[str, Any]:
        """Return the version with all objects."""
        found = self.summary(service)
        for kind, (plural, _) in KINDS.items():
            if kind not in LISTED:
                found[plural] = self.listing(kind)
        return found | {kind: self.other.get(kind, []) for kind in OTHER}

    def object(self, service: str, kind: str, fields: Fields) -> dict[str, Any]:
        """Return an object as a call about it does, with its place."""
        place = {"service_id": service, "version": str(self.number)}
        return object_document(kind, fields) | place

    def listing(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        return [object_document(kind, fields) for fields in self.objects[kind].values()]


@dataclass
class Service:
    """A service."""

    service_id: str
    name: str
    comment: str
    deleted: bool = False
    versions: dict[int, Version] = field(default_factory=lambda: {1: Version(1)})

    @property
    def active(self) -> Version | None:
        """The active version."""
        return next((entry for entry in self.versions.values() if entry.active), None)

    def document(self) -> dict[str, Any]:
        """Return the service without objects."""
        return {
            "id": self.service_id,
            "name": self.name,
            "comment": self.comment,
            "type": "vcl",
            "customer_id": "customer",
            "deleted_at": "2030-01-02T03:04:05Z" if self.deleted else None,
            "versions": [entry.summary(self.service_id) for entry in self.versions.values()],
        }


class Account:
    """A customer's services.

    Attributes:
        taken: domains of other customers.
        unique_names: whether names of services must be unique.
        max_backends: per version.
        max_domains: per version.
        quotes: whether refusals of objects quote the whole form.
        purges: (service, key or ``*``, soft), in order.
        dictionaries: the items of dictionaries.
        activated: (service, objects) of each activated version, in order.
    """

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.taken: set[str] = set()
        self.unique_names = True
        self.max_backends = 5
        self.max_domains = 20
        self.quotes = False
        self.purges: list[tuple[str, str, bool]] = []
        self.activated: list[tuple[str, dict[str, dict[str, Fields]]]] = []
        self.dictionaries = Dictionaries()
        self._ids = itertools.count(1)

    def living(self) -> list[Service]:
        """Return the services that are not deleted, oldest first."""
        return [service for service in self.services.values() if not service.deleted]

    def service(self, service_id: str, *, deleted: bool = False) -> Service:
        """Return a service.

        Args:
            deleted: also find a deleted one, which Fastly shows for a while.
        """
        found = self.services.get(service_id)
        if found is None or (found.deleted and not deleted):
            raise Refused(404, "Record not found", "Cannot find service")
        return found

    def version(self, service_id: str, number: int) -> Version:
        """Return a version of a service."""
        found = self.service(service_id).versions.get(number)
        if found is None:
            raise Refused(404, "Record not found", f"Cannot find version '{number}'")
        return found

    def search(self, name: str) -> Service:
        """Return the service with a name."""
        for service in self.living():
            if service.name == name:
                return service
        raise Refused(404, "Record not found", "Cannot load service")

    def create(self, form: Fields) -> Service:
        """Create a service."""
        only(form, "name comment type")
        name = form.get("name", "")
        if not name:
            raise Refused(400, "Bad request", "Name can't be blank")
        if self.unique_names and any(service.name == name for service in self.living()):
            raise Refused(409, "Duplicate record", f"Duplicate service: '{name}'")
        service_id = f"SU{next(self._ids)}"
        self.services[service_id] = Service(service_id, name, form.get("comment", ""))
        return self.services[service_id]

    def delete(self, service_id: str) -> None:
        """Delete a service."""
        service = self.service(service_id)
        if service.active is not None:
            raise Refused(400, "Bad request", "Cannot delete service with active version")
        service.deleted = True

    def clone(self, service_id: str, number: int) -> Version:
        """Copy a version to a new one."""
        base = self.version(service_id, number)
        versions = self.service(service_id).versions
        made = copy.deepcopy(base)
        made.number, made.active, made.locked = max(versions) + 1, False, False
        versions[made.number] = made
        return made

    def editable(self, service_id: str, number: int) -> Version:
        """Return a version that may be changed."""
        found = self.version(service_id, number)
        if found.locked:
            raise Refused(422, "Bad request", f"Version {number} is locked")
        return found

    def add(self, service_id: str, number: int, kind: str, form: Fields) -> Fields:
        """Add an object."""
        objects = self.editable(service_id, number).objects[kind]
        check(kind, form, REQUIRED[kind])
        name = form["name"]
        if name in objects:
            raise Refused(409, "Duplicate record", f"Duplicate {kind}: '{name}'")
        if kind == "domain":
            self._check_domain(name)
        objects[name] = dict(form)
        if kind == "dictionary":
            objects[name]["id"] = f"DI{next(self._ids)}"
        return objects[name]

    def change(self, service_id: str, number: int, kind: str, name: str, form: Fields) -> Fields:
        """Change an object."""
        found = self._object(service_id, number, kind, name)
        try:
            check_change(kind, form, found)
        except Refused as exc:
            if self.quotes:
                exc.document["detail"] = str(form)
            raise
        if form.get("name", name) != name:
            raise Refused(400, "Bad request", "the double does not rename")
        found.update(form)
        return found

    def change_items(self, service_id: str, dictionary: str, document: Any) -> None:
        """Change items of a dictionary of any version."""
        versions = self.service(service_id).versions.values()
        found = (entry["id"] for it in versions for entry in it.objects["dictionary"].values())
        if dictionary not in found:
            raise Refused(404, "Record not found", f"Cannot load dictionary '{dictionary}'")
        self.dictionaries.change(dictionary, document)

    def drop(self, service_id: str, number: int, kind: str, name: str) -> None:
        """Remove an object."""
        self._object(service_id, number, kind, name)
        del self.version(service_id, number).objects[kind][name]

    def problems(self, service_id: str, number: int) -> list[str]:
        """Return why a version can't be activated."""
        version = self.version(service_id, number)
        return [*self._problems(service_id, version), *fastly_vcl.problems(version.objects)]

    def activate(self, service_id: str, number: int) -> Version:
        """Activate a version."""
        version = self.version(service_id, number)
        if version.active:
            raise Refused(400, "Bad request", f"Version {number} is active already")
        problems = self.problems(service_id, number)
        if problems:
            raise Refused(400, "Bad request", "; ".join(problems))
        for other in self.service(service_id).versions.values():
            other.active = False
        version.active = version.locked = True
        self.activated.append((service_id, copy.deepcopy(version.objects)))
        return version

    def deactivate(self, service_id: str, number: int) -> Version:
        """Deactivate the active version."""
        version = self.version(service_id, number)
        if not version.active:
            raise Refused(400, "Bad request", f"Version {number} is not active")
        version.active = False
        return version

    def purge(self, service_id: str, key: str, soft: bool) -> None:
        """Record a purge."""
        self.service(service_id)
        if len(key) > 1024:
            raise Refused(400, "Bad request", "the key is too long")
        self.purges.append((service_id, key, soft))

    def serves(self, domain: str) -> Service | None:
        """Return the service of this account with a domain in its active version."""
        for service in self.living():
            if service.active and domain in service.active.objects["domain"]:
                return service
        return None

    def objects(self, service_id: str, number: int, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        version = self.version(service_id, number)
        found = version.objects[kind].values()
        return [version.object(service_id, kind, fields) for fields in found]

    def _object(self, service_id: str, number: int, kind: str, name: str) -> Fields:
        found = self.editable(service_id, number).objects[kind].get(name)
        if found is None:
            raise Refused(404, "Record not found", f"Couldn't find {kind} '{name}'")
        return found

    def _check_domain(self, name: str) -> None:
        if not _HOST.fullmatch(name) or len(name) > 253:
            raise Refused(400, "Bad request", f"Domain '{name}' is not valid")
        if name in self.taken:
            raise Refused(
                400, "Bad request", f"Domain '{name}' is already taken by another customer"
            )

    def _problems(self, service_id: str, version: Version) -> Iterator[str]:
        for kind, most in (("domain", self.max_domains), ("backend", self.max_backends)):
            number = len(version.objects[kind])
            if not number:
                yield f"Version has no associated {kind}s"
            elif number > most:
                yield f"Exceeding max number of {kind}s: {most}"
        for domain in version.objects["domain"]:
            other = self.serves(domain)
            if other is not None and other.service_id != service_id:
                yield f"Domain '{domain}' is already in use by service {other.service_id}"
        conditions = version.objects["condition"]
        for kind, references in REFERENCES.items():
            for name, fields in version.objects[kind].items():
                for option, wanted in references.items():
                    condition = fields.get(option)
                    if condition and conditions.get(condition, {}).get("type") != wanted:
                        yield f"{kind} '{name}' has no {wanted} condition '{condition}'"
