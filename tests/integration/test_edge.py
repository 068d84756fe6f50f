# SPDX-License-Identifier: Apache-2.0
"""End to end: the API, a worker, and a real Varnish in front of a real origin."""

import pytest
import requests

from tests.real.origin import Origin
from tests.real.poppy import Installation, wait
from tests.real.varnish import Varnish

pytestmark = pytest.mark.real

DOMAIN = "www.example.com"


class Edge:
    """A poppy-standalone with one Varnish node as its provider."""

    def __init__(self, installation, node, origin):
        self.poppy = installation
        self.node = node
        self.origin = origin

    def fetch(self, path="/", host=DOMAIN):
        url = "http://{}:{}{}".format(*self.node.http, path)
        answer = requests.get(url, headers={"Host": host}, timeout=10)
        return answer.status_code, answer.headers.get("X-Cache")

    def create(self, **changes):
        return self.poppy.create_service(
            DOMAIN, origins=[{"origin": self.origin.address}], **changes
        )


@pytest.fixture
def edge(tmp_path):
    with Origin() as origin, Varnish() as node:
        options = {
            "drivers": {"providers": "varnish"},
            "drivers:provider:varnish": {
                "nodes": node.management,
                "secret_file": node.secret_file,
                "allowed_origins": "127.0.0.0/8",
            },
        }
        installation = Installation(tmp_path, options)
        with installation.session, installation.daemon("poppy-standalone"):
            installation.wait_until_up()
            installation.create_flavor("varnish")
            yield Edge(installation, node, origin)


def test_service_is_served_changed_purged_and_removed(edge):
    url = edge.create()
    edge.poppy.wait_for(url, "deployed")
    assert [edge.fetch(), edge.fetch()] == [(200, "MISS"), (200, "HIT")]
    rule = {"name": "r", "client_ip": "127.0.0.0/8", "request_url": "/secret/*"}
    restriction = {"name": "not me", "access": "blacklist", "rules": [rule]}
    patch = [{"op": "add", "path": "/restrictions/-", "value": restriction}]
    assert edge.poppy.session.patch(url, json=patch, timeout=10).status_code == 202
    edge.poppy.wait_for(url, "deployed")
    assert edge.fetch("/secret/x")[0] == 403
    assert edge.fetch() == (200, "HIT"), "a change does not empty the cache"
    assert edge.poppy.session.delete(url + "/assets?url=/", timeout=10).status_code == 202
    wait(lambda: edge.fetch() == (200, "MISS"), 20)
    edge.poppy.session.delete(url, timeout=10)
    edge.poppy.wait_for(url, "gone")
    assert edge.fetch()[0] == 404


def test_request_loop_is_stopped(edge):
    url = edge.create()
    edge.poppy.wait_for(url, "deployed")
    where = "http://{}:{}/".format(*edge.node.http)
    for loop, status in [("poppy", 508), ("other, poppy; v=1", 508), ("poppyseed", 200)]:
        headers = {"Host": DOMAIN, "CDN-Loop": loop}
        assert requests.get(where, headers=headers, timeout=10).status_code == status


def test_restarted_node_is_filled_by_a_redeploy(edge):
    url = edge.create()
    edge.poppy.wait_for(url, "deployed")
    assert edge.fetch()[0] == 200
    edge.node.restart()
    assert edge.poppy.manage("services", "redeploy", "--provider", "varnish").returncode == 0
    edge.poppy.wait_for(url, "deployed")
    assert edge.fetch() == (200, "MISS")


def test_operation_waits_while_the_node_is_down(edge):
    edge.node.stop()
    url = edge.create()
    wait(lambda: "provider:varnish" in (edge.poppy.directory / "poppy.log").read_text(), 30)
    assert edge.poppy.status(url) == "create_in_progress"
    health = edge.poppy.session.get(edge.poppy.base + "/v1.0/health/provider/varnish", timeout=10)
    assert health.json() == {"online": "false"}
    edge.node.start()
    edge.poppy.wait_for(url, "deployed", timeout=60)
    assert edge.fetch() == (200, "MISS")
