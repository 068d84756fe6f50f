# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services/{service_id}/certificates``: certificates that tenants bring."""

from http import HTTPStatus

from poppy.model import certificates
from poppy.policies.base import MEMBER, READER, project_rule
from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import reply_tagged
from poppy.transport.pecan.controllers.base import API, accepted, uuid
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response
from poppy.transport.pecan.routes import Answer, Body, Route, tagged

_TEMPLATE = "/v1.0/services/{service_id}/certificates/{domain}"


def _get(api: API, request: Request, service_id: str, domain: str) -> Response:
    found = api.manager.custom_certificates.get(
        request.project_id, uuid(service_id, "service id"), domain
    )
    return reply_tagged(request, views.custom_certificate(found))


def _put(api: API, request: Request, service_id: str, domain: str) -> Response:
    service_id = uuid(service_id, "service id")
    api.manager.custom_certificates.put(
        request.project_id, service_id, domain, api.body(request), request.request_id
    )
    return accepted(request, service_id)


def _delete(api: API, request: Request, service_id: str, domain: str) -> Response:
    service_id = uuid(service_id, "service id")
    api.manager.custom_certificates.delete(
        request.project_id, service_id, domain, request.request_id
    )
    return accepted(request, service_id)


_NAME = "cdn:services:certificates"

ROUTES = (
    tagged(
        Route(
            f"GET {_TEMPLATE}",
            _get,
            project_rule(f"{_NAME}:get", READER, "Show a custom certificate of a service."),
            id="getCustomCertificate",
            summary="Show the custom certificate of a domain, without its key.",
            answers={
                HTTPStatus.OK: Answer(
                    "The certificate. fingerprint is its SHA-256.",
                    answers.CUSTOM_CERTIFICATE,
                    answers.CUSTOM_CERTIFICATE_EXAMPLE,
                )
            },
        )
    ),
    Route(
        f"PUT {_TEMPLATE}",
        _put,
        project_rule(f"{_NAME}:put", MEMBER, "Set a custom certificate of a service."),
        id="putCustomCertificate",
        summary="Set the custom certificate of a domain.",
        description="The domain's entry in the service has the certificate custom. The key is RSA "
        "with 2048 to 4096 bits, or EC on P-256 or P-384, and not encrypted; no response has it.",
        body=Body(certificates.UPLOAD, answers.UPLOAD_EXAMPLE),
        answers={
            HTTPStatus.ACCEPTED: Answer(
                "The certificate is stored, and its deployment has started.",
                headers=("Location",),
            )
        },
        errors=(HTTPStatus.CONFLICT,),
    ),
    Route(
        f"DELETE {_TEMPLATE}",
        _delete,
        project_rule(f"{_NAME}:delete", MEMBER, "Delete a custom certificate of a service."),
        id="deleteCustomCertificate",
        summary="Delete the custom certificate of a domain.",
        answers={
            HTTPStatus.ACCEPTED: Answer(
                "The certificate and its key are deleted, and the update of the service has "
                "started.",
                headers=("Location",),
            )
        },
        errors=(HTTPStatus.CONFLICT,),
    ),
)
