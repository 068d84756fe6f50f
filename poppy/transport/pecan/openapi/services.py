# SPDX-License-Identifier: Apache-2.0
"""Descriptions of services."""

from http import HTTPStatus

from poppy.model import schemas
from poppy.transport.pecan.controllers.assets import MAX_URL
from poppy.transport.pecan.controllers.base import Settings
from poppy.transport.pecan.controllers.services import DEFAULT_LIMIT
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.operation import Answer, Body, Link, Operation, Parameter
from poppy.transport.pecan.request import JSON, JSON_PATCH

_NOT_FOUND = (HTTPStatus.NOT_FOUND,)


def _links(pointer: str) -> dict[str, Link]:
    """What can be done with the service whose id is there."""
    one = {"service_id": f"$response.body#{pointer}"}
    return {
        "service": Link("getService", one),
        "update": Link("updateService", one),
        "purge": Link("purgeService", one),
        "delete": Link("deleteService", one),
    }


def operations(settings: Settings) -> dict[str, Operation]:
    """The descriptions; how large a page may be is for the operator to say."""
    limit = settings.max_services_per_page
    return {
        "GET /v1.0/services": Operation(
            id="listServices",
            summary="The services of the project, by pages.",
            parameters=(
                Parameter(
                    "limit",
                    "How many a page has at most.",
                    {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": limit,
                        "default": min(DEFAULT_LIMIT, limit),
                    },
                    example=1,
                ),
                Parameter("marker", "The id of the last one of the page before.", answers.UUID),
            ),
            answers={
                HTTPStatus.OK: Answer(
                    "A page.",
                    answers.SERVICES,
                    answers.SERVICES_EXAMPLE,
                    links=_links("/services/0/id"),
                )
            },
        ),
        "POST /v1.0/services": Operation(
            id="createService",
            summary="Have content of one's own delivered.",
            description="What a schema can't say, the message of a 400 does: a domain is a host "
            "name in lower case, no root domain, and no other service's; no two origins or "
            "caching rules have one path; each provider of the flavor can do what is asked.",
            body=Body(schemas.SERVICE, answers.SERVICE_REQUEST_EXAMPLE),
            answers={
                HTTPStatus.ACCEPTED: Answer(
                    "It is stored, and being deployed. 403 when the project may have no more.",
                    headers=("Location",),
                )
            },
        ),
        "GET /v1.0/services/{service_id}": Operation(
            id="getService",
            summary="One service, and what became of it.",
            answers={
                HTTPStatus.OK: Answer(
                    "The service.", answers.SERVICE, answers.SERVICE_EXAMPLE, links=_links("/id")
                )
            },
            errors=_NOT_FOUND,
        ),
        "PATCH /v1.0/services/{service_id}": Operation(
            id="updateService",
            summary="Change a service that is deployed or failed.",
            description="By a JSON Patch (RFC 6902) on the document that a GET answers, without "
            "its id, status, errors and links.",
            body=Body(
                schemas.PATCH,
                [{"op": "replace", "path": "/caching/0/ttl", "value": 60}],
                media_types=(JSON_PATCH, JSON),
            ),
            answers={
                HTTPStatus.ACCEPTED: Answer(
                    "The change is stored, and being deployed.", headers=("Location",)
                )
            },
            errors=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        ),
        "DELETE /v1.0/services/{service_id}": Operation(
            id="deleteService",
            summary="Have a service removed from its providers and from DNS.",
            description="Accepted at any time, also again. The service is gone (404) once all "
            "is removed; if something can't be, it is failed with the reason.",
            answers={HTTPStatus.ACCEPTED: Answer("It is being removed.")},
            errors=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        ),
        "DELETE /v1.0/services/{service_id}/assets": Operation(
            id="purgeService",
            summary="Have cached content of a deployed service go.",
            description="Either url or all=true must be given.",
            parameters=(
                Parameter(
                    "url",
                    "A path, with * for any run of characters.",
                    {"type": "string", "minLength": 1, "maxLength": MAX_URL},
                    example="/images/logo.png",
                ),
                Parameter("all", "Everything of the service.", {"type": "boolean"}),
                Parameter(
                    "hard",
                    "false: have it revalidated instead of evicted, where a provider can.",
                    {"type": "boolean", "default": True},
                ),
            ),
            answers={HTTPStatus.ACCEPTED: Answer("It is being purged.", headers=("Location",))},
            errors=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        ),
    }
