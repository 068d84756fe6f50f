# SPDX-License-Identifier: Apache-2.0
"""Descriptions of what is for operators."""

from http import HTTPStatus

from poppy.model import admin_schemas, certificates
from poppy.model.services import Status
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.certificates import CERT_TYPE, ORDER, ORDER_EXAMPLE
from poppy.transport.pecan.openapi.operation import Answer, Body, Operation, Parameter, tagged
from poppy.transport.pecan.request import JSON, JSON_PATCH

_CHANGES = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
_ONE = {"project_id": answers.PROJECT_ID, "service_id": answers.SERVICE_ID}


def _page(largest: int, marker: Parameter) -> tuple[Parameter, Parameter]:
    limit = {"type": "integer", "minimum": 1, "maximum": largest, "default": largest}
    return (Parameter("limit", "How many a page has at most.", limit), marker)


_MARKER = Parameter("marker", "The id of the last one of the page before.", answers.UUID)

OPERATIONS = {
    "GET /v1.0/admin/services": Operation(
        id="listServicesByStatus",
        summary="The services of all projects, by status.",
        parameters=(
            Parameter(
                "status",
                "Which.",
                {"type": "string", "enum": [status.value for status in Status]},
                "failed",
                required=True,
            ),
            *_page(1000, _MARKER),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page.",
                answers.array(
                    answers.answer(
                        "Service found",
                        {
                            "project_id": answers.TEXT,
                            "service_id": answers.UUID,
                            "status": answers.TEXT,
                        },
                    )
                ),
                [{**_ONE, "status": "failed"}],
                may_have=("Link",),
            )
        },
    ),
    "POST /v1.0/admin/services/action": Operation(
        id="actOnServices",
        summary="Enable, disable or delete the services of a project, or the one with a domain.",
        description="One request sees to so many services as it can in a short time; while there "
        "are more, the same request to where Link leads sees to those.",
        parameters=(_MARKER,),
        body=Body(
            admin_schemas.SERVICE_ACTION, {"action": "disable", "domain": "www.example.com"}
        ),
        answers={HTTPStatus.ACCEPTED: Answer("It is under way.", may_have=("Link",))},
        errors=_CHANGES,
    ),
    "POST /v1.0/admin/services/status": Operation(
        id="setServiceStatus",
        summary="Say what became of a service.",
        body=Body(admin_schemas.SERVICE_STATUS, {"status": "failed", **_ONE}),
        answers={
            HTTPStatus.CREATED: Answer("It is so."),
            HTTPStatus.ACCEPTED: Answer("No provider has anything of it: it is being deployed."),
        },
        errors=_CHANGES,
    ),
    "PATCH /v1.0/admin/services/provider_details/{service_id}": Operation(
        id="setProviderDetails",
        summary="Say where the operator's name of a domain points.",
        body=Body(
            admin_schemas.PROVIDER_DETAILS,
            {
                "project_id": answers.PROJECT_ID,
                "domain_name": "www.example.com",
                "operator_url": "www.example.com.cdn.example.net",
                "provider_url": "edge7.provider.example",
            },
        ),
        answers={
            HTTPStatus.CREATED: Answer("The name is being moved."),
            HTTPStatus.ACCEPTED: Answer("It points there already."),
        },
        errors=_CHANGES,
    ),
    "GET /v1.0/admin/domains": Operation(
        id="listDomains",
        summary="The domains that a provider serves by a name.",
        parameters=(
            Parameter(
                "provider_url",
                "The provider's name.",
                answers.TEXT,
                "edge7.provider.example",
                required=True,
            ),
            *_page(1000, Parameter("marker", "The last one of the page before.", answers.TEXT)),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page.",
                answers.array(answers.TEXT, "In order."),
                ["www.example.com"],
                may_have=("Link",),
            )
        },
    ),
    "GET /v1.0/admin/domains/{domain}": tagged(
        Operation(
            id="getServiceByDomain",
            summary="The service that has a domain.",
            answers={
                HTTPStatus.OK: Answer("It.", answers.SERVICE, answers.SERVICE_EXAMPLE),
            },
        )
    ),
    "GET /v1.0/admin/limits/{project_id}": Operation(
        id="getLimit",
        summary="How many services a project may have.",
        answers={HTTPStatus.OK: Answer("So many.", admin_schemas.LIMIT, {"limit": 20})},
    ),
    "PUT /v1.0/admin/limits/{project_id}": Operation(
        id="setLimit",
        summary="Say how many services a project may have. Those beyond stay.",
        body=Body(admin_schemas.LIMIT, {"limit": 50}),
        answers={HTTPStatus.CREATED: Answer("It counts from now on.")},
    ),
    "GET /v1.0/admin/certificates": Operation(
        id="listCertificates",
        summary="The orders for certificates of all projects, by status.",
        parameters=(
            Parameter(
                "status",
                "Which.",
                {"type": "string", "enum": [*certificates.STATES, "delete_in_progress"]},
                "failed",
                required=True,
            ),
            *_page(100, _MARKER),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page.", answers.array(ORDER), [ORDER_EXAMPLE], may_have=("Link",)
            )
        },
    ),
    "PATCH /v1.0/admin/certificates/{domain}": Operation(
        id="setCertificateStatus",
        summary="Say what became of a certificate.",
        description="With create_in_progress the providers are asked again.",
        parameters=(CERT_TYPE,),
        body=Body(
            admin_schemas.CERTIFICATE_PATCH,
            [{"op": "replace", "path": "/status", "value": "deployed"}],
            media_types=(JSON_PATCH, JSON),
        ),
        answers={HTTPStatus.NO_CONTENT: Answer("It is so.")},
        errors=_CHANGES,
    ),
}
