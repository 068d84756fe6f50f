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
            summary="What services can choose from.",
            answers={
                HTTPStatus.OK: Answer(
                    "All flavors.", answers.FLAVORS, {"flavors": [answers.FLAVOR_EXAMPLE]}
                )
            },
        )
    ),
    "POST /v1.0/flavors": Operation(
        id="createFlavor",
        summary="Define a flavor: which providers deliver the services that choose it.",
        body=Body(schemas.FLAVOR, answers.FLAVOR_REQUEST_EXAMPLE),
        answers={
            HTTPStatus.CREATED: Answer(
                "The flavor. 400 when its id is taken, or a provider is not loaded.",
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
            summary="One flavor.",
            answers={
                HTTPStatus.OK: Answer(
                    "The flavor.", answers.FLAVOR, answers.FLAVOR_EXAMPLE, links=_LINKS
                )
            },
        )
    ),
    "DELETE /v1.0/flavors/{flavor_id}": Operation(
        id="deleteFlavor",
        summary="Remove a flavor that no service uses.",
        answers={HTTPStatus.NO_CONTENT: Answer("It is gone.")},
        errors=(HTTPStatus.CONFLICT,),
    ),
}
