# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/provider/akamai``: lists, settings and jobs of the Akamai driver."""

from http import HTTPStatus
from typing import Any

from poppy.extensions.akamai import schemas
from poppy.extensions.akamai.manager import RETRY_LIST, SAN_MAPPING, AkamaiManager
from poppy.model.schema_parts import Schema
from poppy.policies.base import ADMIN, AUDITOR, service_rule
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import Answer, Body, Route


def _akamai(api: API) -> AkamaiManager:
    found: AkamaiManager = api.manager.extensions["akamai"].manager
    return found


def _migrate(api: API, request: Request) -> Response:
    _akamai(api).migrate(api.body(request), request.request_id)
    return reply(status=HTTPStatus.ACCEPTED)


def _run(api: API, request: Request) -> Response:
    sent, ignored = _akamai(api).run(api.body(request), request.request_id)
    return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


def _retry(api: API, request: Request) -> Response:
    sent, ignored = _akamai(api).retry(request.request_id)
    return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


_DOMAIN = {
    "domain_name": "www.example.com",
    "project_id": answers.PROJECT_ID,
    "flavor_id": "standard",
}
_ENTRIES: Schema = answers.array({"type": "object"}, "Entries of the list.")
_OUTCOME = {
    HTTPStatus.ACCEPTED: Answer(
        "The domains that were submitted, and those that were ignored.",
        answers.answer("Outcome", {"sent": _ENTRIES, "ignored": _ENTRIES}),
        {
            "sent": [_DOMAIN],
            "ignored": [
                {
                    **_DOMAIN,
                    "domain_name": "b.example.com",
                    "error_message": "No service has b.example.com any more",
                }
            ],
        },
    )
}

_GET_QUEUE = service_rule(
    "cdn:admin_akamai:get_queue", AUDITOR, "Show the queues of domains for background jobs."
)
_UPDATE_QUEUE = service_rule(
    "cdn:admin_akamai:update_queue", ADMIN, "Replace the queues of domains for background jobs."
)
_GET_CONFIG = service_rule(
    "cdn:admin_akamai:get_config", AUDITOR, "Show the settings of certificates."
)
_UPDATE_CONFIG = service_rule(
    "cdn:admin_akamai:update_config", ADMIN, "Change the settings of certificates."
)


def _queue(
    url: str, queue: str, name: str, what: str, schema: Schema, entry: dict[str, Any]
) -> tuple[Route, Route]:
    """Return the routes that read and replace a list of domains.

    Args:
        queue: its name in the manager.
    """

    def get(api: API, request: Request) -> Response:
        return reply(_akamai(api).queue(queue))

    def put(api: API, request: Request) -> Response:
        replaced, deleted = _akamai(api).put_queue(queue, api.body(request))
        return reply({"queue": replaced, "deleted": deleted})

    return (
        Route(
            f"GET {url}",
            get,
            _GET_QUEUE,
            id=f"get{name}",
            summary=f"Show the list of {what}.",
            answers={HTTPStatus.OK: Answer("The list.", schema, [entry])},
        ),
        Route(
            f"PUT {url}",
            put,
            _UPDATE_QUEUE,
            id=f"put{name}",
            summary=f"Replace the list of {what}.",
            body=Body(schema, [entry]),
            answers={
                HTTPStatus.OK: Answer(
                    "The new list, and the entries that were removed.",
                    answers.answer("Replaced list", {"queue": schema, "deleted": _ENTRIES}),
                    {"queue": [entry], "deleted": []},
                )
            },
        ),
    )


def _config(
    url: str, cert_type: str, schema: Schema, example: dict[str, Any]
) -> tuple[Route, Route]:
    """Return the routes that read and change the settings of a certificate."""

    def get(api: API, request: Request, name: str) -> Response:
        return reply(_akamai(api).config(cert_type, name))

    def post(api: API, request: Request, name: str) -> Response:
        changed = _akamai(api).put_config(cert_type, name, api.body(request))
        return reply(changed, HTTPStatus.ACCEPTED)

    kind = cert_type.capitalize()
    settings: Schema = {"type": "object", "title": f"{kind} settings"}
    return (
        Route(
            f"GET {url}",
            get,
            _GET_CONFIG,
            id=f"get{kind}Config",
            summary=f"Show the settings of a {kind.upper()} certificate.",
            answers={HTTPStatus.OK: Answer("The settings.", settings, example)},
        ),
        Route(
            f"POST {url}",
            post,
            _UPDATE_CONFIG,
            id=f"set{kind}Config",
            summary=f"Change the settings of a {kind.upper()} certificate.",
            body=Body(schema, example),
            answers={HTTPStatus.ACCEPTED: Answer("The new settings.", settings, example)},
        ),
    )


ROUTES = (
    Route(
        "POST /service",
        _migrate,
        service_rule("cdn:admin_akamai:migrate", ADMIN, "Move a domain to another certificate."),
        id="migrateDomain",
        summary="Move a domain to another certificate's edge hostname.",
        description="The suffix .edgekey.net is added if it is missing.",
        body=Body(
            schemas.MIGRATION,
            {
                "project_id": answers.PROJECT_ID,
                "service_id": answers.SERVICE_ID,
                "domain_name": "www.example.com",
                "new_cert": "san2.example.com.edgekey.net",
            },
        ),
        answers={HTTPStatus.ACCEPTED: Answer("The move is in progress.")},
        errors=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
    Route(
        "POST /background_job",
        _run,
        service_rule("cdn:admin_akamai:run", ADMIN, "Run a background job."),
        id="runJob",
        summary="Run a background job over the list of domains with certificates to check.",
        body=Body(
            {"oneOf": [schemas.CHECK, schemas.UPDATE]},
            {"job_type": "akamai_check_and_update_cert_status"},
        ),
        answers=_OUTCOME,
    ),
    *_queue(
        "/background_job/san_mapping",
        SAN_MAPPING,
        "SanMapping",
        "domains with certificates to check",
        schemas.SAN_MAPPING,
        {**_DOMAIN, "cert_type": "san"},
    ),
    *_queue(
        "/ssl_certificate/retry_list",
        RETRY_LIST,
        "RetryList",
        "domains to reorder certificates for",
        schemas.RETRY_LIST,
        _DOMAIN,
    ),
    Route(
        "POST /ssl_certificate/retry_list",
        _retry,
        service_rule("cdn:admin_akamai:retry", ADMIN, "Order certificates again."),
        id="retryCertificates",
        summary="Reorder the certificates of the retry list.",
        answers=_OUTCOME,
    ),
    *_config(
        "/ssl_certificate/config/{name}",
        "san",
        {"anyOf": [schemas.SAN_CONFIG, schemas.HOSTNAME_LIMIT]},
        {"spsId": 1234, "enabled": True},
    ),
    *_config(
        "/ssl_certificate/sni_config/{name}",
        "sni",
        schemas.SNI_CONFIG,
        {"enrollmentId": 1234, "enabled": True},
    ),
)
