# SPDX-License-Identifier: Apache-2.0
"""URLs for access logs: the nodes' API."""

import datetime
import sys
from dataclasses import replace

import pytest
import webtest

from poppy.common.errors import ConfigError, PermanentError
from poppy.provider.edge.driver import EdgeProvider
from poppy.testing.builders import make_service
from tests.functional.fakes import refused
from tests.real.edge_agent import Agent
from tests.real.s3_signatures import ACCESS_KEY, REGION, SECRET_KEY, problem

LOGS = "/edge/v1/logs"
GROUP = "drivers:provider:edge"
STORE = "logs.example.net:8443"
OPTIONS = {
    "log_bucket": "cdn-logs",
    "log_endpoint": f"https://{STORE}",
    "log_region": REGION,
    "log_access_key": ACCESS_KEY,
    "log_secret_key": SECRET_KEY,
}
SERVICE = make_service()
DOCUMENT = {
    "project_id": "4:2",
    "service_id": SERVICE.service_id,
    "start": 1893553200,
    "id": "6f1ed002ab559585",
    "size": 4096,
}


@pytest.fixture
def provider(poppy):
    return add_provider(poppy, OPTIONS)


def add_provider(poppy, options):
    EdgeProvider(poppy.conf, "edge")
    for name, value in options.items():
        poppy.conf.set_override(name, value, group=GROUP)
    provider = EdgeProvider(poppy.conf, "edge")
    provider.attach(poppy.storage)
    poppy.boot.providers["edge"] = provider
    return provider


@pytest.fixture
def ask(poppy):
    """A function that asks for a URL as a node does."""
    application = poppy.boot.transport.application
    agent = Agent(application, "node-1", poppy.boot.manager.edge.add("node-1"))
    headers = {"Authorization": f"Bearer {agent.token}"}
    app = webtest.TestApp(application)

    def ask(document, status=200):
        return app.post_json(LOGS, document, headers=headers, status=status)

    return ask


def test_url_is_for_one_object_of_one_size_and_for_some_minutes(ask, provider):
    url = ask(DOCUMENT).json["url"]
    start = f"https://{STORE}/cdn-logs/4%3A2/{SERVICE.service_id}/edge/"
    assert url.startswith(start + "2030-01-02T03-00-00-node-1-6f1ed002ab559585.log.gz?")
    assert SECRET_KEY not in url
    target = url.removeprefix(f"https://{STORE}")
    fields = {"host": STORE, "content-length": "4096"}
    now = datetime.datetime.now(datetime.UTC)

    def why(method="PUT", target=target, fields=fields, later=0):
        return problem(method, target, fields, now + datetime.timedelta(seconds=later))

    assert why() is None
    assert why(later=800) is None
    assert why(later=1000) == "Request has expired"
    for other in (
        {"method": "GET"},
        {"method": "DELETE"},
        {"target": target.replace("node-1", "node-2")},
        {"target": target.replace("4%3A2", "43")},
        {"fields": {**fields, "content-length": "4097"}},
        {"fields": {**fields, "host": "other.example.net"}},
    ):
        assert why(**other) == "SignatureDoesNotMatch", other
    assert why(fields={"host": STORE}) == "SignedHeaders"


def test_logs_of_a_service_are_for_its_project_alone_also_after_its_deletion(ask, poppy, provider):
    service = replace(SERVICE, spec=replace(SERVICE.spec, log_delivery=True))
    own = {**DOCUMENT, "project_id": service.project_id}
    deployment = provider.ensure(service, None)
    assert deployment.log_url == (
        f"https://{STORE}/cdn-logs/{service.project_id}/{service.service_id}/edge/"
    )
    assert SECRET_KEY not in poppy.storage.edge.current(service.service_id).program
    assert provider.inspect(service, None).differences == ()
    without = replace(service, spec=SERVICE.spec)
    assert provider.inspect(without, None).differences
    message = refused(ask(DOCUMENT, 400), 400)
    assert message == f"The logs of {service.service_id} are not for project 4:2"
    assert ask(own).json["url"].startswith(deployment.log_url)
    poppy.storage.edge.withdraw(service.service_id)
    assert ask(own).json["url"].startswith(deployment.log_url)


def test_node_without_its_token_gets_no_url(poppy, provider):
    app = webtest.TestApp(poppy.boot.transport.application)
    headers = {"Authorization": f"Bearer {'x' * 64}"}
    refused(app.post_json(LOGS, DOCUMENT, headers=headers, status=401), 401)


def test_without_a_bucket_there_is_no_url(ask, poppy):
    add_provider(poppy, {})
    assert refused(ask(DOCUMENT, 404), 404) == "The edge has no log_bucket"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_id", "../42"),
        ("project_id", "x" * 256),
        ("service_id", "a/b"),
        ("start", -1),
        ("start", 253_402_300_800),
        ("id", "6f1ed002ab55/585"),
        ("id", "6f1ed002ab55958"),
        ("size", 0),
        ("size", 2**26 + 1),
        ("more", 1),
    ],
)
def test_invalid_object_names_the_field(ask, provider, name, value):
    assert name in ask({**DOCUMENT, name: value}, 400).text


def test_project_without_a_valid_bucket_is_refused(ask, poppy):
    provider = add_provider(poppy, {**OPTIONS, "log_bucket": "logs-{project_id}"})
    service = replace(SERVICE, spec=replace(SERVICE.spec, log_delivery=True), project_id="4:2")
    with pytest.raises(PermanentError, match="Project 4:2 can't have logs"):
        provider.ensure(service, None)
    assert "Project 4:2 can't have logs" in refused(ask(DOCUMENT, 400), 400)


def test_missing_library_is_named(poppy, monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    add_provider(poppy, {})
    with pytest.raises(ConfigError, match=r"pip install poppy-cdn\[edge\]"):
        add_provider(poppy, OPTIONS)
