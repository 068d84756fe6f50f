# SPDX-License-Identifier: Apache-2.0
"""Check that responses match the OpenAPI document."""

import functools
import re

import jsonschema
import webtest


class Contract:
    """The OpenAPI document of an installation."""

    def __init__(self, document):
        self._document = document
        self._paths = [
            (re.compile(_pattern(template)), methods)
            for template, methods in document["paths"].items()
        ]

    def check(self, method, path, response):
        """Fail if a response is not described or does not match its description."""
        operation = self._operation(method, path)
        if operation is None:
            return
        place = f"{method} {path}: {response.status_int}"
        described = operation["responses"].get(str(response.status_int))
        assert described is not None, f"{place} is not described"
        described = self._resolve(described)
        for name, header in described["headers"].items():
            assert not header["required"] or name in response.headers, f"{place} without {name}"
        for name in ("Location", "Retry-After", "WWW-Authenticate"):
            assert name not in response.headers or name in described["headers"], f"{place} {name}"
        if method == "HEAD":
            return
        content = described.get("content", {})
        if not content:
            assert response.body == b"", f"{place} has a body"
            return
        assert response.content_type in content, f"{place} is {response.content_type}"
        schema = self._resolve(content[response.content_type]["schema"])
        _validator(_Identity(schema)).validate(response.json)

    def _operation(self, method, path):
        """Return the operation of a path and method, or None."""
        method = "GET" if method == "HEAD" else method
        # Remove the project that may follow the version.
        path = re.sub(r"^/v1\.0/(?:[0-9]{1,64}|[0-9a-f]{32})(?=/|$)", "/v1.0", path)
        path = path.rstrip("/") or "/"
        for pattern, methods in self._paths:
            if pattern.fullmatch(path):
                return methods.get(method.lower())
        return None

    def _resolve(self, value):
        if "$ref" not in value:
            return value
        found = self._document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return found


class CheckedApp(webtest.TestApp):
    """A client that checks each response."""

    def __init__(self, application, **options):
        super().__init__(application, **options)
        self._contract = None
        self._contract = Contract(self.get("/v1.0/openapi.json").json)

    def do_request(self, req, status=None, expect_errors=None):
        response = super().do_request(req, status, expect_errors)
        if self._contract is not None:
            self._contract.check(req.method, req.path_info, response)
        return response


class _Identity:
    """A schema as a cache key by identity, since schemas are few and large."""

    def __init__(self, schema):
        self.schema = schema

    def __hash__(self):
        return id(self.schema)

    def __eq__(self, other):
        return self.schema is other.schema


@functools.cache
def _validator(key):
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(key.schema, format_checker=checker)


def _pattern(template):
    return "".join(
        "[^/]+" if part.startswith("{") else re.escape(part)
        for part in re.split(r"({\w+})", template)
    )
