# SPDX-License-Identifier: Apache-2.0
"""From a path to the resource it names, by a table of URL templates.

Pecan's object dispatch would walk the attributes of controllers by whatever the client writes
into the URL, and its RestController lets ``?_method=`` override the method. A table says what
there is, and looks a path up in a few dictionary accesses.
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

#: What counts as a project id in the URL: digits, or 32 hexadecimal digits as Keystone has.
#: Nothing else, so that no project id can be mistaken for the name of a resource.
PROJECT_SEGMENT = re.compile(r"[0-9]{1,64}|[0-9a-f]{32}")

Handler = Callable[..., Any]


class _Node:
    """A segment of the table: what may follow, and what is here."""

    __slots__ = ("children", "resource", "template", "variable")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.resource: Resource | None = None
        self.template = ""


class Router:
    """The root of a Pecan application.

    Args:
        table: resources by URL template; a segment in braces stands for any text, which the
            resource's handlers get as arguments, in order.
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
        """The handler for a request, and its arguments from the path.

        A trailing slash makes no difference, HEAD is answered by the handler of GET (RFC 9110,
        section 9.3.2).

        Raises:
            RequestRefused: 404 when no resource has the path, 405 when it does not know the
                method, with the ``Allow`` that section 15.5.6 asks for.
        """
        segments = _segments(path)
        if len(segments) > 1 and segments[0] == VERSION and PROJECT_SEGMENT.fullmatch(segments[1]):
            request.environ[PROJECT_ID_IN_URL] = segments.pop(1)
        node, arguments = self._node(segments)
        if node is None or node.resource is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "There is nothing at this path")
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
