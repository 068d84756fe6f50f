# SPDX-License-Identifier: Apache-2.0
"""Responses: a JSON document or an empty body."""

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
    """Encode a document as JSON in ASCII."""
    return _ENCODER.encode(document).encode("ascii")


def reply(
    document: Any = None,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    content_type: str = JSON,
    body: bytes = b"",
) -> Response:
    """Return a response.

    Args:
        document: the document to encode as the body; None for none.
        body: the body when it is already encoded.
    """
    fields = list((headers or {}).items())
    if document is not None:
        body = encode(document)
    if body:
        fields.append(("Content-Type", content_type))
    if status not in _BODILESS:
        fields.append(("Content-Length", str(len(body))))
    return Response(status=f"{status.value} {status.phrase}", headerlist=fields, app_iter=[body])
