# SPDX-License-Identifier: Apache-2.0
"""Descriptions of operations, for tenants and operators."""

from http import HTTPStatus

from poppy.model import schemas
from poppy.model.operations import Kind, State, StepState
from poppy.model.schemas import Schema
from poppy.transport.pecan.controllers import operations
from poppy.transport.pecan.controllers.admin import operations as admin
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.operation import Answer, Body, Link, Operation, Parameter

_SERVICE = "/v1.0/services/{service_id}/operations"
_ADMIN = "/v1.0/admin/operations"

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
        "url": _MAYBE | {"description": "A path; null for everything."},
        "hard": {"type": "boolean"},
        "more_urls": answers.array(
            answers.TEXT, "Paths of purges that were asked for while this one waited."
        ),
    },
)

OPERATION: Schema = answers.answer(
    "Operation",
    {
        "id": answers.UUID,
        "project_id": answers.TEXT,
        "service_id": answers.UUID,
        "action": {"enum": [kind.value for kind in Kind]},
        "purge": {"oneOf": [_PURGE, {"type": "null"}], "description": "The scope of a purge."},
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
)

_HERE = f"{answers.BASE}/services/{answers.SERVICE_ID}"

OPERATION_EXAMPLE = {
    "id": answers.OPERATION_ID,
    "project_id": answers.PROJECT_ID,
    "service_id": answers.SERVICE_ID,
    "action": "create",
    "purge": None,
    "state": "waiting",
    "reason": "varnish: the node does not answer",
    "attempts": 2,
    "failures": 1,
    "next_attempt_at": "2026-01-01T00:05:00Z",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:04:00Z",
    "request_id": "req-6c2a1f5e-3b7d-4e8f-9a0b-1c2d3e4f5a6b",
    "steps": [
        {
            "driver": "provider",
            "provider": "varnish",
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


def _limit(default: int, largest: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": largest, "default": default}
    return Parameter("limit", "The maximum number of operations on a page.", schema)


OPERATIONS = {
    f"GET {_SERVICE}": Operation(
        id="listOperations",
        summary="List a service's operations, latest first.",
        description="Available for some time after the service is deleted.",
        parameters=(
            _limit(operations.DEFAULT_LIMIT, operations.MAX_LIMIT),
            Parameter(
                "marker", "The ID of the last operation of the previous page.", answers.UUID
            ),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of operations.",
                answers.answer(
                    "Operations",
                    {
                        "operations": answers.array(OPERATION),
                        "links": answers.array(answers.LINK, "next, if the page is full."),
                    },
                ),
                {"operations": [OPERATION_EXAMPLE], "links": []},
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
    f"GET {_SERVICE}/{{operation_id}}": Operation(
        id="getOperation",
        summary="Show an operation and its steps at each provider and in DNS.",
        answers={HTTPStatus.OK: Answer("The operation.", OPERATION, OPERATION_EXAMPLE)},
    ),
    f"POST {_SERVICE}/{{operation_id}}/action": Operation(
        id="cancelOperation",
        summary="Cancel a waiting create, update or purge.",
        description="The operation fails, and so does its service, except after a purge. The "
        "service's document does not change. 409 if the operation is not waiting.",
        body=Body(schemas.TENANT_ACTION, {"cancel": {}}),
        answers={HTTPStatus.ACCEPTED: Answer("The operation is cancelled.")},
        errors=(HTTPStatus.CONFLICT,),
    ),
    f"GET {_ADMIN}": Operation(
        id="findOperations",
        summary="List the unfinished and failed operations of all projects, oldest first.",
        parameters=(
            Parameter(
                "state",
                "List only operations in this state; unfinished is queued, running or waiting.",
                {"type": "string", "enum": sorted(admin.STATES)},
                "failed",
            ),
            Parameter(
                "older_than",
                "List only operations requested at least this many seconds ago.",
                {"type": "integer", "minimum": 0, "maximum": admin.MAX_AGE, "default": 0},
            ),
            Parameter("provider", "List only operations with this provider.", answers.TEXT),
            Parameter("marker", "The marker from the link to the next page.", answers.TEXT),
            _limit(admin.DEFAULT_LIMIT, admin.MAX_LIMIT),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of operations. With provider it may be short although there are more.",
                answers.answer(
                    "Operations found",
                    {
                        "operations": answers.array(OPERATION),
                        "links": answers.array(answers.LINK, "next, if there may be more."),
                    },
                ),
                {"operations": [OPERATION_EXAMPLE], "links": []},
            )
        },
    ),
    f"POST {_ADMIN}/{{operation_id}}/action": Operation(
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
}
