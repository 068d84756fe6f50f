# SPDX-License-Identifier: Apache-2.0
"""Map errors to HTTP status codes, headers and response bodies."""

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from poppy.common import errors

#: Status by error class; the nearest base class applies (RFC 9110, section 15).
STATUS: Mapping[type[errors.PoppyError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    # draft-ietf-httpapi-idempotency-key-header, section 2.7.
    errors.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotLoaded: HTTPStatus.CONFLICT,
    errors.LimitReached: HTTPStatus.FORBIDDEN,
    # RFC 6585, section 4.
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Gone: HTTPStatus.GONE,
    errors.InUse: HTTPStatus.CONFLICT,
    errors.Changed: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PoppyError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

#: The message for an internal error. The log has the details under the request ID.
FAULT = "The request could not be answered because of an internal error."


class RequestRefused(Exception):
    """A request that is refused at the HTTP level, before it reaches the resource.

    Attributes:
        status: the status of the response.
        headers: headers that the status requires, such as ``Allow``.
    """

    def __init__(
        self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: errors.PoppyError) -> HTTPStatus:
    """Return the status of the error's nearest class in the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def headers_of(error: errors.PoppyError) -> dict[str, str]:
    """Return ``Retry-After`` for a temporary error (RFC 9110, section 10.2.3)."""
    if isinstance(error, errors.Unavailable | errors.TooManyRequests):
        return {"Retry-After": str(error.retry_after)}
    return {}


def document(message: str, request_id: str | None) -> dict[str, Any]:
    """Return an error body. The message may quote the client, so markup is escaped."""
    return {"message": html.escape(message, quote=False), "request_id": request_id}


def document_of(error: errors.PoppyError, request_id: str | None) -> dict[str, Any]:
    """Return the body for a Poppy error, without the details of internal errors."""
    if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        return document(FAULT, request_id)
    if isinstance(error, errors.SchemaInvalid):
        messages = [{"message": html.escape(text, quote=False)} for text in error.messages]
        return {"message": {"errors": messages}, "request_id": request_id}
    return document(str(error), request_id)
