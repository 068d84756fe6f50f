# SPDX-License-Identifier: Apache-2.0
"""Admin search: services of all projects."""

from collections.abc import Iterator, Sequence

from poppy.common import errors
from poppy.model import certificates, ids, names
from poppy.model.services import Service, Status
from poppy.storage.base import Storage
from poppy.storage.queries import Found


class AdminSearch:
    """Find services by status, domain, or name at a provider."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def by_status(self, status: str, marker: str | None, limit: int) -> Sequence[Found]:
        """Return a page of all services with a status; the order is the storage driver's.

        Raises:
            InvalidRequest: the status is unknown.
        """
        return self._storage.queries.by_status(str(status_of(status)), marker, limit)

    def by_domain(self, domain: str) -> Service:
        """Return the service that has a domain.

        Raises:
            InvalidRequest: the domain name is invalid.
            NotFound: no service has it.
        """
        name = host(domain, "domain")
        try:
            return self._storage.queries.by_claim(name)
        except errors.NotFound:
            raise errors.NotFound(f"No service has the domain {name}") from None

    def one(self, wanted: str, project_id: str | None = None) -> Service:
        """Return the service with an ID or a domain.

        Args:
            project_id: its project; without it, an ID is searched in all projects.

        Raises:
            InvalidRequest: it is neither a UUID nor a valid domain name.
            NotFound: there is no such service.
        """
        if not ids.is_uuid(wanted):
            service = self.by_domain(wanted)
            if project_id not in (None, service.project_id):
                raise errors.NotFound(
                    f"Project {project_id} has no service with the domain {wanted}"
                )
            return service
        if project_id is not None:
            return self._storage.services.get(project_id, wanted.lower())
        for service in every_service(self._storage):
            if service.service_id == wanted.lower():
                return service
        raise errors.NotFound(f"There is no service {wanted}")

    def domains_at(self, provider_url: str, marker: str | None, limit: int) -> Sequence[str]:
        """Return a page of the domains behind a name at a provider, sorted.

        Raises:
            InvalidRequest: the name is invalid.
        """
        name = host(provider_url, "provider_url")
        if marker is not None:
            host(marker, "marker")
        return self._storage.queries.domains_at(name, marker, limit)


def every_service(storage: Storage) -> Iterator[Service]:
    """Yield the services of all projects, without orders for certificates."""
    for service in storage.services.scan():
        if not certificates.is_namespace(service.project_id):
            yield service


def status_of(text: str) -> Status:
    """Parse a status.

    Raises:
        InvalidRequest: the status is unknown.
    """
    try:
        return Status(text)
    except ValueError:
        known = ", ".join(Status)
        raise errors.InvalidRequest(f"The status must be one of {known}") from None


def host(text: str, what: str) -> str:
    """Validate a domain name from a request; return it in lower case.

    Args:
        text: the name.
        what: what the error message calls it.

    Raises:
        InvalidRequest: the name is invalid.
    """
    name = names.canonical(text)
    problem = names.problem(name)
    if problem is not None:
        raise errors.InvalidRequest(f"The {what} {text[:100]!r} is not valid: {problem}")
    return name
