# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services/{id}/operations``: the operations of a service and their state."""

from http import HTTPStatus

from poppy.model import schemas, validation
from poppy.model.operations import OperationKey
from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.request import Request, document, integer, parameter
from poppy.transport.pecan.response import Response, reply

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


class Operations(Resource):
    """The operations of a service, which are kept for some time after it is deleted."""

    @handler("cdn:operations:list")
    def get(self, request: Request, response: Response, service_id: str) -> Response:
        """Return a page of operations, latest first."""
        service_id = uuid(service_id, "service id")
        limit = integer(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
        marker = parameter(request, "marker")
        if marker is not None:
            marker = uuid(marker, "marker")
        found = self.manager.operations.history(request.project_id, service_id, marker, limit)
        return reply(views.operations(found, service_id, limit, request.base_url))


class Operation(Resource):
    """One operation."""

    @handler("cdn:operations:get")
    def get(
        self, request: Request, response: Response, service_id: str, operation_id: str
    ) -> Response:
        """Return the operation with the state of its steps."""
        found = self.manager.operations.get(_key(request, service_id, operation_id))
        return reply(views.operation(found, request.base_url))


class Action(Resource):
    """A tenant's action on an operation."""

    @handler("cdn:operations:action")
    def post(
        self, request: Request, response: Response, service_id: str, operation_id: str
    ) -> Response:
        """Cancel the operation if it is waiting. 202."""
        body = document(request, self.settings.max_body_size)
        validation.validate(schemas.TENANT_ACTION, body)
        self.manager.operations.give_up(_key(request, service_id, operation_id))
        return reply(status=HTTPStatus.ACCEPTED)


def _key(request: Request, service_id: str, operation_id: str) -> OperationKey:
    return OperationKey(
        request.project_id,
        uuid(service_id, "service id"),
        uuid(operation_id, "operation id"),
    )
