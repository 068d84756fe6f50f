# SPDX-License-Identifier: Apache-2.0
"""The operator's own edge as a whole: daemons, nodes and their agents as processes."""

import base64
import contextlib
import datetime
import http.client
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from poppy.common import driver
from poppy.provider.base import Capability
from tests.real import unavailable
from tests.real.edge_daemon import EdgeAgent
from tests.real.edge_node import EdgeNode
from tests.real.log_store import LogStore
from tests.real.origin import Origin
from tests.real.poppy import Installation, wait
from tests.real.s3_signatures import ACCESS_KEY, SECRET_KEY
from tests.whole_document import SECRETS, TOKEN, kept, whole

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")

from poppyclient.signing import sign  # noqa: E402

pytestmark = pytest.mark.real

DOMAIN = "www.example.com"
WHOLE = "whole.example.com"
SECRET = "0123456789abcdef" * 2
NEVER = 10**11
SIGNED = sign("/page", "k1", SECRET, NEVER)
WARM = sign("/warm", "k1", SECRET, NEVER)
#: Seconds for a step, on a machine that runs other tests too.
LONG = 60.0


def get(node: EdgeNode, target: str = "/page") -> tuple[int, str | None, str]:
    """Return status, X-Cache and body."""
    response, body = node.get(DOMAIN, target)
    return response.status, response.getheader("X-Cache"), body.decode()


def counted(installation: Installation, url: str, attempts: "itertools.count[int]") -> int:
    """Return the requests of the domain in the last hours. Each query is another: see the API."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0, tzinfo=None)
    start = now - datetime.timedelta(hours=3) + datetime.timedelta(seconds=next(attempts))
    query = {
        "domain": DOMAIN,
        "metricType": "requestCount",
        "startTime": start.isoformat(),
        "endTime": (now + datetime.timedelta(hours=1)).isoformat(),
    }
    answer = installation.session.get(f"{url}/analytics", params=query, timeout=10)
    assert answer.status_code == 200, answer.text
    return sum(point["count"] for point in answer.json()["requestCount"].get("Global", ()))


def logged(installation: Installation, url: str, logs: LogStore) -> list[str]:
    """Return the cache status of the first two responses that the object store has."""
    links = installation.session.get(url, timeout=10).json()["links"]
    (place,) = [it["href"] for it in links if it["rel"] == "log_delivery"]
    bucket, _, prefix = place.removeprefix(f"{logs.url}/").partition("/")
    found = [line for lines in logs.lines(bucket, prefix).values() for line in lines]
    assert {line["url"] for line in found} <= {"/page"}
    return [str(line["cache"]) for line in sorted(found, key=lambda it: it["cache"] == "HIT")][:2]


def ready(node: EdgeNode) -> bool:
    connection = http.client.HTTPConnection(*node.metrics, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200


def join(
    installation: Installation, node: EdgeNode, name: str, logs: LogStore | None = None
) -> EdgeAgent:
    """Make a node of the installation with the token that poppy-manage prints."""
    added = installation.manage("edge", "nodes", "add", name)
    assert added.returncode == 0, added.stderr
    options: dict[str, Any] = {"serve_stale_after": 2, "traffic_interval": 0.5}
    if logs is not None:
        options |= {"log_period": 1, "log_ca_file": logs.ca_file}
    agent = EdgeAgent(node, options)
    agent.join(installation.base, name, added.stdout.split()[-1])
    return agent


def prewarm(installation: Installation, url: str, *paths: str) -> None:
    """Prewarm a service, and wait for the operation; the last path can't be fetched."""
    session = installation.session
    asked = session.post(f"{url}/assets/prewarm", json={"urls": paths}, timeout=10)
    assert asked.status_code == 202, asked.text
    where = asked.headers["Location"]
    wait(lambda: session.get(where, timeout=10).json()["state"] == "succeeded", LONG)
    operation = session.get(where, timeout=10).json()
    assert operation["prewarm"] == {"urls": list(paths)}
    (step,) = operation["steps"]
    assert step["message"] == "; ".join(
        f"node {name}: 1 of {len(paths)} failed: {DOMAIN}{paths[-1]}: 400"
        for name in ("north-1", "south-1")
    )


