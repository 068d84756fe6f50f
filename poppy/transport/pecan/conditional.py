# SPDX-License-Identifier: Apache-2.0
"""Entity tags and conditional requests (RFC 9110, sections 8.8.3 and 13)."""

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from poppy.common import errors
from poppy.model.services import Service
from poppy.transport.pecan.request import Request, host_url
from poppy.transport.pecan.response import Response, encode, reply

_DIGEST = 16


def reply_tagged(request: Request, document: Any, revision: int | None = None) -> Response:
    """Return a document with its entity tag, or 304 when the client's copy is current.

    Args:
        revision: the revision of the resource, so that no two revisions share a tag.

    Raises:
        PreconditionFailed: the tag does not satisfy ``If-Match``.
    """
    body = encode(document)
    tag = _tag(request, body, revision)
    headers = {"ETag": f'"{tag}"'}
    if "HTTP_IF_MATCH" in request.environ and tag not in request.if_match:
        raise errors.PreconditionFailed("The resource does not match the If-Match of the request")
    if "HTTP_IF_NONE_MATCH" in request.environ and tag in request.if_none_match:
        return reply(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return reply(headers=headers, body=body)


def precondition(
    request: Request, render: Callable[[Service], Any]
) -> Callable[[Service], None] | None:
    """Return the ``If-Match`` and ``If-None-Match`` of a request as a check of a service.

    RFC 9110, sections 13.1.1 and 13.1.2: a weak tag never satisfies If-Match, but counts like
    a strong one in If-None-Match; ``*`` matches any existing resource.

    Args:
        render: returns the document that GET would return.

    Returns:
        A function that raises PreconditionFailed when the service does not meet the conditions;
        None if the request has none.
    """
    names = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
    asks, refuses = (name in request.environ for name in names)
    if not (asks or refuses):
        return None
    wanted, unwanted = request.if_match, request.if_none_match

    def check(service: Service) -> None:
        tag = _tag(request, encode(render(service)), service.revision)
        if refuses and tag in unwanted:
            raise errors.PreconditionFailed(
                f"Service {service.service_id} matches the If-None-Match of the request"
            )
        if asks and tag not in wanted:
            raise errors.PreconditionFailed(
                f"Service {service.service_id} has changed since you read it"
            )

    return check


def _tag(request: Request, body: bytes, revision: int | None) -> str:
    """Return the tag of a body.

    Links count without their host, so the tag does not depend on the name that the client uses
    for the server.
    """
    for base in (request.base_url, host_url(request)):
        body = body.replace(b'"' + encode(base)[1:-1] + b"/", b'"/')
    digest = hashlib.sha256(body).hexdigest()[:_DIGEST]
    return digest if revision is None else f"{revision}-{digest}"
