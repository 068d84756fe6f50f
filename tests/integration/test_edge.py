# SPDX-License-Identifier: Apache-2.0
"""End to end: the API, a worker, and a real node in front of a real origin."""

from pathlib import Path

import pytest
import requests

from tests.real.edge_daemon import join
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin
from tests.real.poppy import Installation, wait
from tests.real.visits import ask

pytestmark = pytest.mark.real

DOMAIN = "www.example.com"


def test_service_waits_for_a_node_and_is_served_changed_purged_and_removed(
    tmp_path: Path,
) -> None:
    options = {
        "drivers": {"providers": "edge"},
        "drivers:provider:edge": {"allowed_origins": "127.0.0.0/8"},
    }
    poppy = Installation(tmp_path, options)
    with (
        Origin() as origin,
        EdgeNode(allowed_origins=["127.0.0.0/8"]) as node,
        poppy.session,
        poppy.daemon("poppy-standalone"),
    ):

        def fetch(path: str = "/", **fields: str) -> tuple[int, str | None]:
            return ask(node, path, DOMAIN, **fields)[:2]

        poppy.wait_until_up()
        poppy.create_flavor("edge")
        url = poppy.create_service(DOMAIN, origins=[{"origin": origin.address}])
        operations = f"{url}/operations"

        def operation() -> str:
            return requests.get(operations, headers=poppy.session.headers, timeout=10).json()[
                "operations"
            ][0]["state"]

        wait(lambda: operation() == "waiting", 30)
        assert poppy.status(url) == "create_in_progress"
        health = poppy.session.get(poppy.base + "/v1.0/health/provider/edge", timeout=10)
        assert health.json() == {"online": "false"}
        with join(poppy, node, "north-1"):
            poppy.wait_for(url, "deployed", 60)
            assert [fetch(), fetch()] == [(200, "MISS"), (200, "HIT")]
            rule = {"name": "r", "client_ip": "127.0.0.0/8", "request_url": "/secret/*"}
            restriction = {"name": "not me", "access": "blacklist", "rules": [rule]}
            patch = [{"op": "add", "path": "/restrictions/-", "value": restriction}]
            assert poppy.session.patch(url, json=patch, timeout=10).status_code == 202
            poppy.wait_for(url, "deployed")
            assert fetch("/secret/x")[0] == 403
            assert fetch() == (200, "HIT"), "a change does not empty the cache"
            assert poppy.session.delete(url + "/assets?url=/", timeout=10).status_code == 202
            wait(lambda: fetch() == (200, "MISS"), 20)
            loops = {"poppy": 508, "other, poppy; v=1": 508, "poppyseed": 200}
            assert {it: fetch(CDN_Loop=it)[0] for it in loops} == loops
            poppy.session.delete(url, timeout=10)
            poppy.wait_for(url, "gone")
            assert fetch()[0] == 404
