# SPDX-License-Identifier: Apache-2.0
"""``/edge/v1``: what the nodes of the operator's own edge fetch and report.

A node authenticates by a token of its own. It has no project and no role, and no other client has
access.
"""

import re
from http import HTTPStatus
from typing import Any

from poppy.common import errors
from poppy.model import edge_logs, edge_schemas
from poppy.model.edge import Change, Node, Page
from poppy.model.purges import Purge
from poppy.policies.enforcer import Identity
from poppy.transport.pecan.controllers.base import API
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import IDENTITY, Request, document, integer, parameter
from poppy.transport.pecan.response import Response, encode, reply
from poppy.transport.pecan.routes import PUBLIC, Answer, Body, Parameter, Route

#: Changes on a page.
MAX_CHANGES = 500
#: Bytes of a body. A report may have a reason for each of many services.
_MAX_BODY, _MAX_REPORT = 65536, 1024 * 1024
#: Bytes of the bodies that may be larger than those of other requests, by path.
MAX_BODIES = {"/edge/v1/report": _MAX_REPORT, "/edge/v1/traffic": _MAX_REPORT}

_BEARER = re.compile(r"bearer +(?P<token>[A-Za-z0-9._~+/-]{20,100}=*)", re.IGNORECASE)


def _join(api: API, request: Request) -> Response:
    wait = api.guesses.wait(request.remote_addr)
    if wait:
        raise errors.TooManyRequests("Too many joins have failed; try again later", wait)
    body = document(request, _MAX_BODY)
    token = api.manager.edge.join(body)
    if token is None:
        api.guesses.failed(request.remote_addr)
        raise _unauthorized("The name or the token of the join is not valid")
    _remember(request, body["name"])  # type: ignore[index]
    return reply({"token": token}, HTTPStatus.CREATED)


def _changes(api: API, request: Request) -> Response:
    _authenticate(api, request)
    after, snapshot = _revision(request, "after"), _revision(request, "snapshot")
    limit = integer(request, "limit", MAX_CHANGES, MAX_CHANGES)
    if "HTTP_IF_NONE_MATCH" in request.environ:
        head = str(api.manager.edge.head())
        if head in request.if_none_match:
            return reply(status=HTTPStatus.NOT_MODIFIED, headers=_tag(head))
    page = api.manager.edge.changes(after, limit, snapshot)
    return reply(body=_render(page), headers=_tag(str(page.head)))


def _report(api: API, request: Request) -> Response:
    node = _authenticate(api, request)
    drained = api.manager.edge.report(node, document(request, _MAX_REPORT))
    if drained is None:
        raise _unknown_token()
    return reply({"drained": drained})


def _traffic(api: API, request: Request) -> Response:
    node = _authenticate(api, request)
    stored = api.manager.edge_traffic.report(node, document(request, _MAX_REPORT))
    return reply({"stored": stored})


def _logs(api: API, request: Request) -> Response:
    node = _authenticate(api, request)
    return reply({"url": api.manager.edge_logs.upload(node, document(request, _MAX_BODY))})


def _authenticate(api: API, request: Request) -> Node:
    """Return the node that sends the request.

    Raises:
        RequestRefused: 401 (RFC 6750, section 3).
    """
    match = _BEARER.fullmatch(request.environ.get("HTTP_AUTHORIZATION", ""))
    node = api.manager.edge.authenticate(match["token"]) if match else None
    if node is None:
        raise _unknown_token()
    _remember(request, node.name)
    return node


def _remember(request: Request, name: str) -> None:
    """Name the node in audit events."""
    request.environ[IDENTITY] = Identity(user_id=name)


def _unknown_token() -> RequestRefused:
    return _unauthorized("The request needs the token of a node")


def _unauthorized(message: str) -> RequestRefused:
    challenge = {"WWW-Authenticate": 'Bearer realm="poppy-edge"'}
    return RequestRefused(HTTPStatus.UNAUTHORIZED, message, challenge)


def _revision(request: Request, name: str) -> int:
    text = parameter(request, name) or "0"
    if not re.fullmatch("[0-9]{1,18}", text):
        raise errors.InvalidRequest(f"Query parameter '{name}' must be a revision")
    return int(text)


def _tag(head: str) -> dict[str, str]:
    return {"ETag": f'"{head}"'}


def _render(page: Page) -> bytes:
    changes = b",".join(_render_change(change) for change in page.changes)
    return b'{"revision": %d, "head": %d, "changes": [%s]}' % (page.revision, page.head, changes)


def _render_change(change: Change) -> bytes:
    """Return a change as JSON. A program is stored as JSON, and is not parsed again."""
    start = encode({"revision": change.revision, "service_id": change.service_id})[:-1]
    if change.purge is not None:
        return start + b', "purge": ' + encode(_purge(change.purge)) + b"}"
    if change.prewarm:
        return start + b', "prewarm": ' + encode({"urls": change.prewarm}) + b"}"
    return start + b', "program": ' + (change.program or "null").encode("ascii") + b"}"


def _purge(purge: Purge) -> dict[str, Any]:
    """Return a purge as JSON; a node of the previous release covers it by one of everything."""
    if len(purge.urls) > 1:
        return {"url": None, "hard": purge.hard, "urls": purge.urls}
    return purge.to_dict()


