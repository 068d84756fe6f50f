# SPDX-License-Identifier: Apache-2.0
"""Making responses: a JSON document, or nothing."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import webob

from poppy.transport.pecan.request import JSON

_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_ENCODER = json.JSONEncoder(separators=(", ", ": "), check_circular=False)


class Response(webob.Response):  # type: ignore[misc]
    """A response without a body has no content type."""

    default_content_type = None


def encode(document: Any) -> bytes:
    """JSON text in ASCII."""
    return _ENCODER.encode(document).encode("ascii")


def reply(
    document: Any = None,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    content_type: str = JSON,
    body: bytes = b"",
) -> Response:
    """A response.

    Args:
        document: what the body says; None for no body.
        body: of a document that is encoded already.
    """
    fields = list((headers or {}).items())
    if document is not None:
        body = encode(document)
    if body:
        fields.append(("Content-Type", content_type))
    if status not in _BODILESS:
        fields.append(("Content-Length", str(len(body))))
    return Response(status=f"{status.value} {status.phrase}", headerlist=fields, app_iter=[body])
