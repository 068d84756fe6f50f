# SPDX-License-Identifier: Apache-2.0
"""A hostile tenant floods a real standalone Poppy, but another tenant's requests get through.

With two slots and a provider that takes a second, a flood takes long to process. The tests
check that part of it is still open when the other tenant's service is deployed.
"""

import concurrent.futures
import signal

import pytest
import requests

from tests.real.poppy import Installation, wait

pytestmark = pytest.mark.real

HOSTILE, VICTIM = "hostile", "victim"
SERVICES = 15
CAP = 30


FAST, SLOW = "latency = 0.05", "latency = 0.9"


class Standalone(Installation):
    """A running poppy-standalone with a mock provider that is fast at first."""

    process = None

    def slow_down(self):
        """Make each call of the provider take about a second from now on."""
        self.config.write_text(self.config.read_text().replace(FAST, SLOW))
        self.process.send_signal(signal.SIGHUP)
        # The master, the server process and the worker process reload.
        log = self.directory / "poppy.log"
        wait(lambda: log.read_text().count("Configuration reloaded") >= 3, 30)


@pytest.fixture
def poppy(tmp_path):
    name, _, latency = FAST.partition(" = ")
    made = Standalone(
        tmp_path,
        {
            "drivers:provider:mock": {"directory": tmp_path / "objects", name: latency},
            "drivers:distributed_task:taskflow": {
                "concurrency": 2,
                "board_depth": 16,
                "poll_interval": 0.05,
                "dispatch_interval": 0.2,
            },
            "drivers:storage": {
                "max_services_per_project": 1000,
                "max_open_operations_per_project": CAP,
            },
        },
    )
    with made.daemon("poppy-standalone") as made.process:
        made.wait_until_up()
        made.create_flavor()
        yield made
    made.session.close()


def document(domain):
    return {
        "name": "site",
        "flavor_id": "standard",
        "domains": [{"domain": domain}],
        "origins": [{"origin": "origin.example.net"}],
    }


def call(poppy, method, path, project=HOSTILE, **options):
    url = path if path.startswith("http") else poppy.base + path
    headers = {"X-Project-ID": project}
    return requests.request(method, url, headers=headers, timeout=30, **options)


def flood(poppy, requested):
    """Send all requests, eight at a time; return the responses."""
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda it: call(poppy, *it[:2], **it[2]), requested))


def creates(count, name="flood"):
    return [
        ("POST", "/v1.0/services", {"json": document(f"{name}{number}.example.com")})
        for number in range(count)
    ]


def unfinished(poppy, service):
    listed = call(poppy, "GET", f"{service}/operations").json()["operations"]
    return [it for it in listed if it["state"] not in ("succeeded", "failed", "superseded")]


def gets_through(poppy, domain, behind):
    """Check that the victim's service is deployed while part of the flood still waits."""
    answer = call(poppy, "POST", "/v1.0/services", VICTIM, json=document(domain))
    assert answer.status_code == 202, answer.text
    url = answer.headers["Location"]
    wait(lambda: call(poppy, "GET", url, VICTIM).json()["status"] == "deployed", 60)
    left = sum(len(unfinished(poppy, service)) for service in behind)
    assert left >= 5, "the flood was over before: that proves nothing"


def deployed(poppy):
    """Deploy the hostile tenant's services, then slow the provider down; return their URLs."""
    services = accepted(flood(poppy, creates(SERVICES)))
    assert len(services) == SERVICES
    for service in services:
        wait(lambda it=service: call(poppy, "GET", it).json()["status"] == "deployed", 120)
    poppy.slow_down()
    return services


def accepted(answers):
    return [it.headers["Location"] for it in answers if it.status_code == 202]


def test_flood_of_creates_is_capped_and_does_not_delay_others(poppy):
    poppy.slow_down()
    answers = flood(poppy, creates(3 * CAP))
    refused = [it for it in answers if it.status_code == 429]
    assert {it.status_code for it in answers} == {202, 429}
    assert refused
    for answer in refused:
        assert int(answer.headers["Retry-After"]) >= 1
        assert "unfinished operations" in answer.json()["message"]
    gets_through(poppy, "victim.example.com", accepted(answers))
    # A tenant at its limit can still delete services.
    service = accepted(answers)[-1]
    assert call(poppy, "DELETE", service).status_code == 202


def test_flood_of_purges_is_merged_and_does_not_delay_others(poppy):
    services = deployed(poppy)
    purges = [
        ("DELETE", f"{service}/assets", {"params": {"url": f"/{number}"}})
        for number in range(10)
        for service in services
    ]
    answers = flood(poppy, purges)
    assert {it.status_code for it in answers} == {202}
    for service in services:
        assert len(unfinished(poppy, service)) <= 2
    gets_through(poppy, "victim.example.com", services)


def test_flood_of_changes_does_not_delay_others(poppy):
    services = deployed(poppy)
    patch = [{"op": "replace", "path": "/name", "value": "another"}]
    changes = [("PATCH", service, {"json": patch}) for _ in range(3) for service in services]
    answers = flood(poppy, changes)
    assert {it.status_code for it in answers} <= {202, 400, 409, 429}
    assert len(accepted(answers)) >= SERVICES
    gets_through(poppy, "victim.example.com", services)


def test_bulk_work_of_an_operator_does_not_delay_tenants(poppy):
    services = deployed(poppy)
    done = poppy.manage("services", "redeploy", "--project", HOSTILE)
    assert done.returncode == 0, done.stderr
    assert f"{SERVICES} services" in done.stdout
    gets_through(poppy, "victim.example.com", services)
