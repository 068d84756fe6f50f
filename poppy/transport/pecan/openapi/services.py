# SPDX-License-Identifier: Apache-2.0
"""Descriptions of services."""

from http import HTTPStatus

from poppy.model import schemas
from poppy.model.services import Status
from poppy.provider.base import Metric
from poppy.transport.pecan.controllers.assets import MAX_URL
from poppy.transport.pecan.controllers.base import Settings
from poppy.transport.pecan.controllers.services import DEFAULT_LIMIT
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.operation import (
    Answer,
    Body,
    Link,
    Operation,
    Parameter,
    conditional,
    tagged,
)
from poppy.transport.pecan.request import JSON, JSON_PATCH

_STATUS = {"type": "string", "enum": [status.value for status in Status]}
_TIME = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$(?!\n)",
}


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
        "GET /v1.0/services": tagged(
            Operation(
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
                    Parameter(
                        "marker", "The id of the last one of the page before.", answers.UUID
                    ),
                    Parameter("status", "Only those of this status.", _STATUS),
                    Parameter("domain", "Only the one that has this domain.", answers.TEXT),
                ),
                answers={
                    HTTPStatus.OK: Answer(
                        "A page.",
                        answers.SERVICES,
                        answers.SERVICES_EXAMPLE,
                        links=_links("/services/0/id"),
                    )
                },
            )
        ),
        "POST /v1.0/services": Operation(
            id="createService",
            summary="Have content of one's own delivered.",
            description="What a schema can't say, the message of a 400 does: a domain is a host "
            "name in lower case, no root domain, and no other service's; no two rules of "
            "origins, or of caching, have paths with the same meaning; each provider of the "
            "flavor can do what is asked.",
            parameters=(
                Parameter(
                    "Idempotency-Key",
                    "A name for this request: within 24 hours, a request of that name and the "
                    "same body creates nothing, and is answered alike.",
                    {"type": "string", "minLength": 1, "maxLength": 255},
                    example='"0d4fcd2e-8a3b-4a7d-9c11-6f1a2b3c4d5e"',
                    place="header",
                ),
            ),
            body=Body(schemas.service(settings.document_limits), answers.SERVICE_REQUEST_EXAMPLE),
            answers={
                HTTPStatus.ACCEPTED: Answer(
                    "It is stored, and being deployed. 403 when the project may have no more.",
                    headers=("Location",),
                )
            },
            errors=(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
        ),
        "GET /v1.0/services/{service_id}": tagged(
            Operation(
                id="getService",
                summary="One service, and what became of it.",
                answers={
                    HTTPStatus.OK: Answer(
                        "The service.",
                        answers.SERVICE,
                        answers.SERVICE_EXAMPLE,
                        links=_links("/id"),
                    )
                },
            )
        ),
        "PATCH /v1.0/services/{service_id}": conditional(
            Operation(
                id="updateService",
                summary="Change a service that is deployed or failed, or waits.",
                description="By a JSON Patch (RFC 6902) on what a GET answers, without "
                "its id, status, errors, links and dns_records. It takes the place of a create "
                "or update that waits; 400 while one runs. An empty patch changes nothing.",
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
                errors=(HTTPStatus.CONFLICT,),
            )
        ),
        "DELETE /v1.0/services/{service_id}": conditional(
            Operation(
                id="deleteService",
                summary="Have a service removed from its providers and from DNS.",
                description="Accepted at any time, also again. The service is gone (404) once all "
                "is removed; if something can't be, it is failed with the reason.",
                answers={HTTPStatus.ACCEPTED: Answer("It is being removed.")},
                errors=(HTTPStatus.CONFLICT,),
            )
        ),
        "DELETE /v1.0/services/{service_id}/assets": Operation(
            id="purgeService",
            summary="Have cached content of a service go that has been deployed.",
            description="Either url or all=true must be given, unless the operator has neither "
            "mean all=true. Also while an update waits, or has failed.",
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
            errors=(HTTPStatus.CONFLICT,),
        ),
        "GET /v1.0/services/{service_id}/analytics": Operation(
            id="getAnalytics",
            summary="What the provider has counted for a domain.",
            description="The provider is asked meanwhile; 503 when it does not answer, 400 when "
            "it has none. An answer is kept for a minute.",
            parameters=(
                Parameter(
                    "domain", "One of the service.", answers.TEXT, "www.example.com", required=True
                ),
                Parameter(
                    "metricType",
                    "What is counted; bandwidthOut in bytes.",
                    {"type": "string", "enum": [metric.value for metric in Metric]},
                    "requestCount",
                    required=True,
                ),
                Parameter("startTime", "The first moment (UTC); a day before the end.", _TIME),
                Parameter("endTime", "The moment behind the last (UTC); now.", _TIME),
            ),
            answers={
                HTTPStatus.OK: Answer(
                    "Counts by zone.",
                    answers.ANALYTICS,
                    answers.ANALYTICS_EXAMPLE,
                )
            },
        ),
    }
