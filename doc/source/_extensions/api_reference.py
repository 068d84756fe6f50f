# SPDX-License-Identifier: Apache-2.0
"""The directive ``api-reference``: every route, with an example, from the OpenAPI document."""

import json
from http import HTTPStatus
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.nodes import nested_parse_with_titles

from poppy.transport.pecan.controllers import v1
from poppy.transport.pecan.controllers.base import Settings
from poppy.transport.pecan.openapi import document

_TITLES = {
    "home": "Versions and home",
    "openapi.json": "This reference for programs",
}
_HEADERS = {"Location": "https://cdn.example.com/v1.0/..."}


class ApiReference(Directive):
    """Takes no arguments."""

    def run(self) -> list[nodes.Node]:
        """All of it, as sections of the page."""
        settings = Settings(max_services_per_page=20, max_body_size=65536, project_id_in_url=False)
        made = document.make(v1.routes(), settings, "https://cdn.example.com")
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList(_page(made), source=""), node)
        return node.children


def _page(made: dict[str, Any]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for template, methods in made["paths"].items():
        for method, operation in methods.items():
            lines = groups.setdefault(operation["tags"][0], [])
            lines += _operation(made, method.upper(), template, operation)
    page: list[str] = []
    for group, lines in groups.items():
        title = _TITLES.get(group, group.replace("_", " ").capitalize())
        page += [title, "-" * len(title), "", *lines]
    return page


def _operation(made: dict[str, Any], method: str, template: str, operation: Any) -> list[str]:
    title = f"{method} {template}"
    text = operation.get("description", "").replace("`", "``")
    lines = [title, "~" * len(title), "", operation["summary"], "", *text.split("\n"), ""]
    for parameter in operation["parameters"]:
        needed = "" if parameter.get("required") else ", optional"
        lines += [f"``{parameter['name']}`` ({parameter['in']}{needed})"]
        lines += [f"    {parameter['description']}{_limits(parameter['schema'])}"]
    lines += ["", "Example::", "", *_indented(_request(method, template, operation)), ""]
    lines += [*_indented(_answer(operation)), "", ".. list-table::", "   :widths: 10 90", ""]
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            answer = made["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        lines += [f"   * - {status}", f"     - {answer['description']}"]
    return [*lines, ""]


def _limits(schema: dict[str, Any]) -> str:
    """What a parameter may be, in words."""
    known = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "maxLength": "at most {} characters",
        "default": "by default {}",
    }
    said = [known[name].format(schema[name]) for name in known if name in schema]
    said += ["a UUID"] if schema.get("format") == "uuid" else []
    if "enum" in schema:
        said.append("one of " + ", ".join(map(str, schema["enum"])))
    return f" ({', '.join(said)})" if said else ""


def _request(method: str, template: str, operation: Any) -> list[str]:
    query = []
    path = template
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
        elif parameter["in"] == "query" and "example" in parameter:
            query.append(f"{parameter['name']}={parameter['example']}")
    lines = [f"{method} {path}{'?' if query else ''}{'&'.join(query)} HTTP/1.1"]
    if operation["security"]:
        lines.append("X-Auth-Token: gAAAAAB...")
    lines += [
        f"{parameter['name']}: {parameter['example']}"
        for parameter in operation["parameters"]
        if parameter["in"] == "header" and "example" in parameter
    ]
    if "requestBody" in operation:
        media_type, content = next(iter(operation["requestBody"]["content"].items()))
        lines += [f"Content-Type: {media_type}", "", *_json(content["example"])]
    return lines


def _answer(operation: Any) -> list[str]:
    status, answer = next(iter(operation["responses"].items()))
    lines = [f"HTTP/1.1 {status} {HTTPStatus(int(status)).phrase}"]
    lines += [f"{name}: {_HEADERS[name]}" for name in answer["headers"] if name in _HEADERS]
    if "content" in answer:
        media_type, content = next(iter(answer["content"].items()))
        lines += [f"Content-Type: {media_type}", "", *_json(content["example"])]
    return lines


def _json(value: Any) -> list[str]:
    return json.dumps(value, indent=2).split("\n")


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}".rstrip() for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("api-reference", ApiReference)
    return {"parallel_read_safe": True}
