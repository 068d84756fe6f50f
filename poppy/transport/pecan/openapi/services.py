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
    """Return the links of a service; ``pointer`` locates its ID in the response."""
    one = {"service_id": f"$response.body#{pointer}"}
    return {
        "service": Link("getService", one),
        "update": Link("updateService", one),
        "purge": Link("purgeService", one),
        "delete": Link("deleteService", one),
    }


def operations(settings: Settings) -> dict[str, Operation]:
    """Return the descriptions, with the configured limits."""
    limit = settings.max_services_per_page
    return {
        "GET /v1.0/services": tagged(
            Operation(
                id="listServices",
                summary="List the project's services.",
                parameters=(
                    Parameter(
                        "limit",
                        "The maximum number of services on a page.",
                        {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": limit,
                            "default": min(DEFAULT_LIMIT, limit),
                        },
                        example=1,
                    ),
                    Parameter(
                        "marker", "The ID of the last service of the previous page.", answers.UUID
                    ),
                    Parameter("status", "List only services with this status.", _STATUS),
                    Parameter("domain", "List only the service with this domain.", answers.TEXT),
                ),
                answers={
                    HTTPStatus.OK: Answer(
                        "A page of services.",
                        answers.SERVICES,
                        answers.SERVICES_EXAMPLE,
                        links=_links("/services/0/id"),
                    )
                },
            )
        ),
        "POST /v1.0/services": Operation(
            id="createService",
            summary="Create a service.",
            description="Rules that the schema does not express (400): a domain is a lowercase "
            "host name, not a root domain, and not used by another service; the rules of the "
            "origins must have distinct paths, and so must the caching rules; every provider of "
            "the flavor must support the requested features.",
            parameters=(
                Parameter(
                    "Idempotency-Key",
                    "A key for this request. For 24 hours, a request with the same key and body "
                    "gets the same response and creates nothing.",
                    {"type": "string", "minLength": 1, "maxLength": 255},
                    example='"0d4fcd2e-8a3b-4a7d-9c11-6f1a2b3c4d5e"',
                    place="header",
                ),
            ),
            body=Body(schemas.service(settings.document_limits), answers.SERVICE_REQUEST_EXAMPLE),
            answers={
                HTTPStatus.ACCEPTED: Answer(
                    "The service is stored, and its deployment has started. 403 if the project's "
                    "quota is exhausted.",
                    headers=("Location",),
                )
            },
            errors=(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
        ),
        "GET /v1.0/services/{service_id}": tagged(
            Operation(
                id="getService",
                summary="Show a service and its status.",
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
                summary="Update a service that is deployed, failed or waiting.",
                description="The body is a JSON Patch (RFC 6902) of the document that GET "
                "returns, without id, status, errors, links and dns_records. It supersedes a "
                "waiting create or update; 400 while one runs. An empty patch changes nothing.",
                body=Body(
                    schemas.PATCH,
                    [{"op": "replace", "path": "/caching/0/ttl", "value": 60}],
                    media_types=(JSON_PATCH, JSON),
                ),
                answers={
                    HTTPStatus.ACCEPTED: Answer(
                        "The change is stored, and its deployment has started.",
                        headers=("Location",),
                    )
                },
                errors=(HTTPStatus.CONFLICT,),
            )
        ),
        "DELETE /v1.0/services/{service_id}": conditional(
            Operation(
                id="deleteService",
                summary="Delete a service from its providers and from DNS.",
                description="Accepted at any time, and can be repeated. The service is gone (404) "
                "when everything is removed. If something cannot be removed, the service fails "
                "with the reason.",
                answers={HTTPStatus.ACCEPTED: Answer("The deletion has started.")},
                errors=(HTTPStatus.CONFLICT,),
            )
        ),
        "DELETE /v1.0/services/{service_id}/assets": Operation(
            id="purgeService",
            summary="Purge cached content of a deployed service.",
            description="Either url or all=true is required, unless the operator configured that "
            "neither means all=true. Allowed while an update waits or after it failed.",
            parameters=(
                Parameter(
                    "url",
                    "A path; * matches any characters.",
                    {"type": "string", "minLength": 1, "maxLength": MAX_URL},
                    example="/images/logo.png",
                ),
                Parameter("all", "Purge all content of the service.", {"type": "boolean"}),
                Parameter(
                    "hard",
                    "false: revalidate the content instead of evicting it, if the provider "
                    "supports this.",
                    {"type": "boolean", "default": True},
                ),
            ),
            answers={HTTPStatus.ACCEPTED: Answer("The purge has started.", headers=("Location",))},
            errors=(HTTPStatus.CONFLICT,),
        ),
        "GET /v1.0/services/{service_id}/analytics": Operation(
            id="getAnalytics",
            summary="Show a domain's analytics from its provider.",
            description="The request waits for the provider: 503 if it does not answer, 400 if it "
            "has no analytics. The result is cached for a minute.",
            parameters=(
                Parameter(
                    "domain",
                    "A domain of the service.",
                    answers.TEXT,
                    "www.example.com",
                    required=True,
                ),
                Parameter(
                    "metricType",
                    "The metric; bandwidthOut is in bytes.",
                    {"type": "string", "enum": [metric.value for metric in Metric]},
                    "requestCount",
                    required=True,
                ),
                Parameter(
                    "startTime",
                    "The start (UTC, inclusive); by default a day before the end.",
                    _TIME,
                ),
                Parameter("endTime", "The end (UTC, exclusive); by default now.", _TIME),
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
