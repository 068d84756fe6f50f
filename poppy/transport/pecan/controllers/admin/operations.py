# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/operations``: find, retry and cancel unfinished and failed operations."""

import re
from http import HTTPStatus

from poppy.common import errors
from poppy.manager.operations import OPEN
from poppy.model import validation
from poppy.model.operations import OperationKey, State
from poppy.storage.operations import Marker
from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.request import Request, document, integer, parameter
from poppy.transport.pecan.response import Response, reply

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
#: Seconds; longer than any operation is kept.
MAX_AGE = 999_999_999

STATES = {
    **{str(state): frozenset({state}) for state in OPEN},
    "unfinished": frozenset({State.QUEUED, State.RUNNING, State.WAITING}),
}


class Operations(Resource):
    """Unfinished and failed operations of all projects."""

    @handler("cdn:admin_operations:list")
    def get(self, request: Request, response: Response) -> Response:
        """Return a page of operations, oldest first."""
        state = parameter(request, "state")
        if state is not None and state not in STATES:
            raise errors.InvalidRequest(
                f"Query parameter 'state' must be one of {', '.join(sorted(STATES))}"
            )
        states = OPEN if state is None else STATES[state]
        older_than = 0
        if parameter(request, "older_than") not in (None, "0"):
            older_than = integer(request, "older_than", 0, MAX_AGE)
        limit = integer(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
        provider = parameter(request, "provider")
        marker = _marker(parameter(request, "marker"))
        page = self.manager.operations.find(states, older_than, provider, limit, marker)
        asked = {"state": state, "older_than": older_than or None, "provider": provider}
        query = {name: str(value) for name, value in asked.items() if value is not None}
        return reply(views.open_operations(page, limit, request.base_url, query))


def _marker(text: str | None) -> Marker | None:
    """Parse the marker that :func:`.views.open_operations` puts into the link to the next page."""
    if text is None:
        return None
    moment, _, operation_id = text.partition("/")
    if not re.fullmatch("[0-9]{1,18}", moment):
        raise errors.InvalidRequest("Query parameter 'marker' must come from a link to a page")
    return Marker(views.from_microseconds(int(moment)), uuid(operation_id, "marker"))


class OperationAction(Resource):
    """An operator's action on an operation."""

    @handler("cdn:admin_operations:action")
    def post(self, request: Request, response: Response, operation_id: str) -> Response:
        """Retry or cancel the operation. 202."""
        body = validation.operation_action(document(request, self.settings.max_body_size))
        key = OperationKey(
            body["project_id"],
            uuid(body["service_id"], "service id"),
            uuid(operation_id, "operation id"),
        )
        actions = {
            "retry": self.manager.operations.retry,
            "cancel": self.manager.operations.cancel,
        }
        actions[body["action"]](key)
        return reply(status=HTTPStatus.ACCEPTED)
