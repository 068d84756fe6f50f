# SPDX-License-Identifier: Apache-2.0
"""``conn.cdn``: typed calls over the bindings that the commands use."""

import contextlib
import functools
import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from openstack import exceptions, proxy
from osc_lib import exceptions as osc

from poppyclient import api, connection, documents, waiting
from poppyclient.sdk.resources import Flavor, Operation, Service

#: Seconds to wait for an operation.
TIMEOUT = 3600.0

_ERRORS = {
    HTTPStatus.BAD_REQUEST: exceptions.BadRequestException,
    HTTPStatus.FORBIDDEN: exceptions.ForbiddenException,
    HTTPStatus.NOT_FOUND: exceptions.NotFoundException,
    HTTPStatus.CONFLICT: exceptions.ConflictException,
    HTTPStatus.PRECONDITION_FAILED: exceptions.PreconditionFailedException,
}


class Proxy(proxy.Proxy):
    """The calls.

    A service is given as a :class:`Service`, or as its id, one of its domains, or its name.
    Requests are retried while that is safe, as by the commands.

    Methods raise subclasses of ``openstack.exceptions.HttpException`` with the server's message,
    and ``SDKException`` if the server does not answer. With ``wait``, they raise
    ``ResourceFailure`` if the operation fails or does not end within ``timeout`` seconds.
    """

    #: Poppy's home document is not one of Keystone's discovery.
    skip_discovery = True

    @functools.cached_property
    def _client(self) -> api.Client:
        cloud = self._get_connection()
        project = cloud.config.config.get("cdn_project_id") if cloud else None
        return api.Client(connection.Connection(self, project, connection.PATIENCE))

    # Services.

    def services(self, limit: int | None = None, **filters: Any) -> Iterator[Service]:
        """Yield the project's services.

        Args:
            filters: ``status``, ``domain``, ``name``, ``flavor_id``, ``tag``, ``sort``.
        """
        with _errors():
            for document in self._client.services(limit, **filters):
                yield Service.existing(**document)

    def get_service(self, service: Service | str) -> Service:
        """Return a service."""
        with _errors():
            return Service.existing(**self._client.service(self._id(service))[0])

    def find_service(self, name_or_id: str, ignore_missing: bool = True) -> Service | None:
        """Return a service, or None if there is none.

        Raises:
            NotFoundException: there is none, and ``ignore_missing`` is false.
        """
        try:
            return self.get_service(name_or_id)
        except exceptions.NotFoundException:
            if ignore_missing:
                return None
            raise

    def create_service(
        self, wait: bool = False, timeout: float = TIMEOUT, **document: Any
    ) -> Service:
        """Create a service from the fields of its document. Lost responses create only one."""
        with _errors():
            service_id, answer = self._client.create_service(document, str(uuid.uuid4()))
        self._wait(wait, service_id, "create", answer, timeout)
        return self.get_service(service_id)

    def update_service(
        self, service: Service | str, wait: bool = False, timeout: float = TIMEOUT, **fields: Any
    ) -> Service:
        """Replace fields of a service; others keep their values. A value of None removes one.

        Raises:
            PreconditionFailedException: another client changed the service at the same time.
        """
        with _errors():
            service_id = self._id(service)
            shown, tag = self._client.service(service_id)
            current = documents.writable(shown)
            desired = {
                name: value for name, value in (current | fields).items() if value is not None
            }
            patch = documents.patch(current, documents.written_out(desired, current))
            answer = self._client.update_service(service_id, patch, tag) if patch else None
        if answer is not None:
            self._wait(wait, service_id, "update", answer, timeout)
        return self.get_service(service_id)

    def delete_service(
        self,
        service: Service | str,
        ignore_missing: bool = True,
        wait: bool = False,
        timeout: float = TIMEOUT,
    ) -> None:
        """Delete a service, also from its providers and DNS."""
        try:
            with _errors():
                service_id = self._id(service)
                answer = self._client.delete_service(service_id)
            self._wait(wait, service_id, "delete", answer, timeout)
        except exceptions.NotFoundException:
            if not ignore_missing:
                raise

    def purge_service(
        self,
        service: Service | str,
        urls: Sequence[str] = (),
        tags: Sequence[str] = (),
        prefix: str | None = None,
        host: str | None = None,
        hard: bool = True,
        wait: bool = False,
        timeout: float = TIMEOUT,
    ) -> None:
        """Purge cached content: paths, tags, a directory, a domain, or everything without any."""
        with _errors():
            service_id = self._id(service)
            scope = {"url": list(urls), "tag": list(tags), "prefix": prefix, "host": host}
            answer = self._client.purge(service_id, hard, **scope)
        self._wait(wait, service_id, "purge", answer, timeout)

    def prewarm_service(
        self,
        service: Service | str,
        urls: Sequence[str],
        wait: bool = False,
        timeout: float = TIMEOUT,
    ) -> None:
        """Let the providers of a service fetch paths."""
        with _errors():
            service_id = self._id(service)
            answer = self._client.prewarm(service_id, list(urls))
        self._wait(wait, service_id, "prewarm", answer, timeout)

    def operations(self, service: Service | str, limit: int | None = None) -> Iterator[Operation]:
        """Yield the operations of a service, latest first."""
        with _errors():
            service_id = self._id(service)
            for document in self._client.operations(service_id, limit):
                yield Operation.existing(**{**document, "service_id": service_id})

    def analytics(self, service: Service | str, **query: str | None) -> Mapping[str, Any]:
        """Return the analytics of a service; ``query`` has the parameters of the API."""
        with _errors():
            return self._client.analytics(self._id(service), query)

    # Flavors and quota.

    def flavors(self) -> Iterator[Flavor]:
        """Yield all flavors."""
        with _errors():
            for document in self._client.flavors():
                yield Flavor.existing(**document)

    def get_flavor(self, flavor_id: str) -> Flavor:
        """Return a flavor with its capabilities."""
        with _errors():
            return Flavor.existing(**self._client.flavor(flavor_id))

    def create_flavor(self, flavor_id: str, providers: Sequence[Mapping[str, Any]]) -> Flavor:
        """(Operators) Create a flavor."""
        with _errors():
            document = {"id": flavor_id, "providers": list(providers)}
            return Flavor.existing(**self._client.create_flavor(document))

    def delete_flavor(self, flavor_id: str, ignore_missing: bool = True) -> None:
        """(Operators) Delete a flavor that no service uses."""
        try:
            with _errors():
                self._client.delete_flavor(flavor_id)
        except exceptions.NotFoundException:
            if not ignore_missing:
                raise

    def quota(self) -> Mapping[str, Any]:
        """Return the project's limits, and how much of them is used."""
        with _errors():
            return self._client.quota()

    def _id(self, service: Service | str) -> str:
        if isinstance(service, Service):
            return str(service.id)
        try:
            return self._client.find_service(service)
        except connection.Refused:
            raise
        except osc.CommandError as exc:
            raise exceptions.NotFoundException(str(exc)) from exc

    def _wait(
        self, wait: bool, service_id: str, action: str, answer: connection.Answer, timeout: float
    ) -> None:
        if not wait:
            return
        try:
            waiting.follow(
                self._client, service_id, action, answer.request_id, timeout, io.StringIO()
            )
        except (connection.Refused, connection.Unanswered) as exc:
            raise _translated(exc) from exc
        except osc.CommandError as exc:
            raise exceptions.ResourceFailure(str(exc)) from exc


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Raise the errors of the bindings as those of openstacksdk."""
    try:
        yield
    except osc.CommandError as exc:
        raise _translated(exc) from exc


def _translated(error: osc.CommandError) -> exceptions.SDKException:
    if not isinstance(error, connection.Refused):
        return exceptions.SDKException(str(error))
    kind = _ERRORS.get(HTTPStatus(error.status), exceptions.HttpException)
    return kind(message=str(error), http_status=error.status)
