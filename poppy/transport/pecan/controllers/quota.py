# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/quota``: the limits of the tenant's project."""

from http import HTTPStatus

from poppy.policies.base import READER, project_rule
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.openapi import service_answers
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import Answer, Route


def _get(api: API, request: Request) -> Response:
    found = api.manager.limits.quota(request.project_id)
    document = {name: usage._asdict() for name, usage in found._asdict().items()}
    return reply({**document, "rate": api.rates.usage(request.project_id)})


_EXAMPLE = {
    "services": {"limit": 20, "used": 3},
    "operations": {"limit": 500, "used": 0},
    "rate": {"changes": [{"limit": 600, "seconds": 60, "used": 1}], "reads": []},
}

ROUTES = (
    Route(
        "GET /v1.0/quota",
        _get,
        project_rule("cdn:quota:get", READER, "Show the limits of a project."),
        id="getQuota",
        summary="Show the limits of your project, and how much of them is used.",
        description="services: of the project. operations: unfinished ones; they are counted up "
        "to the limit, or up to 500 if there is none. rate: requests that may be made in some "
        "seconds, for each limit; used is what the process that answers has counted.",
        answers={HTTPStatus.OK: Answer("The limits.", service_answers.QUOTA, _EXAMPLE)},
    ),
)
