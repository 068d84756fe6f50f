# SPDX-License-Identifier: Apache-2.0
"""Lists of a project's services by name, flavor and tags, in any order, for every store.

No store has an index for these, since a project rarely has more than some hundreds of services.
So services are read in the order of their ids, at most :data:`MAX_READ` for a request. A page may
then be short, even empty, and still have a next one. Only the status is left to the store.

Another order needs all services at once. It is refused for a project with more of them.
"""

import functools
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from poppy.common import errors
from poppy.model.services import Service, Status
from poppy.storage.services import ServiceStore

MAX_READ = 1000
"""The services that are read for one request."""

_BATCH = 100

SORT_KEYS = ("created_at", "name", "status", "updated_at")


class Order(NamedTuple):
    """One of :data:`SORT_KEYS`, and the direction."""

    key: str
    descending: bool = False


class Selection(NamedTuple):
    """The services of a list, and their order.

    Attributes:
        status, name, flavor_id: None for any.
        tags: a service must have all of them.
        order: the first key counts most; services with equal keys are in the order of their ids.
            Empty for the order of their ids, that is, of their creation.
    """

    status: Status | None = None
    name: str | None = None
    flavor_id: str | None = None
    tags: frozenset[str] = frozenset()
    order: tuple[Order, ...] = ()

    @property
    def is_filtered(self) -> bool:
        """Whether the store can't select the services itself."""
        return bool(self.name is not None or self.flavor_id is not None or self.tags)

    def matches(self, service: Service) -> bool:
        """Return whether a service is one of them."""
        spec = service.spec
        return (
            self.status in (None, service.status)
            and self.name in (None, spec.name)
            and self.flavor_id in (None, spec.flavor_id)
            and self.tags.issubset(spec.tags or ())
        )


class ServicePage(NamedTuple):
    """A page of a list.

    Attributes:
        marker: the id after which the next page begins; None if there is none.
    """

    services: Sequence[Service]
    marker: str | None


def page(
    store: ServiceStore, project_id: str, marker: str | None, limit: int, wanted: Selection
) -> ServicePage:
    """Return a page of a project's services.

    Args:
        marker: as the previous page returned it.
        limit: the maximum length of the page.

    Raises:
        InvalidRequest: ``wanted`` has an order, and the project has more than :data:`MAX_READ`
            services, or the service of the marker is not in the list.
    """
    if wanted.order:
        return _sorted(store, project_id, marker, limit, wanted)
    if wanted.is_filtered:
        return _filtered(store, project_id, marker, limit, wanted)
    return full(store.list(project_id, marker, limit, wanted.status), limit)


def full(services: Sequence[Service], limit: int) -> ServicePage:
    """Return a page that has a next one if it is full."""
    return ServicePage(services, services[-1].service_id if len(services) >= limit else None)


def _filtered(
    store: ServiceStore, project_id: str, marker: str | None, limit: int, wanted: Selection
) -> ServicePage:
    found: list[Service] = []
    for number, service in enumerate(_each(store, project_id, marker, wanted.status)):
        if number == MAX_READ or len(found) == limit:
            return ServicePage(found, marker)
        marker = service.service_id
        if wanted.matches(service):
            found.append(service)
    return ServicePage(found, None)


def _sorted(
    store: ServiceStore, project_id: str, marker: str | None, limit: int, wanted: Selection
) -> ServicePage:
    read = list(islice(_each(store, project_id, None, wanted.status), MAX_READ + 1))
    if len(read) > MAX_READ:
        raise errors.InvalidRequest(
            f"'sort' is for lists of up to {MAX_READ} services; the project has more"
        )
    found = [service for service in read if wanted.matches(service)]
    for key, descending in reversed(wanted.order):
        found.sort(key=functools.partial(_value, key), reverse=descending)
    start = 0
    if marker is not None:
        ids = [service.service_id for service in found]
        if marker not in ids:
            raise errors.InvalidRequest(f"The service of the marker {marker} is not in the list")
        start = ids.index(marker) + 1
    return full(found[start : start + limit], limit)


def _each(
    store: ServiceStore, project_id: str, marker: str | None, status: Status | None
) -> Iterator[Service]:
    while True:
        batch = store.list(project_id, marker, _BATCH, status)
        yield from batch
        if len(batch) < _BATCH:
            return
        marker = batch[-1].service_id


def _value(key: str, service: Service) -> Any:
    if key == "name":
        return service.spec.name
    return getattr(service, key)
