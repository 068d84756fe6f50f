# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services``: the services of tenants, and their analytics."""

from collections.abc import Callable
from http import HTTPStatus

from poppy.manager.analytics import COUNTRY
from poppy.manager.listing import Query
from poppy.model import schemas
from poppy.model.document.tags import MAX_TAGS, TAG
from poppy.model.schema_parts import Schema
from poppy.model.services import Service, Status
from poppy.policies.base import MEMBER, READER, project_rule
from poppy.provider.base import Metric
from poppy.storage.selection import MAX_READ, SORT_KEYS
from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import precondition, reply_tagged
from poppy.transport.pecan.controllers.base import API, Settings, accepted, marker_of, uuid
from poppy.transport.pecan.openapi import answers, service_answers
from poppy.transport.pecan.request import (
    JSON,
    JSON_PATCH,
    MAX_KEY,
    Request,
    boolean,
    idempotency_key,
    integer,
    parameter,
)
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import (
    Answer,
    Body,
    Link,
    Parameter,
    Route,
    conditional,
    tagged,
)

DEFAULT_LIMIT = 10

_FILTERS = ("status", "domain", "name", "flavor_id", "sort")
_SORT = "|".join(SORT_KEYS)


def _list(api: API, request: Request) -> Response:
    limit = integer(request, "limit", DEFAULT_LIMIT, api.settings.max_services_per_page)
    after = marker_of(request)
    filters = {name: parameter(request, name) for name in _FILTERS}
    query = Query(**filters, tags=request.GET.getall("tag"))
    found = api.manager.services.list(request.project_id, after, limit, query)
    return reply_tagged(request, views.services(found, limit, request.base_url, query.pairs))


def _get(api: API, request: Request, service_id: str) -> Response:
    found = api.manager.services.get(request.project_id, uuid(service_id, "service id"))
    return reply_tagged(request, views.service(found, request.base_url), found.revision)


def _create(api: API, request: Request) -> Response:
    key = idempotency_key(request)
    if boolean(request, "dry_run", default=False):
        planned = api.manager.services.plan_create(request.project_id, api.body(request))
        return reply(views.plan(planned))
    service_id = api.manager.services.create(
        request.project_id,
        api.body(request),
        request.request_id,
        key=key,
        token=request.token,
    )
    return accepted(request, service_id)


def _update(api: API, request: Request, service_id: str) -> Response:
    service_id = uuid(service_id, "service id")
    if boolean(request, "dry_run", default=False):
        planned = api.manager.services.plan_update(
            request.project_id, service_id, api.body(request), check=_check(request)
        )
        return reply(views.plan(planned))
    api.manager.services.update(
        request.project_id,
        service_id,
        api.body(request),
        request.request_id,
        check=_check(request),
        token=request.token,
    )
    return accepted(request, service_id)


def _delete(api: API, request: Request, service_id: str) -> Response:
    service_id = uuid(service_id, "service id")
    api.manager.services.delete(
        request.project_id, service_id, request.request_id, check=_check(request)
    )
    return reply(status=HTTPStatus.ACCEPTED)


def _check(request: Request) -> Callable[[Service], None] | None:
    return precondition(request, lambda service: views.service(service, request.base_url))


def _analytics(api: API, request: Request, service_id: str) -> Response:
    names = ("domain", "metricType", "startTime", "endTime", "groupBy")
    asked = [parameter(request, name) for name in names]
    service_id = uuid(service_id, "service id")
    found = api.manager.analytics.report(request.project_id, service_id, *asked)
    return reply(views.analytics(found))


def _limit(settings: Settings) -> Schema:
    maximum = settings.max_services_per_page
    default = min(DEFAULT_LIMIT, maximum)
    return {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}


def _document(settings: Settings) -> Schema:
    return schemas.service(settings.document_limits)


def _links(pointer: str) -> dict[str, Link]:
    """Return the links of a service; ``pointer`` locates its ID in the response."""
    one = {"service_id": f"$response.body#{pointer}"}
    return {
        "service": Link("getService", one),
        "update": Link("updateService", one),
        "purge": Link("purgeService", one),
        "delete": Link("deleteService", one),
    }


_DRY_RUN = Parameter(
    "dry_run",
    "true: check the request, store nothing, and return its plan (200). The checks are those of "
    "the request itself; errors are the same.",
    {"type": "boolean", "default": False},
)
_PLAN = Answer("The plan, with dry_run=true.", service_answers.PLAN, service_answers.PLAN_EXAMPLE)
_STATUS = {"type": "string", "enum": [status.value for status in Status]}
_TIME = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$(?!\n)",
}

