# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the operator routes."""

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
    return (Parameter("limit", "The maximum number of entries on a page.", limit), marker)


_MARKER = Parameter("marker", "The ID of the last entry of the previous page.", answers.UUID)

OPERATIONS = {
    "GET /v1.0/admin/services": Operation(
        id="listServicesByStatus",
        summary="List the services of all projects with a status.",
        parameters=(
            Parameter(
                "status",
                "The status.",
                {"type": "string", "enum": [status.value for status in Status]},
                "failed",
                required=True,
            ),
            *_page(1000, _MARKER),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of services.",
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
        summary="Enable, disable or delete a project's services, or the service with a domain.",
        description="A request handles as many services as it can in a short time. If more "
        "remain, repeat the request at the URL in Link.",
        parameters=(_MARKER,),
        body=Body(
            admin_schemas.SERVICE_ACTION, {"action": "disable", "domain": "www.example.com"}
        ),
        answers={HTTPStatus.ACCEPTED: Answer("The action is accepted.", may_have=("Link",))},
        errors=_CHANGES,
    ),
    "POST /v1.0/admin/services/status": Operation(
        id="setServiceStatus",
        summary="Set the status of a service.",
        body=Body(admin_schemas.SERVICE_STATUS, {"status": "failed", **_ONE}),
        answers={
            HTTPStatus.CREATED: Answer("The status is set."),
            HTTPStatus.ACCEPTED: Answer(
                "The service exists at no provider; its deployment has started."
            ),
        },
        errors=_CHANGES,
    ),
    "PATCH /v1.0/admin/services/provider_details/{service_id}": Operation(
        id="setProviderDetails",
        summary="Point a domain's operator name to a provider hostname.",
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
            HTTPStatus.CREATED: Answer("The change has started."),
            HTTPStatus.ACCEPTED: Answer("The name already points there."),
        },
        errors=_CHANGES,
    ),
    "GET /v1.0/admin/domains": Operation(
        id="listDomains",
        summary="List the domains behind a provider hostname.",
        parameters=(
            Parameter(
                "provider_url",
                "The provider hostname.",
                answers.TEXT,
                "edge7.provider.example",
                required=True,
            ),
            *_page(
                1000, Parameter("marker", "The last domain of the previous page.", answers.TEXT)
            ),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of domains.",
                answers.array(answers.TEXT, "The domains, sorted."),
                ["www.example.com"],
                may_have=("Link",),
            )
        },
    ),
    "GET /v1.0/admin/domains/{domain}": tagged(
        Operation(
            id="getServiceByDomain",
            summary="Show the service with a domain.",
            answers={
                HTTPStatus.OK: Answer("The service.", answers.SERVICE, answers.SERVICE_EXAMPLE),
            },
        )
    ),
    "GET /v1.0/admin/limits/{project_id}": Operation(
        id="getLimit",
        summary="Show how many services a project may have.",
        answers={HTTPStatus.OK: Answer("The limit.", admin_schemas.LIMIT, {"limit": 20})},
    ),
    "PUT /v1.0/admin/limits/{project_id}": Operation(
        id="setLimit",
        summary="Set how many services a project may have. Existing services stay.",
        body=Body(admin_schemas.LIMIT, {"limit": 50}),
        answers={HTTPStatus.CREATED: Answer("The limit is set.")},
    ),
    "GET /v1.0/admin/certificates": Operation(
        id="listCertificates",
        summary="List the certificate orders of all projects with a status.",
        parameters=(
            Parameter(
                "status",
                "The status.",
                {"type": "string", "enum": [*certificates.STATES, "delete_in_progress"]},
                "failed",
                required=True,
            ),
            *_page(100, _MARKER),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of orders.", answers.array(ORDER), [ORDER_EXAMPLE], may_have=("Link",)
            )
        },
    ),
    "PATCH /v1.0/admin/certificates/{domain}": Operation(
        id="setCertificateStatus",
        summary="Set the status of a certificate.",
        description="With create_in_progress the certificate is requested from the providers "
        "again.",
        parameters=(CERT_TYPE,),
        body=Body(
            admin_schemas.CERTIFICATE_PATCH,
            [{"op": "replace", "path": "/status", "value": "deployed"}],
            media_types=(JSON_PATCH, JSON),
        ),
        answers={HTTPStatus.NO_CONTENT: Answer("The status is set.")},
        errors=_CHANGES,
    ),
}
