# SPDX-License-Identifier: Apache-2.0
"""The versions, the home document, the OpenAPI document, and the health of the components."""

from http import HTTPStatus

from poppy.common import errors
from poppy.policies.base import READER, service_rule
from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.openapi import answers, document
from poppy.transport.pecan.request import JSON, JSON_HOME, Request, acceptable, host_url
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import PUBLIC, Answer, Route


def _versions(api: API, request: Request) -> Response:
    # 200, not 300: there is only one to choose.
    return reply(views.versions(request.base_url))


def _home(api: API, request: Request) -> Response:
    # As plain JSON unless the client accepts json-home.
    content_type = acceptable(request, request.route.media_types) or JSON
    return reply(views.HOME, content_type=content_type)


def _openapi(api: API, request: Request) -> Response:
    return reply(document.make(api.routes, api.settings, host_url(request)))


def _ping(api: API, request: Request) -> Response:
    if not api.manager.health.ping():
        raise errors.Unavailable("Storage or the job board does not answer")
    return reply(status=HTTPStatus.NO_CONTENT)


def _health(api: API, request: Request) -> Response:
    report = api.manager.health.report()
    online = all(all(parts.values()) for parts in report.values())
    status = HTTPStatus.OK if online else HTTPStatus.SERVICE_UNAVAILABLE
    return reply(views.health(report, request.base_url), status)


def _part(kind: str, identifier: str, what: str) -> Route:
    """Return the route of a component's health, which is 200 in either case.

    Args:
        kind: its kind in the manager's report.
    """

    def show(api: API, request: Request, name: str) -> Response:
        return reply(views.online(api.manager.health.check(kind, name)))

    return Route(
        f"GET /v1.0/health/{kind}/{{name}}",
        show,
        PUBLIC,
        id=identifier,
        summary=f"Show the health of {what}.",
        answers={HTTPStatus.OK: Answer("Its health.", answers.ONLINE, {"online": "true"})},
    )


ROUTES = (
    Route(
        "GET /",
        _versions,
        PUBLIC,
        id="getVersions",
        summary="List the API versions.",
        answers={
            HTTPStatus.OK: Answer("All versions.", answers.VERSIONS, answers.VERSIONS_EXAMPLE)
        },
    ),
    Route(
        "GET /v1.0",
        _home,
        service_rule("cdn:home:get", READER, "Show the home document."),
        id="getHome",
        summary="Show the API's resources as a JSON home document.",
        answers={
            HTTPStatus.OK: Answer(
                "The document.", answers.HOME, views.HOME, media_types=(JSON, JSON_HOME)
            )
        },
    ),
    Route(
        "GET /v1.0/openapi.json",
        _openapi,
        PUBLIC,
        id="getOpenAPI",
        summary="Show this document.",
        answers={
            HTTPStatus.OK: Answer(
                "An OpenAPI 3.1 document.", {"type": "object"}, {"openapi": "3.1.1", "...": "..."}
            )
        },
    ),
    Route(
        "GET /v1.0/ping",
        _ping,
        PUBLIC,
        id="ping",
        summary="Check whether this server can serve requests, for load balancers.",
        answers={HTTPStatus.NO_CONTENT: Answer("Storage and the job board are reachable.")},
        errors=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
    Route(
        "GET /v1.0/health",
        _health,
        PUBLIC,
        id="getHealth",
        summary="Show the health of all components.",
        answers={
            HTTPStatus.OK: Answer(
                "All components are online.", answers.HEALTH, answers.HEALTH_EXAMPLE
            ),
            HTTPStatus.SERVICE_UNAVAILABLE: Answer(
                "At least one component is offline.",
                answers.HEALTH,
                answers.HEALTH_DOWN_EXAMPLE,
            ),
        },
    ),
    _part("storage", "getStorageHealth", "a storage driver"),
    _part("dns", "getDNSHealth", "a DNS driver"),
    _part("distributed_task", "getDistributedTaskHealth", "a job board"),
    _part("provider", "getProviderHealth", "a CDN provider"),
)
