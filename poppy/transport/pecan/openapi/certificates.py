# SPDX-License-Identifier: Apache-2.0
"""Descriptions of certificates that are ordered separately from a service."""

from http import HTTPStatus

from poppy.model import admin_schemas, certificates
from poppy.model.schemas import Schema
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.operation import Answer, Body, Operation, Parameter, tagged

CERT_TYPE = Parameter(
    "cert_type",
    "The certificate type, if the domain has an order of each.",
    {"type": "string", "enum": list(certificates.TYPES)},
    "san",
)

ORDER: Schema = answers.answer(
    "Order",
    {
        **admin_schemas.CERTIFICATE["properties"],
        "cert_details": {
            "type": "object",
            "description": "Details from each provider, by provider name.",
            "additionalProperties": answers.answer("Details", {"extra_info": {"type": "object"}}),
        },
        "status": {"enum": [*certificates.STATES, "delete_in_progress"]},
    },
)

_REQUEST_EXAMPLE = {
    "flavor_id": "standard",
    "cert_type": "san",
    "domain_name": "www.example.com",
    "project_id": answers.PROJECT_ID,
}

ORDER_EXAMPLE = {
    **_REQUEST_EXAMPLE,
    "cert_details": {"varnish": {"extra_info": {"status": "deployed"}}},
    "status": "deployed",
}

OPERATIONS = {
    "POST /v1.0/ssl_certificate": Operation(
        id="createCertificate",
        summary="Order a certificate before a service uses its domain.",
        body=Body(admin_schemas.CERTIFICATE, _REQUEST_EXAMPLE),
        answers={
            HTTPStatus.ACCEPTED: Answer(
                "The order is stored. 400 if the domain already has an order of that type; 403 if "
                "the project's quota is exhausted."
            )
        },
        errors=(HTTPStatus.CONFLICT,),
    ),
    "GET /v1.0/ssl_certificate/{domain}": tagged(
        Operation(
            id="getCertificate",
            summary="Show the order for a domain; a list if there is one of each type.",
            answers={
                HTTPStatus.OK: Answer(
                    "One or two orders.",
                    {"oneOf": [ORDER, answers.array(ORDER)]},
                    ORDER_EXAMPLE,
                )
            },
        )
    ),
    "DELETE /v1.0/ssl_certificate/{domain}": Operation(
        id="deleteCertificate",
        summary="Delete a certificate from the providers.",
        parameters=(CERT_TYPE,),
        answers={
            HTTPStatus.ACCEPTED: Answer("The deletion has started. 400 if there is no order.")
        },
        errors=(HTTPStatus.CONFLICT,),
    ),
}
