# SPDX-License-Identifier: Apache-2.0
"""Validation by an OpenAPI document, with the server's own schema in it."""

import pytest

from poppy.model import schemas
from tests.unit.model.documents import FULL, MINIMAL

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")

from poppyclient import schema  # noqa: E402


def description(body, **components):
    content = {"application/json": {"schema": body}}
    return {
        "openapi": "3.1.1",
        "paths": {"/v1.0/services": {"post": {"requestBody": {"content": content}}}},
        "components": components,
    }


@pytest.mark.parametrize(
    "openapi",
    [
        description(schemas.SERVICE),
        description({"$ref": "#/components/schemas/S"}, schemas={"S": schemas.SERVICE}),
    ],
    ids=["in place", "referenced"],
)
def test_the_server_says_what_a_service_is(openapi):
    assert schema.breaches(openapi, MINIMAL) == []
    assert schema.breaches(openapi, FULL) == []
    wrong = {**MINIMAL, "domains": [{"domain": "www.example.com", "protocol": "ftp"}]}
    (text,) = schema.breaches(openapi, wrong)
    assert text.startswith("[domains][0][protocol]-'ftp' is not one of")
    assert len(schema.breaches(openapi, {"cacheing": []})) == 5


@pytest.mark.parametrize("openapi", [{}, {"paths": []}, {"paths": {"/v1.0/services": {}}}])
def test_a_description_without_services_says_nothing(openapi):
    assert schema.breaches(openapi, MINIMAL) is None
