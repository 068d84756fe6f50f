# SPDX-License-Identifier: Apache-2.0
"""Entity tags, conditional requests and idempotency keys (RFC 9110, sections 8.8.3 and 13)."""

import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from poppy.common import errors
from poppy.model.services import Service
from poppy.transport.pecan.request import Request, host_url
from poppy.transport.pecan.response import Response, encode, reply

_DIGEST = 16
# A Structured Fields string (RFC 9651, section 3.3.3). Many clients omit the quotes.
_KEY = re.compile(r'"(?P<quoted>(?:[ !#-\[\]-~]|\\["\\])+)"|(?P<plain>[!#-\[\]-~]+)')
_MAX_KEY = 255


def tagged(request: Request, document: Any, revision: int | None = None) -> Response:
    """Return a document with its entity tag, or 304 if the client has it already.

    Args:
        revision: revision of the resource. It is part of the tag, so that a later revision never
            gets an earlier tag.

    Raises:
        PreconditionFailed: the tag does not match ``If-Match``.
    """
    body = encode(document)
    tag = _tag(request, body, revision)
    headers = {"ETag": f'"{tag}"'}
    if "HTTP_IF_MATCH" in request.environ and tag not in request.if_match:
        raise errors.PreconditionFailed("The document does not match If-Match")
    if "HTTP_IF_NONE_MATCH" in request.environ and tag in request.if_none_match:
        return reply(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return reply(headers=headers, body=body)


def precondition(
    request: Request, render: Callable[[Service], Any]
) -> Callable[[Service], None] | None:
    """Return a function that checks ``If-Match`` and ``If-None-Match`` before a change.

    RFC 9110, sections 13.1.1 and 13.1.2: a weak tag never satisfies If-Match, and counts as a
    strong one for If-None-Match; ``*`` matches any existing document.

    Args:
        render: returns the document that GET would return.

    Returns:
        A function that raises PreconditionFailed if a condition fails; None without conditions.
    """
    names = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
    asks, refuses = (name in request.environ for name in names)
    if not (asks or refuses):
        return None
    wanted, unwanted = request.if_match, request.if_none_match

    def check(service: Service) -> None:
        tag = _tag(request, encode(render(service)), service.revision)
        if refuses and tag in unwanted:
            raise errors.PreconditionFailed(f"Service {service.service_id} matches If-None-Match")
        if asks and tag not in wanted:
            raise errors.PreconditionFailed(
                f"Service {service.service_id} has changed since you read it"
            )

    return check


def idempotency_key(request: Request) -> str | None:
    """Return a request's ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header).

    Raises:
        InvalidRequest: the key is malformed.
    """
    text = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if text is None:
        return None
    match = _KEY.fullmatch(text.strip())
    if match is None or len(text) > _MAX_KEY:
        raise errors.InvalidRequest(
            f"The Idempotency-Key must have 1..{_MAX_KEY} printable ASCII characters"
        )
    return re.sub(r"\\(.)", r"\1", match["quoted"]) if match["quoted"] else match["plain"]


def _tag(request: Request, body: bytes, revision: int | None) -> str:
    """The same by whatever name the client calls the server: links count without their host."""
    for base in (request.base_url, host_url(request)):
        body = body.replace(b'"' + encode(base)[1:-1] + b"/", b'"/')
    digest = hashlib.sha256(body).hexdigest()[:_DIGEST]
    return digest if revision is None else f"{revision}-{digest}"
