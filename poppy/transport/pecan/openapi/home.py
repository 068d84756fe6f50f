# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the version, home, health and ping resources."""

from http import HTTPStatus

from poppy.transport.pecan import views
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.operation import Answer, Operation
from poppy.transport.pecan.request import JSON, JSON_HOME


def _part(kind: str, what: str) -> Operation:
    return Operation(
        id=f"get{kind}Health",
        summary=f"Show the health of {what}.",
        answers={
            HTTPStatus.OK: Answer("Its health.", answers.ONLINE, {"online": "true"}),
        },
    )


OPERATIONS = {
    "GET /": Operation(
        id="getVersions",
        summary="List the API versions.",
        answers={
            HTTPStatus.OK: Answer("All versions.", answers.VERSIONS, answers.VERSIONS_EXAMPLE)
        },
    ),
    "GET /v1.0": Operation(
        id="getHome",
        summary="Show the API's resources as a JSON home document.",
        answers={
            HTTPStatus.OK: Answer(
                "The document.", answers.HOME, views.HOME, media_types=(JSON, JSON_HOME)
            )
        },
    ),
    "GET /v1.0/openapi.json": Operation(
        id="getOpenAPI",
        summary="Show this document.",
        answers={
            HTTPStatus.OK: Answer(
                "An OpenAPI 3.1 document.", {"type": "object"}, {"openapi": "3.1.1", "...": "..."}
            )
        },
    ),
    "GET /v1.0/ping": Operation(
        id="ping",
        summary="Check whether this server can serve requests, for load balancers.",
        answers={HTTPStatus.NO_CONTENT: Answer("Storage and the job board are reachable.")},
        errors=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
    "GET /v1.0/health": Operation(
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
    "GET /v1.0/health/storage/{name}": _part("Storage", "a storage driver"),
    "GET /v1.0/health/dns/{name}": _part("DNS", "a DNS driver"),
    "GET /v1.0/health/distributed_task/{name}": _part("DistributedTask", "a job board"),
    "GET /v1.0/health/provider/{name}": _part("Provider", "a CDN provider"),
}
