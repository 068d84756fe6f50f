# SPDX-License-Identifier: Apache-2.0
"""The operations of a service, and for operators those of all projects that are not done."""

import re
from http import HTTPStatus

from poppy.common import errors
from poppy.manager.operations import OPEN
from poppy.model import schemas, validation
from poppy.model.operations import Kind, OperationKey, State, StepState
from poppy.model.schema_parts import Schema
from poppy.policies.base import ADMIN, AUDITOR, MEMBER, READER, project_rule, service_rule
from poppy.storage.operations import Marker
from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import API, marker_of, uuid
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import Request, integer, parameter
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import Answer, Body, Link, Parameter, Route

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
DEFAULT_ADMIN_LIMIT = 100
MAX_ADMIN_LIMIT = 1000
#: Seconds; longer than any operation is kept.
MAX_AGE = 999_999_999

STATES = {
    **{str(state): frozenset({state}) for state in OPEN},
    "unfinished": frozenset({State.QUEUED, State.RUNNING, State.WAITING}),
}


def _list(api: API, request: Request, service_id: str) -> Response:
    service_id = uuid(service_id, "service id")
    limit = integer(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
    found = api.manager.operations.history(
        request.project_id, service_id, marker_of(request), limit
    )
    return reply(views.operations(found, service_id, limit, request.base_url))


def _get(api: API, request: Request, service_id: str, operation_id: str) -> Response:
    found = api.manager.operations.get(_key(request.project_id, service_id, operation_id))
    return reply(views.operation(found, request.base_url))


def _cancel(api: API, request: Request, service_id: str, operation_id: str) -> Response:
    validation.validate(schemas.TENANT_ACTION, api.body(request))
    api.manager.operations.give_up(_key(request.project_id, service_id, operation_id))
    return reply(status=HTTPStatus.ACCEPTED)


def _find(api: API, request: Request) -> Response:
    state = parameter(request, "state")
    if state is not None and state not in STATES:
        raise errors.InvalidRequest(
            f"Query parameter 'state' must be one of {', '.join(sorted(STATES))}"
        )
    states = OPEN if state is None else STATES[state]
    older_than = 0
    if parameter(request, "older_than") not in (None, "0"):
        older_than = integer(request, "older_than", 0, MAX_AGE)
    limit = integer(request, "limit", DEFAULT_ADMIN_LIMIT, MAX_ADMIN_LIMIT)
    provider = parameter(request, "provider")
    after = _position(parameter(request, "marker"))
    page = api.manager.operations.find(states, older_than, provider, limit, after)
    asked = {"state": state, "older_than": older_than or None, "provider": provider}
    query = {name: str(value) for name, value in asked.items() if value is not None}
    return reply(views.open_operations(page, limit, request.base_url, query))


def _position(text: str | None) -> Marker | None:
    """Parse the marker that :func:`.views.open_operations` puts into the link to the next page."""
    if text is None:
        return None
    moment, _, operation_id = text.partition("/")
    if not re.fullmatch("[0-9]{1,18}", moment):
        raise errors.InvalidRequest("Query parameter 'marker' must come from a link to a page")
    return Marker(views.from_microseconds(int(moment)), uuid(operation_id, "marker"))


def _act(api: API, request: Request, operation_id: str) -> Response:
    body = validation.operation_action(api.body(request))
    actions = {"retry": api.manager.operations.retry, "cancel": api.manager.operations.cancel}
    actions[body["action"]](_key(body["project_id"], body["service_id"], operation_id))
    return reply(status=HTTPStatus.ACCEPTED)


def _key(project_id: str, service_id: str, operation_id: str) -> OperationKey:
    return OperationKey(
        project_id, uuid(service_id, "service id"), uuid(operation_id, "operation id")
    )


_MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}
_MAYBE: Schema = {"type": ["string", "null"]}

_STEP = answers.answer(
    "Step",
    {
        "driver": {
            "description": "provider, dns, or ownership (verification of domain ownership).",
            **answers.TEXT,
        },
        "provider": _MAYBE,
        "action": {"enum": ["ensure", "remove"]},
        "state": {"enum": [state.value for state in StepState]},
        "message": _MAYBE,
    },
)

_PURGE = answers.answer(
    "Purge",
    {
        "url": _MAYBE | {"description": "A path; null for everything, and with another scope."},
        "hard": {"type": "boolean"},
        "more_urls": answers.array(
            answers.TEXT,
            "More paths, of the request or of purges that were asked for while this one waited.",
        ),
        "tags": answers.array(answers.TEXT, "Only of a purge by tag."),
        "prefix": answers.TEXT,
        "host": answers.TEXT,
    },
    optional=("tags", "prefix", "host"),
)

OPERATION: Schema = answers.answer(
    "Operation",
    {
        "id": answers.UUID,
        "project_id": answers.TEXT,
        "service_id": answers.UUID,
        "action": {"enum": [kind.value for kind in Kind]},
        "purge": {"oneOf": [_PURGE, {"type": "null"}], "description": "The scope of a purge."},
        "prewarm": answers.answer("Paths", {"urls": answers.array(answers.TEXT)}),
        "state": {"enum": [state.value for state in State]},
        "reason": _MAYBE | {"description": "Why the operation waits or failed."},
        "attempts": {"type": "integer"},
        "failures": {"type": "integer"},
        "next_attempt_at": _MOMENT,
        "created_at": _MOMENT,
        "updated_at": _MOMENT,
        "request_id": _MAYBE,
        "steps": answers.array(_STEP),
        "links": answers.array(answers.LINK),
    },
    optional=("prewarm",),
)

