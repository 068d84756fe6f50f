# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services/{id}/assets``: the cached content of services."""

from http import HTTPStatus

from poppy.common import errors
from poppy.model import purges, schema_parts, validation
from poppy.model.purges import Purge
from poppy.policies.base import MEMBER, project_rule
from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import API, accepted, uuid
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import Request, boolean, parameter
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import Answer, Body, Parameter, Route


def _purge(api: API, request: Request, service_id: str) -> Response:
    service_id = uuid(service_id, "service id")
    purge = _requested(request, api.settings.purge_without_query_is_all)
    api.manager.services.purge(request.project_id, service_id, purge, request.request_id)
    return accepted(request, service_id)


def _requested(request: Request, nothing_is_all: bool) -> Purge:
    """Return the purge that the query asks for.

    Args:
        nothing_is_all: purge everything if the request says nothing about what to purge.

    Raises:
        InvalidRequest: the query says nothing or several things, or has an invalid value.
    """
    hard = boolean(request, "hard", default=True)
    urls, tags = (request.GET.getall(name) for name in ("url", "tag"))
    prefix, host = parameter(request, "prefix"), parameter(request, "host")
    given = [bool(urls), bool(tags), prefix is not None, host is not None]
    if nothing_is_all and not any(given) and parameter(request, "all") is None:
        return Purge(None, hard)
    if [*given, boolean(request, "all", default=False)].count(True) != 1:
        raise errors.InvalidRequest(
            "Exactly one of 'url', 'tag', 'prefix', 'host' and 'all=true' must be given"
        )
    if host == "":
        raise errors.InvalidRequest("The host must be a domain of the service")
    return purges.requested(hard, urls, tags, prefix, host)


def _prewarm(api: API, request: Request, service_id: str) -> Response:
    service_id = uuid(service_id, "service id")
    body = validation.validate(_PREWARM, api.body(request))
    paths = tuple(dict.fromkeys(purges.path(url, "url") for url in body["urls"]))
    operation_id = api.manager.assets.prewarm(
        request.project_id, service_id, paths, request.request_id
    )
    service = views.service_href(service_id, request.base_url)
    location = f"{service}/operations/{operation_id}"
    return reply(status=HTTPStatus.ACCEPTED, headers={"Location": location})


_PREWARM = schema_parts.record(
    "Prewarm",
    {
        "urls": {
            "type": "array",
            "description": "Paths, perhaps with queries; each is fetched for every domain.",
            "minItems": 1,
            "maxItems": purges.MAX_TARGETS,
            "items": schema_parts.text("A path.", 1, purges.MAX_URL),
        }
    },
    ("urls",),
)


def _several(length: int) -> dict[str, object]:
    text = {"type": "string", "minLength": 1, "maxLength": length}
    return {"type": "array", "maxItems": purges.MAX_TARGETS, "items": text}


ROUTES = (
    Route(
        "DELETE /v1.0/services/{service_id}/assets",
        _purge,
        project_rule("cdn:services:purge", MEMBER, "Purge cached content of a service."),
        id="purgeService",
        summary="Purge cached content of a deployed service.",
        description="Exactly one of url, tag, prefix, host and all=true is required, unless the "
        "operator configured that none means all=true. 400 if a provider of the service's flavor "
        "does not support it. Allowed while an update waits or after it failed.",
        parameters=(
            Parameter(
                "url",
                "A path; * matches any characters. May be repeated.",
                _several(purges.MAX_URL),
                example=["/images/logo.png"],
            ),
            Parameter(
                "tag",
                "A tag that the origin gives responses in Cache-Tag or Surrogate-Key. May be "
                "repeated.",
                _several(purges.MAX_TAG),
                example=["product-42"],
            ),
            Parameter(
                "prefix",
                "The path of a directory, which ends with a slash: everything below it.",
                {"type": "string", "minLength": 1, "maxLength": purges.MAX_PREFIX},
                example="/images/",
            ),
            Parameter(
                "host",
                "A domain of the service: everything of it.",
                answers.TEXT | {"minLength": 1},
            ),
            Parameter("all", "Purge all content of the service.", {"type": "boolean"}),
            Parameter(
                "hard",
                "false: revalidate the content instead of evicting it, if the provider supports "
                "this.",
                {"type": "boolean", "default": True},
            ),
        ),
        answers={HTTPStatus.ACCEPTED: Answer("The purge has started.", headers=("Location",))},
        errors=(HTTPStatus.CONFLICT,),
    ),
    Route(
        "POST /v1.0/services/{service_id}/assets/prewarm",
        _prewarm,
        project_rule("cdn:services:prewarm", MEMBER, "Fetch content of a service into caches."),
        id="prewarmService",
        summary="Let the providers of a deployed service fetch content.",
        description="400 if a provider of the service's flavor does not support it. The operation "
        "succeeds even if content can't be fetched; its steps say what that is.",
        body=Body(_PREWARM, {"urls": ["/images/logo.png"]}),
        answers={
            HTTPStatus.ACCEPTED: Answer(
                "The operation at Location has started.", headers=("Location",)
            )
        },
        errors=(HTTPStatus.CONFLICT,),
    ),
)
