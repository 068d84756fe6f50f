# SPDX-License-Identifier: Apache-2.0
"""An extension of another package: its route, rule, description and options."""

import dataclasses
import importlib.metadata
from http import HTTPStatus

import pytest
import stevedore
import webtest
from oslo_config import cfg

from poppy import opts, policies
from poppy.common import config
from poppy.common.errors import ConfigError
from poppy.extensions import base
from poppy.policies.base import ADMIN, service_rule
from poppy.policies.enforcer import Policy
from poppy.transport.pecan.response import reply
from poppy.transport.pecan.routes import Answer, Parameter, Route
from tests.functional.fakes import refused
from tests.functional.harness import PROJECT, Harness

URL = "/v1.0/admin/provider/example"


# begin extension
def show(api, request, zone):
    """Return a zone of the CDN."""
    return reply(api.manager.extensions["example"].zone(zone))


ROUTES = (
    Route(
        "GET /zones/{zone}",
        show,
        service_rule("cdn:admin_example:get", ADMIN),
        id="getZone",
        summary="Show a zone.",
        parameters=(Parameter("zone", "The zone.", {"type": "string"}, "a", place="path"),),
        answers={
            HTTPStatus.OK: Answer(
                "The zone.",
                {"type": "object", "title": "Zone"},
                {"zone": "a", "country": "NZ"},
            )
        },
    ),
)


class ExampleExtension(base.Extension):
    """Show the zones of the example CDN."""

    OPTS = (cfg.StrOpt("country", default="NZ", help="Country of all zones."),)

    @classmethod
    def routes(cls):
        """Return the routes."""
        return ROUTES

    def zone(self, name):
        """Return a zone."""
        return {"zone": name, "country": self.options.country}


# end extension


@pytest.fixture
def install(monkeypatch):
    """Add an entry point, as an installed package does: install(class name)."""

    def install(value):
        group = "poppy.extension"
        known = stevedore.ExtensionManager(group).list_entry_points()
        added = importlib.metadata.EntryPoint("example", f"{__name__}:{value}", group)
        cache = stevedore.ExtensionManager.ENTRY_POINT_CACHE
        monkeypatch.setitem(cache, group, [*known, added])

    return install


@pytest.fixture
def poppy(install, tmp_path):
    install("ExampleExtension")
    made = Harness(tmp_path)
    yield made
    made.close()


@pytest.fixture
def call(poppy):
    """Call the API as a role: call(url, role)."""
    app = webtest.TestApp(poppy.boot.transport.application)

    def call(url, role):
        headers = {"X-Project-ID": PROJECT, "X-Roles": role}
        return app.get(url, headers=headers, expect_errors=True)

    return call


def test_poppy_itself_has_one_extension():
    assert list(base.installed()) == ["akamai"]


def test_route_is_served_by_the_extension_of_the_manager(call):
    answer = call(f"{URL}/zones/a", "admin")
    assert answer.status_int == 200
    assert answer.json == {"zone": "a", "country": "NZ"}
    assert call("/v1.0/admin/provider/akamai/background_job/san_mapping", "admin").json == []


def test_rule_is_enforced_and_known_to_oslo_policy(call):
    refused(call(f"{URL}/zones/a", "member"), 403)
    names = [rule.name for rule in policies.list_rules()]
    assert names.count("cdn:admin_example:get") == 1


def test_route_is_described_in_the_openapi_document(call):
    paths = call("/v1.0/openapi.json", "member").json["paths"]
    described = paths[f"{URL}/zones/{{zone}}"]["get"]
    assert described["operationId"] == "getZone"
    assert described["description"] == "Policy: `cdn:admin_example:get`."
    assert described["parameters"] == [
        {
            "name": "zone",
            "in": "path",
            "required": True,
            "description": "The zone.",
            "schema": {"type": "string"},
            "example": "a",
        }
    ]


def test_options_are_listed_for_the_sample(install):
    install("ExampleExtension")
    options = dict(opts.list_opts())["drivers:extension:example"]
    assert [option.name for option in options] == ["country"]


def test_extension_that_can_not_be_imported_is_an_error(install):
    install("Missing")
    with pytest.raises(ConfigError, match="The extension 'example' can't be loaded: .*Missing"):
        policies.list_rules()


class Thief(base.Extension):
    """Replaces a rule of Poppy."""

    @classmethod
    def routes(cls):
        rule = service_rule("cdn:services:list", ADMIN, "Mine.")
        return [dataclasses.replace(ROUTES[0], rule=rule)]


def test_rule_of_poppy_can_not_be_replaced(install):
    install("Thief")
    conf = config.new()
    conf([])
    with pytest.raises(ConfigError, match="cdn:services:list"):
        Policy(conf, policies.list_rules())
