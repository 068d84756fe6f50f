# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the extension's routes."""

from http import HTTPStatus
from typing import Any

from poppy.extensions.akamai import schemas
from poppy.model.schemas import Schema
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.openapi.operation import Answer, Body, Operation

_DOMAIN = {
    "domain_name": "www.example.com",
    "project_id": answers.PROJECT_ID,
    "flavor_id": "standard",
}
_ENTRIES: Schema = answers.array({"type": "object"}, "Entries of the list.")
_OUTCOME = answers.answer("Outcome", {"sent": _ENTRIES, "ignored": _ENTRIES})
_OUTCOME_EXAMPLE = {
    "sent": [_DOMAIN],
    "ignored": [
        {
            **_DOMAIN,
            "domain_name": "b.example.com",
            "error_message": "No service has b.example.com any more",
        }
    ],
}


def _queue(name: str, what: str, schema: Schema, entry: dict[str, Any]) -> dict[str, Operation]:
    """Describe GET and PUT of a list."""
    return {
        "GET": Operation(
            id=f"get{name}",
            summary=f"Show the list of {what}.",
            answers={HTTPStatus.OK: Answer("The list.", schema, [entry])},
        ),
        "PUT": Operation(
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
    }


def _config(kind: str, schema: Schema, example: dict[str, Any]) -> dict[str, Operation]:
    """Describe GET and POST of a certificate's settings."""
    settings: Schema = {"type": "object", "title": f"{kind} settings"}
    return {
        "GET": Operation(
            id=f"get{kind}Config",
            summary=f"Show the settings of a {kind.upper()} certificate.",
            answers={HTTPStatus.OK: Answer("The settings.", settings, example)},
        ),
        "POST": Operation(
            id=f"set{kind}Config",
            summary=f"Change the settings of a {kind.upper()} certificate.",
            body=Body(schema, example),
            answers={HTTPStatus.ACCEPTED: Answer("The new settings.", settings, example)},
        ),
    }


OPERATIONS: dict[str, dict[str, Operation]] = {
    "/service": {
        "POST": Operation(
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
        )
    },
    "/background_job": {
        "POST": Operation(
            id="runJob",
            summary="Run a background job over the list of domains with certificates to check.",
            body=Body(
                {"oneOf": [schemas.CHECK, schemas.UPDATE]},
                {"job_type": "akamai_check_and_update_cert_status"},
            ),
            answers={
                HTTPStatus.ACCEPTED: Answer(
                    "The domains that were submitted, and those that were ignored.",
                    _OUTCOME,
                    _OUTCOME_EXAMPLE,
                )
            },
        )
    },
    "/background_job/san_mapping": _queue(
        "SanMapping",
        "domains with certificates to check",
        schemas.SAN_MAPPING,
        {**_DOMAIN, "cert_type": "san"},
    ),
    "/ssl_certificate/retry_list": {
        **_queue(
            "RetryList",
            "domains to reorder certificates for",
            schemas.RETRY_LIST,
            _DOMAIN,
        ),
        "POST": Operation(
            id="retryCertificates",
            summary="Reorder the certificates of the retry list.",
            answers={
                HTTPStatus.ACCEPTED: Answer(
                    "The domains that were submitted, and those that were ignored.",
                    _OUTCOME,
                    _OUTCOME_EXAMPLE,
                )
            },
        ),
    },
    "/ssl_certificate/config/{name}": _config(
        "San",
        {"anyOf": [schemas.SAN_CONFIG, schemas.HOSTNAME_LIMIT]},
        {"spsId": 1234, "enabled": True},
    ),
    "/ssl_certificate/sni_config/{name}": _config(
        "Sni", schemas.SNI_CONFIG, {"enrollmentId": 1234, "enabled": True}
    ),
}
