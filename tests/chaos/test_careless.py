# SPDX-License-Identifier: Apache-2.0
"""The suite detects violations that incorrect drivers or external changes cause."""

import pytest
import requests

from tests.chaos.checker import Wrong
from tests.chaos.orders import Action

pytestmark = pytest.mark.real


def test_careless_driver_causes_a_duplicate_object(site, client, tmp_path):
    careless = tmp_path / "careless.conf"
    careless.write_text("[drivers:provider:chaos]\ncareless = true\n")
    site.start_worker("--config-file", str(careless))
    site.double.order(Action.LOSE, "create")
    _, service_id = client.create()
    client.tenant.wait(service_id, "deployed")

    wrongs = {violation.wrong for violation in site.verdict()}

    assert wrongs == {Wrong.DOUBLED, Wrong.STALE}
    for thing in site.double.objects():
        if thing["reference"] == service_id:
            requests.delete(f"{site.double.url}/objects/{thing['id']}", timeout=10)


def test_external_changes_are_detected(site, client):
    site.start_worker()
    services = [client.deployed() for _ in range(2)]
    assert site.verdict() == []
    objects = {thing["reference"]: thing["id"] for thing in site.double.objects()}
    requests.delete(f"{site.double.url}/objects/{objects[services[0][1]]}", timeout=10)
    stray = {"set": {"stray.cdn.example.net": "nowhere.example.net"}}
    requests.post(f"{site.double.url}/zone", json=stray, timeout=10)

    found = {(violation.wrong, violation.subject) for violation in site.verdict()}

    assert found == {(Wrong.LOST, services[0][1]), (Wrong.ORPHAN, "stray.cdn.example.net")}