ROUTES = (
    tagged(
        Route(
            "GET /v1.0/services",
            _list,
            project_rule("cdn:services:list", READER),
            id="listServices",
            summary="List the project's services.",
            parameters=(
                Parameter("limit", "The maximum number of services on a page.", _limit, example=1),
                Parameter(
                    "marker", "The ID of the last service of the previous page.", answers.UUID
                ),
                Parameter("status", "List only services with this status.", _STATUS),
                Parameter("domain", "List only the service with this domain.", answers.TEXT),
                Parameter(
                    "name",
                    "List only services with exactly this name.",
                    answers.TEXT,
                    "my web site",
                ),
                Parameter("flavor_id", "List only services with this flavor.", answers.TEXT),
                Parameter(
                    "tag",
                    "List only services with this tag. If it is repeated, with all of them.",
                    {"type": "array", "maxItems": MAX_TAGS, "items": TAG},
                    example=["prod"],
                ),
                Parameter(
                    "sort",
                    "Sort by these keys, separated by commas; by default by created_at. 400 if "
                    f"the project has more than {MAX_READ} services, or if the service of the "
                    "marker has left the list.",
                    {
                        "type": "string",
                        "pattern": f"^(?:{_SORT})(?::asc|:desc)?"
                        f"(?:,(?:{_SORT})(?::asc|:desc)?){{0,3}}$(?!\\n)",
                    },
                    example="name,updated_at:desc",
                ),
            ),
            description="For name, flavor_id and tag, a request reads at most "
            f"{MAX_READ} services. So a page may be short, even empty, though a link to the next "
            "one is there.",
            answers={
                HTTPStatus.OK: Answer(
                    "A page of services.",
                    service_answers.SERVICES,
                    service_answers.SERVICES_EXAMPLE,
                    links=_links("/services/0/id"),
                )
            },
        )
    ),
    tagged(
        Route(
            "GET /v1.0/services/{service_id}",
            _get,
            project_rule("cdn:services:get", READER, "Show a service."),
            id="getService",
            summary="Show a service and its status.",
            answers={
                HTTPStatus.OK: Answer(
                    "The service.",
                    service_answers.SERVICE,
                    service_answers.SERVICE_EXAMPLE,
                    links=_links("/id"),
                )
            },
        )
    ),
    Route(
        "POST /v1.0/services",
        _create,
        project_rule("cdn:services:create", MEMBER),
        id="createService",
        summary="Create a service.",
        description="Rules that the schema does not express (400): a domain is a lowercase host "
        "name, not a root domain, and not used by another service; the rules of the origins must "
        "have distinct paths, and so must the caching rules; every provider of the flavor must "
        "support the requested features.",
        parameters=(
            Parameter(
                "Idempotency-Key",
                "A key for this request. For 24 hours, a request with the same key and body gets "
                "the same response and creates nothing.",
                {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
                example='"0d4fcd2e-8a3b-4a7d-9c11-6f1a2b3c4d5e"',
                place="header",
            ),
            _DRY_RUN,
        ),
        body=Body(_document, service_answers.SERVICE_REQUEST_EXAMPLE),
        answers={
            HTTPStatus.OK: _PLAN,
            HTTPStatus.ACCEPTED: Answer(
                "The service is stored, and its deployment has started. 403 if the project's "
                "quota is exhausted.",
                headers=("Location",),
            ),
        },
        errors=(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    ),
    conditional(
        Route(
            "PATCH /v1.0/services/{service_id}",
            _update,
            project_rule("cdn:services:update", MEMBER, "Change a service."),
            id="updateService",
            summary="Update a service that is deployed, failed or waiting.",
            description="The body is a JSON Patch (RFC 6902) of the document that GET returns, "
            "without id, status, errors, links, dns_records and drift. It supersedes a waiting "
            "create or update; 400 while one runs. An empty patch changes nothing.",
            parameters=(_DRY_RUN,),
            body=Body(
                schemas.PATCH,
                [{"op": "replace", "path": "/caching/0/ttl", "value": 60}],
                media_types=(JSON_PATCH, JSON),
            ),
            answers={
                HTTPStatus.OK: _PLAN,
                HTTPStatus.ACCEPTED: Answer(
                    "The change is stored, and its deployment has started.",
                    headers=("Location",),
                ),
            },
            errors=(HTTPStatus.CONFLICT,),
        )
    ),
    conditional(
        Route(
            "DELETE /v1.0/services/{service_id}",
            _delete,
            project_rule("cdn:services:delete", MEMBER, "Delete a service."),
            id="deleteService",
            summary="Delete a service from its providers and from DNS.",
            description="Accepted at any time, and can be repeated. The service is gone (404) "
            "when everything is removed. If something cannot be removed, the service fails with "
            "the reason.",
            answers={HTTPStatus.ACCEPTED: Answer("The deletion has started.")},
            errors=(HTTPStatus.CONFLICT,),
        )
    ),
    Route(
        "GET /v1.0/services/{service_id}/analytics",
        _analytics,
        project_rule("cdn:services:analytics", READER, "Show the analytics of a service."),
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
            Parameter(
                "groupBy",
                "The zones: the clients' countries, by their ISO 3166-1 codes, with ZZ for "
                "unknown ones; by default those of the provider.",
                {"type": "string", "enum": [COUNTRY]},
            ),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "Counts by zone.", service_answers.ANALYTICS, service_answers.ANALYTICS_EXAMPLE
            )
        },
    ),
)
