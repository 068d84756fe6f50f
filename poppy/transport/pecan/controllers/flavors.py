# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/flavors``: the choices of providers that tenants can select."""

from http import HTTPStatus

from poppy.model import schemas
from poppy.policies.base import ADMIN, READER, service_rule
from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import reply_tagged
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import Answer, Body, Link, Route, tagged


def _list(api: API, request: Request) -> Response:
    found = api.manager.flavors.list()
    shown = {"flavors": [views.flavor(entry, request.base_url) for entry in found]}
    return reply_tagged(request, shown)


def _get(api: API, request: Request, flavor_id: str) -> Response:
    found = api.manager.flavors.get(flavor_id)
    shown = views.flavor(found, request.base_url)
    capabilities = [it.key for it in api.manager.flavors.capabilities(found)]
    return reply_tagged(request, {**shown, "capabilities": capabilities})


def _create(api: API, request: Request) -> Response:
    created = views.flavor(api.manager.flavors.create(api.body(request)), request.base_url)
    return reply(created, HTTPStatus.CREATED, {"Location": views.self_link(created)})


def _delete(api: API, request: Request, flavor_id: str) -> Response:
    api.manager.flavors.delete(flavor_id)
    return reply(status=HTTPStatus.NO_CONTENT)


_ONE = {"flavor_id": "$response.body#/id"}
_LINKS = {
    "flavor": Link("getFlavor", _ONE),
    "delete": Link("deleteFlavor", _ONE),
}

ROUTES = (
    tagged(
        Route(
            "GET /v1.0/flavors",
            _list,
            service_rule("cdn:flavors:list", READER),
            id="listFlavors",
            summary="List the flavors.",
            answers={
                HTTPStatus.OK: Answer(
                    "All flavors.", answers.FLAVORS, {"flavors": [answers.FLAVOR_EXAMPLE]}
                )
            },
        )
    ),
    tagged(
        Route(
            "GET /v1.0/flavors/{flavor_id}",
            _get,
            service_rule("cdn:flavors:get", READER),
            id="getFlavor",
            summary="Show a flavor.",
            answers={
                HTTPStatus.OK: Answer(
                    "The flavor.",
                    answers.CAPABLE_FLAVOR,
                    answers.CAPABLE_FLAVOR_EXAMPLE,
                    links=_LINKS,
                )
            },
        )
    ),
    Route(
        "POST /v1.0/flavors",
        _create,
        service_rule("cdn:flavors:create", ADMIN, "Define a flavor."),
        id="createFlavor",
        summary="Create a flavor: a choice of providers for services.",
        body=Body(schemas.FLAVOR, answers.FLAVOR_REQUEST_EXAMPLE),
        answers={
            HTTPStatus.CREATED: Answer(
                "The flavor. 400 if its ID is taken or a provider is not loaded.",
                answers.FLAVOR,
                answers.FLAVOR_EXAMPLE,
                headers=("Location",),
                links=_LINKS,
            )
        },
    ),
    Route(
        "DELETE /v1.0/flavors/{flavor_id}",
        _delete,
        service_rule("cdn:flavors:delete", ADMIN, "Delete a flavor."),
        id="deleteFlavor",
        summary="Delete a flavor that no service uses.",
        answers={HTTPStatus.NO_CONTENT: Answer("The flavor is deleted.")},
        errors=(HTTPStatus.CONFLICT,),
    ),
)
