# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/ssl_certificate``: certificates that are ordered before a service uses the domain."""

from http import HTTPStatus

from poppy.model import admin_schemas, certificates
from poppy.policies.base import MEMBER, READER, service_rule
from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import reply_tagged
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import Request, parameter
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import Answer, Body, Parameter, Route, tagged


def _create(api: API, request: Request) -> Response:
    body = api.body(request)
    api.manager.certificates.create(request.asking_project, body, request.request_id)
    return reply(status=HTTPStatus.ACCEPTED)


def _get(api: API, request: Request, domain: str) -> Response:
    found = api.manager.certificates.get(request.asking_project, domain)
    shown = [views.certificate(order) for order in found]
    return reply_tagged(request, shown[0] if len(shown) == 1 else shown)


def _delete(api: API, request: Request, domain: str) -> Response:
    cert_type = parameter(request, "cert_type")
    api.manager.certificates.delete(request.asking_project, domain, cert_type, request.request_id)
    return reply(status=HTTPStatus.ACCEPTED)


CERT_TYPE = Parameter(
    "cert_type",
    "The certificate type, if the domain has an order of each.",
    {"type": "string", "enum": list(certificates.TYPES)},
    "san",
)

ROUTES = (
    Route(
        "POST /v1.0/ssl_certificate",
        _create,
        service_rule("cdn:certificates:create", MEMBER, "Order a certificate."),
        id="createCertificate",
        summary="Order a certificate before a service uses its domain.",
        body=Body(admin_schemas.CERTIFICATE, answers.ORDER_REQUEST_EXAMPLE),
        answers={
            HTTPStatus.ACCEPTED: Answer(
                "The order is stored. 400 if the domain already has an order of that type; 403 if "
                "the project's quota is exhausted."
            )
        },
        errors=(HTTPStatus.CONFLICT,),
    ),
    tagged(
        Route(
            "GET /v1.0/ssl_certificate/{domain}",
            _get,
            service_rule("cdn:certificates:get", READER, "Show a certificate order."),
            id="getCertificate",
            summary="Show the order for a domain; a list if there is one of each type.",
            answers={
                HTTPStatus.OK: Answer(
                    "One or two orders.",
                    {"oneOf": [answers.ORDER, answers.array(answers.ORDER)]},
                    answers.ORDER_EXAMPLE,
                )
            },
        )
    ),
    Route(
        "DELETE /v1.0/ssl_certificate/{domain}",
        _delete,
        service_rule("cdn:certificates:delete", MEMBER, "Delete a certificate."),
        id="deleteCertificate",
        summary="Delete a certificate from the providers.",
        parameters=(CERT_TYPE,),
        answers={
            HTTPStatus.ACCEPTED: Answer("The deletion has started. 400 if there is no order.")
        },
        errors=(HTTPStatus.CONFLICT,),
    ),
)
