# SPDX-License-Identifier: Apache-2.0
"""The client validates documents with the schema that the server publishes."""

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
def test_documents_are_checked_by_the_servers_schema(openapi):
    assert schema.breaches(openapi, MINIMAL) == []
    assert schema.breaches(openapi, FULL) == []
    wrong = {**MINIMAL, "domains": [{"domain": "www.example.com", "protocol": "ftp"}]}
    (text,) = schema.breaches(openapi, wrong)
    assert text.startswith("[domains][0][protocol]-'ftp' is not one of")
    assert len(schema.breaches(openapi, {"cacheing": []})) == 5


@pytest.mark.parametrize("openapi", [{}, {"paths": []}, {"paths": {"/v1.0/services": {}}}])
def test_a_description_without_services_gives_no_result(openapi):
    assert schema.breaches(openapi, MINIMAL) is None
