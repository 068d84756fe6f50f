# SPDX-License-Identifier: Apache-2.0
"""Find the route of a request.

Pecan's object dispatch would look up controller attributes by names from the URL, and its
RestController lets ``?_method=`` override the method. A table lists all routes explicitly, and
finds a path with a few dictionary lookups.
"""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.request import (
    ENDPOINT,
    PROJECT_ID_IN_URL,
    ROUTE,
    ROUTE_VALUES,
    Request,
)
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import PUBLIC, Answer, Route

VERSION = "v1.0"

#: A project ID in the URL: digits, or 32 hexadecimal digits as in Keystone. Other IDs could be
#: confused with resource names.
PROJECT_SEGMENT = re.compile(r"[0-9]{1,64}|[0-9a-f]{32}")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class _Node:
    """A path segment in the table, with its child segments and its routes."""

    __slots__ = ("children", "routes", "template", "variable")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.routes: dict[str, Route] = {}
        self.template = ""


class Router:
    """The root of a Pecan application.

    Attributes:
        table: the routes by URL template and method, in the order of the ``Allow`` header. HEAD
            is answered as GET (RFC 9110, section 9.3.2); every URL has OPTIONS.

    Raises:
        ValueError: a route is declared twice, or its method is unknown.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self.table: dict[str, dict[str, Route]] = {}
        for route in routes:
            declared = self.table.setdefault(route.template, {})
            if route.method not in _METHODS or route.method in declared:
                raise ValueError(f"{route.target}: the method is unknown or declared twice")
            declared[route.method] = route
        for template, declared in self.table.items():
            methods = {name: declared[name] for name in _METHODS if name in declared}
            if "GET" in methods:
                methods["HEAD"] = methods["GET"]
            methods["OPTIONS"] = _options(template, methods)
            self.table[template] = methods
            self._add(template, methods)

    def _add(self, template: str, methods: dict[str, Route]) -> None:
        node = self._root
        for segment in _segments(template):
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.children.setdefault(segment, _Node())
        node.routes = methods
        node.template = template

    def find(self, request: Request, path: str) -> tuple[Route, list[str]]:
        """Return the route of a request, and the variable segments of the path.

        A trailing slash is ignored.

        Raises:
            RequestRefused: 404 if no resource has the path; 405 if the resource does not support
                the method, with the ``Allow`` header that section 15.5.6 of RFC 9110 requires.
        """
        segments = _segments(path)
        if len(segments) > 1 and segments[0] == VERSION and PROJECT_SEGMENT.fullmatch(segments[1]):
            request.environ[PROJECT_ID_IN_URL] = segments.pop(1)
        node, arguments = self._node(segments)
        if node is None or not node.routes:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "No resource has this path")
        request.environ[ROUTE] = node.template
        request.environ[ROUTE_VALUES] = arguments
        route = node.routes.get(request.method)
        if route is None:
            allowed = ", ".join(node.routes)
            raise RequestRefused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"This resource allows {allowed}",
                {"Allow": allowed},
            )
        request.environ[ENDPOINT] = route
        return route, arguments

    def _node(self, segments: Sequence[str]) -> tuple[_Node | None, list[str]]:
        node = self._root
        arguments: list[str] = []
        for segment in segments:
            child = node.children.get(segment)
            if child is None and segment and segment.isprintable():
                child = node.variable
                arguments.append(segment)
            if child is None:
                return None, []
            node = child
        return node, arguments


def _segments(path: str) -> list[str]:
    segments = path.split("/")[1:]
    if segments and segments[-1] == "":
        segments.pop()
    return segments


def _options(template: str, methods: dict[str, Route]) -> Route:
    """Return the route that lists the methods in ``Allow`` (RFC 9110, section 9.3.7).

    ``Accept-Patch`` has what PATCH accepts (RFC 5789, section 3.1).
    """
    headers = {"Allow": ", ".join([*methods, "OPTIONS"])}
    patch = methods.get("PATCH")
    if patch is not None and patch.body is not None:
        headers["Accept-Patch"] = ", ".join(sorted(patch.body.media_types))

    def answer(_api: object, _request: Request, *_segments: str) -> Response:
        return reply(status=HTTPStatus.NO_CONTENT, headers=headers)

    media_types = next(iter(methods.values())).media_types
    found = Answer("The supported methods.", media_types=media_types)
    return Route(
        f"OPTIONS {template}",
        answer,
        PUBLIC,
        id="",
        summary="List the supported methods.",
        answers={HTTPStatus.NO_CONTENT: found},
    )