def live_with_every_field(installation: Installation, node: EdgeNode, origin: Origin) -> None:
    """Create, change, purge and delete a service with every field that HTTP can show."""
    over_tls = {Capability.HTTPS_REDIRECT, Capability.HSTS, Capability.MIN_TLS}
    supports = driver.classes("provider")["edge"].SUPPORTS - over_tls
    base = {
        "origins": [{"origin": origin.address}],
        "caching": [{"name": "default", "ttl": 60}],
    }
    document = whole(base, kept(supports))
    origin.headers = {"Cache-Tag": "news"}
    url = installation.create_service(WHOLE, **document)
    installation.wait_for(url, "deployed", LONG)
    shown = installation.session.get(url, timeout=10)
    assert document.keys() <= shown.json().keys()
    assert not [secret for secret in SECRETS if secret in shown.text]

    response, _ = node.get(WHOLE, "/news", Origin="https://app.example.com")
    assert (response.status, response.getheader("X-To-Client")) == (200, "1")
    assert response.getheader("Access-Control-Allow-Origin") == "https://app.example.com"
    assert response.getheader("Cache-Control") == "max-age=5"
    assert origin.requests[WHOLE, "/site/news"] == 1
    sent = {name.lower(): value for name, value in origin.fields[-1]}
    assert (sent["x-to-origin"], sent["x-from-us"]) == ("1", SECRETS[1])
    moved, _ = node.get(WHOLE, "/old/page")
    assert (moved.status, moved.getheader("Location")) == (301, "/new/page")
    assert node.get(WHOLE, "/members/page")[0].status == 403
    token = sign("/members/page", "k1", SECRETS[0], NEVER, name=TOKEN)
    assert node.get(WHOLE, token)[0].status == 200

    path = "/headers/0/response/set/X-To-Client"
    patch = [{"op": "replace", "path": path, "value": "2"}]
    assert installation.session.patch(url, json=patch, timeout=10).status_code == 202
    installation.wait_for(url, "deployed", LONG)
    response, _ = node.get(WHOLE, "/news")
    assert (response.getheader("X-To-Client"), response.getheader("X-Cache")) == ("2", "HIT")
    purged = installation.session.delete(f"{url}/assets?tag=news&hard=true", timeout=10)
    assert purged.status_code == 202
    wait(lambda: node.get(WHOLE, "/news")[0].getheader("X-Cache") == "MISS", LONG)
    origin.headers = {}
    wait(lambda: installation.session.delete(url, timeout=10).status_code == 202, LONG)
    installation.wait_for(url, "gone", LONG)
    assert node.get(WHOLE, "/news")[0].status == 404


def test_the_life_of_a_service_at_the_own_edge(tmp_path: Path) -> None:
    if "edge" not in driver.classes("provider"):
        unavailable("the provider edge is not installed", "pip install -e .")
    logs = LogStore(tmp_path)
    installation = Installation(
        tmp_path,
        {
            "drivers": {"providers": "edge"},
            "drivers:provider:edge": {
                "edge_name": "edge.example.net",
                "allowed_origins": "127.0.0.0/8",
                "log_bucket": "cdn-logs",
                "log_endpoint": logs.url,
                "log_access_key": ACCESS_KEY,
                "log_secret_key": SECRET_KEY,
            },
            "document_secrets": {"encryption_keys": base64.b64encode(os.urandom(32)).decode()},
        },
    )
    with (
        logs,
        Origin() as origin,
        EdgeNode(allowed_origins=["127.0.0.0/8"]) as north,
        EdgeNode(allowed_origins=["127.0.0.0/8"]) as south,
    ):
        logs.create("cdn-logs")
        with installation.daemon("poppy-standalone"):
            installation.wait_until_up()
            installation.create_flavor("edge")
            with join(installation, north, "north-1", logs):
                wait(lambda: ready(north), LONG)
                caching = [{"name": "default", "ttl": 3600}]
                url = installation.create_service(
                    DOMAIN,
                    origins=[{"origin": origin.address}],
                    caching=caching,
                    log_delivery={"enabled": True},
                )
                installation.wait_for(url, "deployed", LONG)
                assert get(north)[0] == 200
                assert get(north)[:2] == (200, "HIT")
                attempts = itertools.count()
                wait(lambda: counted(installation, url, attempts) == 2, LONG)
                wait(lambda: logged(installation, url, logs) == ["MISS", "HIT"], LONG)
                live_with_every_field(installation, north, origin)

                origin.content = "second"
                assert "first" in get(north)[2]
                purged = installation.session.delete(f"{url}/assets?url=/page", timeout=10)
                assert purged.status_code == 202
                wait(lambda: "second" in get(north)[2], LONG)

                signed = {"keys": [{"id": "k1", "secret": SECRET}]}
                patch = [{"op": "add", "path": "/signed_urls", "value": signed}]

                def change() -> bool:
                    """Change the service, once its purge is done."""
                    return installation.session.patch(url, json=patch, timeout=10).ok

                wait(change, LONG)
                installation.wait_for(url, "deployed", LONG)
                assert get(north)[0] == 403
                assert get(north, SIGNED)[:2] == (200, "HIT")
                kept = [it.read_bytes() for it in tmp_path.rglob("*") if it.is_file()]
                assert not [it for it in kept if SECRET.encode() in it]

                agent = join(installation, south, "south-1", logs)
                with agent:
                    wait(lambda: ready(south), LONG)
                    assert get(south, SIGNED)[0] == 200
                    prewarm(installation, url, WARM, "/../x")
                    for node in (north, south):
                        assert get(node, WARM)[:2] == (200, "HIT")
                    assert agent.end(signal.SIGKILL) == -signal.SIGKILL
        # The server has stopped, and the second node's machine restarts.
        for process in ("haproxy", "varnish"):
            south.kill(process)
        for process in ("varnish", "haproxy"):
            south.start(process)
        with agent:
            wait(lambda: ready(south), LONG)
            assert [get(south, SIGNED)[0] for _ in range(50)] == [200] * 50
            with installation.daemon("poppy-standalone"):
                installation.wait_until_up()
                # With those that the node has counted while the API was away.
                wait(lambda: counted(installation, url, attempts) >= 50, LONG)
                removed = installation.manage("edge", "nodes", "remove", "north-1")
                assert removed.returncode == 0, removed.stderr
                assert installation.session.delete(url, timeout=10).status_code == 202
                installation.wait_for(url, "gone", LONG)
                wait(lambda: get(south)[0] == 404, LONG)
    installation.session.close()
