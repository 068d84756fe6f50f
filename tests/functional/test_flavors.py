# SPDX-License-Identifier: Apache-2.0
"""Requests about flavors."""

from poppy.common import errors
from tests.functional import fakes

SHOWN = {
    **fakes.FLAVOR,
    "links": [{"href": "http://localhost/v1.0/flavors/standard", "rel": "self"}],
}


def test_create(app):
    response = app.post_json("/v1.0/flavors", fakes.FLAVOR, status=201)
    assert response.json == SHOWN
    assert response.location == "http://localhost/v1.0/flavors/standard"


def test_all_links_of_a_provider_are_stored(app):
    links = [{"href": f"http://{n}.example", "rel": "provider_url"} for n in "ab"]
    flavor = {"id": "many", "providers": [{"provider": "fastly", "links": links}]}
    app.post_json("/v1.0/flavors", flavor, status=201)
    assert app.get("/v1.0/flavors/many").json["providers"] == flavor["providers"]


def test_get(app, manager):
    manager.flavors.create(fakes.FLAVOR)
    capabilities = ["https_redirect", "soft_purge"]
    assert app.get("/v1.0/flavors/standard").json == {**SHOWN, "capabilities": capabilities}


def test_list(app, manager):
    assert app.get("/v1.0/flavors").json == {"flavors": []}
    manager.flavors.create(fakes.FLAVOR)
    assert app.get("/v1.0/flavors").json == {"flavors": [SHOWN]}


def test_delete(app, manager):
    manager.flavors.create(fakes.FLAVOR)
    response = app.delete("/v1.0/flavors/standard", status=204)
    assert response.body == b""
    app.get("/v1.0/flavors/standard", status=404)
    app.delete("/v1.0/flavors/standard", status=404)


def test_delete_in_use(app, manager, monkeypatch):
    def delete(flavor_id):
        raise errors.InUse(f"Flavor '{flavor_id}' is used by services")

    monkeypatch.setattr(manager.flavors, "delete", delete)
    app.delete("/v1.0/flavors/standard", status=409)


def test_links_quote_the_id(app):
    response = app.post_json("/v1.0/flavors", {**fakes.FLAVOR, "id": "a b/ü"}, status=201)
    assert response.location == "http://localhost/v1.0/flavors/a%20b%2F%C3%BC"