_CHANGE = answers.answer(
    "Change",
    {
        "revision": edge_schemas.REVISION,
        "service_id": answers.TEXT,
        "program": {"type": ["object", "null"], "description": "Null if it was withdrawn."},
        "purge": {
            "type": "object",
            "properties": {
                "url": {
                    "type": ["string", "null"],
                    "description": "Null for everything, and with another scope.",
                },
                "hard": {"type": "boolean"},
                "urls": answers.array(answers.TEXT, "Several paths."),
                "tags": answers.array(answers.TEXT),
                "prefix": answers.TEXT,
                "host": answers.TEXT,
            },
        },
        "prewarm": {
            "type": "object",
            "properties": {"urls": answers.array(answers.TEXT, "Paths to fetch.")},
        },
    },
    optional=("program", "purge", "prewarm"),
)


def _number(name: str, description: str) -> Parameter:
    return Parameter(name, description, edge_schemas.REVISION | {"default": 0}, 19)


ROUTES = (
    Route(
        "POST /edge/v1/join",
        _join,
        PUBLIC,
        id="joinEdge",
        summary="Exchange a node's token for one join for a token of its own.",
        body=Body(edge_schemas.JOIN, {"name": "node-1", "token": "nOZ2rD0cF1tB8yq5nTg6Xw"}),
        answers={
            HTTPStatus.CREATED: Answer(
                "The node's token.",
                answers.answer("Token", {"token": answers.TEXT}),
                {"token": "Yk3sV9mQ2hL7xJ4pW8aZ1e"},
            )
        },
        errors=(
            *(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
            *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
        ),
        audit=("create/token", "edge/nodes"),
    ),
    Route(
        "GET /edge/v1/changes",
        _changes,
        PUBLIC,
        id="getEdgeChanges",
        summary="List what a node of the edge must serve, in the order of the revisions.",
        parameters=(
            _number("after", "The revision that the node has reached; 0 for a snapshot."),
            _number("snapshot", "After the first page of a snapshot: the head of that page."),
            Parameter(
                "limit",
                "The maximum number of changes on a page.",
                {
                    **{"type": "integer", "minimum": 1},
                    **{"maximum": MAX_CHANGES, "default": MAX_CHANGES},
                },
            ),
            Parameter(
                "If-None-Match",
                "The head that the node knows; 304 if there is nothing after it.",
                {"type": "string"},
                place="header",
            ),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of changes.",
                answers.answer(
                    "Changes",
                    {
                        "revision": edge_schemas.REVISION,
                        "head": edge_schemas.REVISION,
                        "changes": answers.array(_CHANGE),
                    },
                ),
                {
                    "revision": 19,
                    "head": 25,
                    "changes": [
                        {"revision": 18, "service_id": answers.SERVICE_ID, "program": None},
                        {
                            "revision": 19,
                            "service_id": answers.SERVICE_ID,
                            "purge": {"url": "/a", "hard": True},
                        },
                    ],
                },
                headers=("ETag",),
            ),
            HTTPStatus.NOT_MODIFIED: Answer("Nothing has changed.", headers=("ETag",)),
        },
        errors=(HTTPStatus.NOT_FOUND, HTTPStatus.GONE),
        node=True,
    ),
    Route(
        "PUT /edge/v1/report",
        _report,
        PUBLIC,
        id="reportEdgeNode",
        summary="Report the state of a node of the edge.",
        body=Body(
            edge_schemas.REPORT,
            {
                "instance": "b1946ac9",
                "revision": 25,
                "ready": True,
                "version": "1.0",
                "started": {"agent": "2030-01-02T03:04:05+00:00"},
                "failures": {answers.SERVICE_ID: {"revision": 24, "reason": "a map is full"}},
            },
        ),
        answers={
            HTTPStatus.OK: Answer(
                "Whether the node is drained.",
                answers.answer("Orders to a node", {"drained": {"type": "boolean"}}),
                {"drained": False},
            )
        },
        errors=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        node=True,
    ),
    Route(
        "PUT /edge/v1/traffic",
        _traffic,
        PUBLIC,
        id="reportEdgeTraffic",
        summary="Report the traffic of a node of the edge in an hour so far.",
        body=Body(
            edge_schemas.TRAFFIC,
            {
                "source": "6f1ed002ab5595859014ebf0951522d9",
                "hour": "2030-01-02T03:00:00+00:00",
                "sequence": 7,
                "total": {"responses": [0, 3, 0, 1, 0], "hits": 2, "sent": 4096},
                "domains": [
                    {
                        "service_id": answers.SERVICE_ID,
                        "domain": "www.example.com",
                        "responses": [0, 3, 0, 1, 0],
                        "hits": 2,
                        "sent": 4096,
                        "countries": {
                            "DE": {"responses": [0, 2, 0, 0, 0], "hits": 1, "sent": 2048}
                        },
                    }
                ],
            },
        ),
        answers={
            HTTPStatus.OK: Answer(
                "Whether the hour is one that is stored.",
                answers.answer("Reception of traffic", {"stored": {"type": "boolean"}}),
                {"stored": True},
            )
        },
        errors=(HTTPStatus.NOT_FOUND,),
        node=True,
    ),
    Route(
        "POST /edge/v1/logs",
        _logs,
        PUBLIC,
        id="putEdgeLogs",
        summary="Get a URL to which a node of the edge can put an object with access logs.",
        body=Body(
            edge_logs.SCHEMA,
            {
                "project_id": "42",
                "service_id": answers.SERVICE_ID,
                "start": 1893553200,
                "id": "6f1ed002ab559585",
                "size": 4096,
            },
        ),
        answers={
            HTTPStatus.OK: Answer(
                "The URL for a PUT. It has a signature.",
                answers.answer("Log upload", {"url": answers.TEXT}),
                {"url": "https://s3.example.com/cdn-logs/...?X-Amz-Signature=..."},
            )
        },
        errors=(HTTPStatus.NOT_FOUND,),
        node=True,
    ),
)
