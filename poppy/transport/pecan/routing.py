# SPDX-License-Identifier: Apache-2.0
"""Find the resource of a path in a table of URL templates.

Pecan's object dispatch would look up controller attributes by names from the URL, and its
RestController lets ``?_method=`` override the method. A table lists all routes explicitly, and
finds a path with a few dictionary lookups.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.request import PROJECT_ID_IN_URL, ROUTE, ROUTE_VALUES, Request

if TYPE_CHECKING:
    from poppy.transport.pecan.controllers.base import Resource

VERSION = "v1.0"

#: A project ID in the URL: digits, or 32 hexadecimal digits as in Keystone. Other IDs could be
#: confused with resource names.
PROJECT_SEGMENT = re.compile(r"[0-9]{1,64}|[0-9a-f]{32}")

Handler = Callable[..., Any]


class _Node:
    """A path segment in the table, with its child segments and its resource."""

    __slots__ = ("children", "resource", "template", "variable")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.resource: Resource | None = None
        self.template = ""


class Router:
    """The root of a Pecan application.

    Args:
        table: resources by URL template. A segment in braces matches any text, and is passed to
            the resource's handlers as an argument, in order.
    """

    def __init__(self, table: Mapping[str, "Resource"]) -> None:
        self._root = _Node()
        for template, resource in table.items():
            node = self._root
            for segment in _segments(template):
                if segment.startswith("{"):
                    node.variable = node.variable or _Node()
                    node = node.variable
                else:
                    node = node.children.setdefault(segment, _Node())
            node.resource = resource
            node.template = template

    def find(self, request: Request, path: str) -> tuple[Handler, list[str]]:
        """Return the handler for a request, and its arguments from the path.

        A trailing slash is ignored. HEAD is answered as GET (RFC 9110, section 9.3.2).

        Raises:
            RequestRefused: 404 if no resource has the path; 405 if the resource does not support
                the method, with the ``Allow`` header that section 15.5.6 requires.
        """
        segments = _segments(path)
        if len(segments) > 1 and segments[0] == VERSION and PROJECT_SEGMENT.fullmatch(segments[1]):
            request.environ[PROJECT_ID_IN_URL] = segments.pop(1)
        node, arguments = self._node(segments)
        if node is None or node.resource is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "No resource has this path")
        request.environ[ROUTE] = node.template
        request.environ[ROUTE_VALUES] = arguments
        resource = node.resource
        handler = resource.handlers.get(request.method)
        if handler is None:
            allowed = ", ".join(resource.handlers)
            raise RequestRefused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"This resource allows {allowed}",
                {"Allow": allowed},
            )
        return handler, arguments

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