_HERE = f"{answers.BASE}/services/{answers.SERVICE_ID}"

OPERATION_EXAMPLE = {
    "id": answers.OPERATION_ID,
    "project_id": answers.PROJECT_ID,
    "service_id": answers.SERVICE_ID,
    "action": "create",
    "purge": None,
    "state": "waiting",
    "reason": "edge: 1 of 2 nodes have it",
    "attempts": 2,
    "failures": 1,
    "next_attempt_at": "2026-01-01T00:05:00Z",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:04:00Z",
    "request_id": "req-6c2a1f5e-3b7d-4e8f-9a0b-1c2d3e4f5a6b",
    "steps": [
        {
            "driver": "provider",
            "provider": "edge",
            "action": "ensure",
            "state": "pending",
            "message": None,
        }
    ],
    "links": [
        {"href": f"{_HERE}/operations/{answers.OPERATION_ID}", "rel": "self"},
        {"href": _HERE, "rel": "service"},
    ],
}


_PAGE_EXAMPLE = {"operations": [OPERATION_EXAMPLE], "links": []}


def _page(title: str, links: str) -> Schema:
    members = {
        "operations": answers.array(OPERATION),
        "links": answers.array(answers.LINK, links),
    }
    return answers.answer(title, members)


def _limit(default: int, largest: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": largest, "default": default}
    return Parameter("limit", "The maximum number of operations on a page.", schema)


ROUTES = (
    Route(
        "GET /v1.0/services/{service_id}/operations",
        _list,
        project_rule("cdn:operations:list", READER, "List the operations of a service."),
        id="listOperations",
        summary="List a service's operations, latest first.",
        description="Available for some time after the service is deleted.",
        parameters=(
            _limit(DEFAULT_LIMIT, MAX_LIMIT),
            Parameter(
                "marker", "The ID of the last operation of the previous page.", answers.UUID
            ),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of operations.",
                _page("Operations", "next, if the page is full."),
                _PAGE_EXAMPLE,
                links={
                    "operation": Link(
                        "getOperation",
                        {
                            "service_id": "$response.body#/operations/0/service_id",
                            "operation_id": "$response.body#/operations/0/id",
                        },
                    )
                },
            )
        },
    ),
    Route(
        "GET /v1.0/services/{service_id}/operations/{operation_id}",
        _get,
        project_rule("cdn:operations:get", READER, "Show an operation."),
        id="getOperation",
        summary="Show an operation and its steps at each provider and in DNS.",
        answers={HTTPStatus.OK: Answer("The operation.", OPERATION, OPERATION_EXAMPLE)},
    ),
    Route(
        "POST /v1.0/services/{service_id}/operations/{operation_id}/action",
        _cancel,
        project_rule(
            "cdn:operations:action", MEMBER, "Cancel a waiting operation of the project."
        ),
        id="cancelOperation",
        summary="Cancel a waiting create, update or purge.",
        description="The operation fails, and so does its service, except after a purge. The "
        "service's document does not change. 409 if the operation is not waiting.",
        body=Body(schemas.TENANT_ACTION, {"cancel": {}}),
        answers={HTTPStatus.ACCEPTED: Answer("The operation is cancelled.")},
        errors=(HTTPStatus.CONFLICT,),
    ),
)

ADMIN_ROUTES = (
    Route(
        "GET /v1.0/admin/operations",
        _find,
        service_rule(
            "cdn:admin_operations:list",
            AUDITOR,
            "List the unfinished and failed operations of all projects.",
        ),
        id="findOperations",
        summary="List the unfinished and failed operations of all projects, oldest first.",
        parameters=(
            Parameter(
                "state",
                "List only operations in this state; unfinished is queued, running or waiting.",
                {"type": "string", "enum": sorted(STATES)},
                "failed",
            ),
            Parameter(
                "older_than",
                "List only operations requested at least this many seconds ago.",
                {"type": "integer", "minimum": 0, "maximum": MAX_AGE, "default": 0},
            ),
            Parameter("provider", "List only operations with this provider.", answers.TEXT),
            Parameter("marker", "The marker from the link to the next page.", answers.TEXT),
            _limit(DEFAULT_ADMIN_LIMIT, MAX_ADMIN_LIMIT),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of operations. With provider it may be short although there are more.",
                _page("Operations found", "next, if there may be more."),
                _PAGE_EXAMPLE,
            )
        },
    ),
    Route(
        "POST /v1.0/admin/operations/{operation_id}/action",
        _act,
        service_rule("cdn:admin_operations:action", ADMIN),
        id="actOnOperation",
        summary="Retry or cancel an operation.",
        body=Body(
            schemas.OPERATION_ACTION,
            {
                "action": "retry",
                "project_id": answers.PROJECT_ID,
                "service_id": answers.SERVICE_ID,
            },
        ),
        answers={HTTPStatus.ACCEPTED: Answer("The action is accepted.")},
        errors=(HTTPStatus.CONFLICT,),
    ),
)
