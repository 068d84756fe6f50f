# SPDX-License-Identifier: Apache-2.0
"""Schemathesis: generate requests from the OpenAPI document and check responses against it.

No request may cause a 5xx, invalid requests must be refused, and every response must be
documented. The requests are the same in each run.
"""

import collections
import copy

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from tests.api.conftest import Api
from tests.functional.harness import PROJECT

HEADERS = {"X-Project-ID": PROJECT}

#: Checks that do not apply here.
EXCLUDED = [
    # A schema can't express everything: for example, a domain may be taken or not allowed.
    checks.positive_data_acceptance,
    # There is no Keystone here; the tests with Keystone request every route without a token.
    checks.ignored_auth,
]


def with_location_link(document):
    """Add links to the document, since OpenAPI cannot express an id at the end of Location."""
    accepted = document["paths"]["/v1.0/services"]["post"]["responses"]["202"]
    one = {"service_id": "$response.header.Location#regex:/services/(.+)"}
    accepted["links"] = {
        operation: {"operationId": operation, "parameters": one}
        for operation in ("getService", "updateService", "purgeService", "deleteService")
    }
    return document


OPTIONS = {
    # Do not use values from the source code, since they change with the code.
    "analysis": {"constants": {"enabled": False}},
    "phases": {"coverage": {"unexpected-methods": ["PUT", "TRACE"]}},
    # A request that violates a schema may also be too large or of another type, come without
    # a token, or after too many failed joins.
    "checks": {
        "negative_data_rejection": {
            "expected-statuses": [400, 401, 403, 404, 406, 413, 415, 422, 429]
        }
    },
}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """An API with a deployed service."""
    limit = {"drivers:storage": {"max_services_per_project": 100000}}
    made = Api(tmp_path_factory.mktemp("api"), limit)
    made.deploy(made.create("first.example.com"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(api):
    """The header fields of a node of the edge."""
    manager = api.harness.boot.manager.edge
    token = manager.join({"name": "node-1", "token": manager.add("node-1")})
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def document(api):
    return with_location_link(api.call("GET", "/v1.0/openapi.json").json)


@pytest.fixture(autouse=True)
def node_id(request):
    """Set a private attribute that Schemathesis reads and pytest 9.2 no longer has."""
    request.node._nodeid = request.node.nodeid


@pytest.fixture(scope="module")
def described(api, document):
    """The API as Schemathesis knows it."""
    schema = schemathesis.openapi.from_dict(
        # Schemathesis adds its own links.
        copy.deepcopy(document),
        config=SchemathesisConfig.from_dict(OPTIONS),
    )
    schema.app = api.harness.boot.transport.application
    return schema


# Generating requests takes a minute, too long for the collection by each process of a run.
schema = schemathesis.pytest.from_fixture("described")

bounded = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@schema.parametrize()
@settings(bounded, max_examples=15)
def test_any_request_gets_a_documented_response(case, node):
    case.call_and_validate(headers={**HEADERS, **node}, excluded_checks=EXCLUDED)


def improve(case, api, number):
    """Make a request valid where a schema is not sufficient."""
    label = case.operation.label
    if label == "POST /v1.0/services":
        case.body = api.document(f"n{number}.example.com")
    elif label == "POST /v1.0/flavors":
        links = [{"href": "http://example.com", "rel": "provider_url"}]
        case.body = {
            "id": f"flavor-{number}",
            "providers": [{"provider": "cdn-a", "links": links}],
        }
    elif label == "PATCH /v1.0/services/{service_id}":
        case.body = [{"op": "replace", "path": "/name", "value": f"name {number}"}]
    elif label == "DELETE /v1.0/services/{service_id}/assets":
        case.query = {"url": f"/{number}"}


def machine(api, schema, answered):
    """Return a state machine that follows links and runs accepted operations at once."""

    # Exclude paths without links, which the other test covers.
    linked = schema.exclude(path_regex="/admin/|/ssl_certificate|/health|/akamai|/edge/")

    class Requests(linked.as_state_machine()):
        def setup(self):
            api.forget()
            self.number = 0

        def get_call_kwargs(self, case):
            return {"headers": HEADERS}

        def before_call(self, case):
            super().before_call(case)
            self.number += 1
            if self.number % 3:
                improve(case, api, self.number)

        def after_call(self, response, case):
            super().after_call(response, case)
            answered[case.operation.label].add(response.status_code)
            if response.status_code == 202 and "/v1.0/services" in case.operation.label:
                location = response.headers.get("location", [""])[0]
                given = (case.path_parameters or {}).get("service_id")
                api.deploy(location or f"/v1.0/services/{given}")

        def validate_response(self, response, case, **options):
            case.validate_response(response, excluded_checks=EXCLUDED, recorder=self.recorder)

    return Requests


def test_request_sequences_get_documented_responses(api, described, document):
    """Create, change, purge and delete services and flavors, among other requests."""
    answered = collections.defaultdict(set)
    steps = settings(bounded, max_examples=40, stateful_step_count=10)
    run_state_machine_as_test(machine(api, described, answered), settings=steps)
    labels = linked(document)
    reached = {label for label in labels if answered[label] & {200, 201, 202, 204}}
    # The reached operations vary with the API; too few of them would test little.
    assert len(reached) >= len(labels) // 2, dict(answered)
    assert 202 in answered["POST /v1.0/services"]
    assert 201 in answered["POST /v1.0/flavors"]


def linked(document):
    """Return the operations to which responses link."""
    operations = {
        operation["operationId"]: (f"{method.upper()} {template}", operation)
        for template, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    return {
        operations[link["operationId"]][0]
        for _, operation in operations.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    }
