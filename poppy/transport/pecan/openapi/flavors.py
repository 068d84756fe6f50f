# SPDX-License-Identifier: Apache-2.0
"""Descriptions of flavors."""

from http import HTTPStatus

from poppy.model import schemas
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.operation import Answer, Body, Link, Operation, tagged

_ONE = {"flavor_id": "$response.body#/id"}
_LINKS = {
    "flavor": Link("getFlavor", _ONE),
    "delete": Link("deleteFlavor", _ONE),
}

OPERATIONS = {
    "GET /v1.0/flavors": tagged(
        Operation(
            id="listFlavors",
            summary="List the flavors.",
            answers={
                HTTPStatus.OK: Answer(
                    "All flavors.", answers.FLAVORS, {"flavors": [answers.FLAVOR_EXAMPLE]}
                )
            },
        )
    ),
    "POST /v1.0/flavors": Operation(
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
    "GET /v1.0/flavors/{flavor_id}": tagged(
        Operation(
            id="getFlavor",
            summary="Show a flavor.",
            answers={
                HTTPStatus.OK: Answer(
                    "The flavor.", answers.FLAVOR, answers.FLAVOR_EXAMPLE, links=_LINKS
                )
            },
        )
    ),
    "DELETE /v1.0/flavors/{flavor_id}": Operation(
        id="deleteFlavor",
        summary="Delete a flavor that no service uses.",
        answers={HTTPStatus.NO_CONTENT: Answer("The flavor is deleted.")},
        errors=(HTTPStatus.CONFLICT,),
    ),
}
