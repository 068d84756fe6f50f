# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is valid and complete, and uses the schemas that validate requests."""

import json
from http import HTTPStatus

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from poppy.model import schemas, validation
from poppy.transport.pecan.controllers import v1
from poppy.transport.pecan.controllers.base import Settings
from poppy.transport.pecan.openapi import document

SETTINGS = Settings(max_services_per_page=20, max_body_size=65536, project_id_in_url=False)


def made():
    return document.make(v1.routes(), SETTINGS, "https://cdn.example.com")


def operations():
    """Return (name, operation) of each operation."""
    return [
        (f"{method.upper()} {template}", operation)
        for template, methods in made()["paths"].items()
        for method, operation in methods.items()
    ]


def contents():
    """Yield (name, schema, example) of each request body, response body and parameter."""
    for name, operation in operations():
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {media_type}", content["schema"], content["example"]
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                yield f"{name} {status}", content["schema"], content["example"]
        for parameter in operation["parameters"]:
            if "example" in parameter:
                place = f"{name} {parameter['name']}"
                yield place, parameter["schema"], parameter["example"]


class TestDocument:
    def test_is_valid_openapi_3_1(self):
        written = json.loads(json.dumps(made()))
        errors = [error.message for error in OpenAPIV31SpecValidator(written).iter_errors()]
        assert errors == []
        assert written["openapi"].startswith("3.1.")

    def test_describes_every_route_and_nothing_else(self):
        targets = sorted(route.target for route in v1.routes())
        assert targets == sorted(name for name, _ in operations())

    def test_every_route_has_a_summary(self):
        assert [name for name, operation in operations() if not operation["summary"]] == []

    def test_operation_ids_are_unique(self):
        names = [operation["operationId"] for _, operation in operations()]
        assert len(set(names)) == len(names)

    def test_links_name_existing_operations_and_parameters(self):
        known = {operation["operationId"]: operation for _, operation in operations()}
        followed = [
            (link["operationId"], name)
            for _, operation in operations()
            for answer in operation["responses"].values()
            for link in answer.get("links", {}).values()
            for name in link["parameters"]
        ]
        assert followed
        for operation, name in followed:
            assert name in [parameter["name"] for parameter in known[operation]["parameters"]]

    def test_requires_a_token_where_the_policy_has_a_rule(self):
        paths = made()["paths"]
        for route in v1.routes():
            operation = paths[route.template][route.method.lower()]
            needs_token = route.rule is not None or route.node
            assert bool(operation["security"]) is needs_token
            assert ("401" in operation["responses"]) is (
                needs_token or HTTPStatus.UNAUTHORIZED in route.errors
            )
            assert route.rule is None or route.rule.name in operation["description"]

    def test_uses_the_schemas_that_validate_requests(self):
        paths = made()["paths"]
        for method, template, schema in [
            ("post", "/v1.0/services", schemas.SERVICE),
            ("patch", "/v1.0/services/{service_id}", schemas.PATCH),
            ("post", "/v1.0/flavors", schemas.FLAVOR),
        ]:
            for content in paths[template][method]["requestBody"]["content"].values():
                assert content["schema"] is schema

    def test_every_body_has_an_example(self):
        for name, operation in operations():
            bodies = [operation["requestBody"]] if "requestBody" in operation else []
            for body in [*bodies, *operation["responses"].values()]:
                for content in body.get("content", {}).values():
                    assert "example" in content, name

    @pytest.mark.parametrize(
        ("schema", "example"),
        [pytest.param(schema, example, id=place) for place, schema, example in contents()],
    )
    def test_examples_match_their_schemas(self, schema, example):
        jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        ).validate(example)

    def test_service_example_is_valid_and_complete(self):
        paths = made()["paths"]
        body = paths["/v1.0/services"]["post"]["requestBody"]["content"]["application/json"]
        spec = validation.service(body["example"], 86400)
        assert spec.to_dict() == body["example"], "no defaults were filled in"


class TestServed:
    def test_without_a_token_for_the_requested_host(self, app):
        app.extra_environ = {}
        answer = app.get("/v1.0/openapi.json", headers={"Host": "cdn.example.com"})
        assert answer.content_type == "application/json"
        assert answer.json["servers"] == [{"url": "http://cdn.example.com"}]
        assert list(answer.json["paths"]) == list(made()["paths"])

    def test_with_the_configured_limits(self, make):
        app = make(limits__max_services_per_page=7)
        parameters = app.get("/v1.0/openapi.json").json["paths"]["/v1.0/services"]["get"]
        assert parameters["parameters"][0]["schema"]["maximum"] == 7
