# SPDX-License-Identifier: Apache-2.0
"""Looking services up over all projects."""

from collections.abc import Iterator, Sequence

from poppy.common import errors
from poppy.model import certificates, names
from poppy.model.services import Service, Status
from poppy.storage.base import Storage
from poppy.storage.lookups import Found


class LookupsManager:
    """Services by status, by domain, and by what serves them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def by_status(self, status: str, marker: str | None, limit: int) -> Sequence[Found]:
        """A page of all services of a status, in an order of the store's own.

        Raises:
            InvalidRequest: there is no such status.
        """
        return self._storage.lookups.by_status(str(status_of(status)), marker, limit)

    def by_domain(self, domain: str) -> Service:
        """The service that has a domain.

        Raises:
            InvalidRequest: it is no domain name.
            NotFound: no service has it.
        """
        name = host(domain, "domain")
        try:
            return self._storage.lookups.by_claim(name)
        except errors.NotFound:
            raise errors.NotFound(f"No service has the domain {name}") from None

    def domains_at(self, provider_url: str, marker: str | None, limit: int) -> Sequence[str]:
        """A page of the domains that a provider serves by this name, in order.

        Raises:
            InvalidRequest: it is no domain name.
        """
        name = host(provider_url, "provider_url")
        if marker is not None:
            host(marker, "marker")
        return self._storage.lookups.domains_at(name, marker, limit)


def every_service(storage: Storage) -> Iterator[Service]:
    """All services of all projects, without orders of certificates, which are stored like them."""
    for service in storage.services.scan():
        if not certificates.is_namespace(service.project_id):
            yield service


def status_of(text: str) -> Status:
    """A status by its name.

    Raises:
        InvalidRequest: there is none of that name.
    """
    try:
        return Status(text)
    except ValueError:
        known = ", ".join(Status)
        raise errors.InvalidRequest(f"The status must be one of {known}") from None


def host(text: str, what: str) -> str:
    """A domain name that somebody asks for, in lower case.

    Raises:
        InvalidRequest: it is none.
    """
    name = names.canonical(text)
    problem = names.problem(name)
    if problem is not None:
        raise errors.InvalidRequest(f"The {what} {text[:100]!r} is not valid: {problem}")
    return name
