# SPDX-License-Identifier: Apache-2.0
"""The one table from errors to HTTP, and how an error looks as a document."""

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from poppy.common import errors

#: Status by error class; the entry of the nearest base class counts (RFC 9110, section 15).
STATUS: Mapping[type[errors.PoppyError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    # As draft-ietf-httpapi-idempotency-key-header has it (section 2.7).
    errors.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LimitReached: HTTPStatus.FORBIDDEN,
    # RFC 6585, section 4.
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.InUse: HTTPStatus.CONFLICT,
    errors.Changed: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PoppyError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

#: What a client learns about a fault of ours; the log has the rest under the request id.
FAULT = "The request could not be answered because of an internal error."


class RequestRefused(Exception):
    """A request that HTTP itself rules out, whatever the resource would say.

    Attributes:
        status: the answer's status.
        headers: header fields that belong to that status, such as ``Allow``.
    """

    def __init__(
        self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: errors.PoppyError) -> HTTPStatus:
    """The status of the nearest class in the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def headers_of(error: errors.PoppyError) -> dict[str, str]:
    """Header fields that tell the client what to do about it (RFC 9110, section 10.2.3)."""
    if isinstance(error, errors.Unavailable | errors.TooManyRequests):
        return {"Retry-After": str(error.retry_after)}
    return {}


def document(message: str, request_id: str | None) -> dict[str, Any]:
    """The body of every error; markup in the message, which may quote the client, is escaped."""
    return {"message": html.escape(message, quote=False), "request_id": request_id}


def document_of(error: errors.PoppyError, request_id: str | None) -> dict[str, Any]:
    """The body for an error of Poppy's; what happened inside stays inside."""
    if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        return document(FAULT, request_id)
    if isinstance(error, errors.SchemaInvalid):
        messages = [{"message": html.escape(text, quote=False)} for text in error.messages]
        return {"message": {"errors": messages}, "request_id": request_id}
    return document(str(error), request_id)
