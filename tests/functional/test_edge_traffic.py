# SPDX-License-Identifier: Apache-2.0
"""What nodes of the operator's own edge count: the nodes' API, analytics, and pruning."""

import datetime
from copy import deepcopy

import pytest
import webtest

from poppy.common.clock import now_utc
from poppy.distributed_task import dispatcher
from poppy.model.edge_traffic import HOUR, TOTAL, Counts, Domain
from poppy.provider.base import Capability, Metric, Query
from poppy.provider.edge.driver import EdgeProvider
from poppy.testing.builders import make_service
from tests.functional.fakes import refused

TRAFFIC = "/edge/v1/traffic"
SERVICE = make_service()
NOW = now_utc().replace(minute=0, second=0, microsecond=0)
COUNTS = {"responses": [1, 20, 3, 4, 5], "hits": 18, "sent": 2**53}
DOCUMENT = {
    "source": "6f1ed002ab5595859014ebf0951522d9",
    "hour": NOW.isoformat(),
    "sequence": 7,
    "total": COUNTS,
    "domains": [{"service_id": SERVICE.service_id, "domain": "www.example.com", **COUNTS}],
}


@pytest.fixture
def app(poppy):
    return webtest.TestApp(poppy.boot.transport.application)


@pytest.fixture
def send(poppy, app):
    """A function that sends a report of the node's traffic."""
    body = {"name": "node-1", "token": poppy.boot.manager.edge.add("node-1")}
    token = app.post_json("/edge/v1/join", body, status=201).json["token"]
    headers = {"Authorization": f"Bearer {token}"}

    def send(document, status=200):
        return app.put_json(TRAFFIC, document, headers=headers, status=status)

    return send


@pytest.fixture
def provider(poppy):
    made = EdgeProvider(poppy.conf, "edge")
    made.attach(poppy.storage)
    return made


def test_analytics_have_what_nodes_report_once(send, provider):
    assert Capability.ANALYTICS in provider.supports
    earlier = {**DOCUMENT, "sequence": 6, "domains": [{**DOCUMENT["domains"][0], "sent": 1}]}
    for document in (earlier, DOCUMENT, DOCUMENT, earlier):
        assert send(document).json == {"stored": True}
    expected = {
        Metric.REQUEST_COUNT: 33,
        Metric.BANDWIDTH_OUT: 2**53,
        Metric.RESPONSES_1XX: 1,
        Metric.RESPONSES_2XX: 20,
        Metric.RESPONSES_3XX: 3,
        Metric.RESPONSES_4XX: 4,
        Metric.RESPONSES_5XX: 5,
        Metric.CACHE_HITS: 18,
    }
    assert set(expected) == set(Metric)
    for metric, value in expected.items():
        query = Query("www.example.com", metric, NOW - HOUR, NOW + HOUR)
        assert provider.metrics(SERVICE, None, query) == {"Global": [(NOW, value)]}
    other = Query("other.example.com", Metric.REQUEST_COUNT, NOW - HOUR, NOW + HOUR)
    assert provider.metrics(SERVICE, None, other) == {"Global": []}


def test_analytics_by_country_add_up_to_those_of_all(send, provider):
    assert Capability.ANALYTICS_BY_COUNTRY not in provider.supports, "without the option geography"
    countries = {
        "DE": {"responses": [0, 12, 0, 4, 0], "hits": 9, "sent": 500},
        "FR": {"responses": [1, 0, 0, 0, 5], "hits": 0, "sent": 2**52},
    }
    document = {**DOCUMENT, "domains": [{**DOCUMENT["domains"][0], "countries": countries}]}
    for _ in range(2):
        assert send(document).json == {"stored": True}

    def ask(metric):
        query = Query("www.example.com", metric, NOW - HOUR, NOW + HOUR, by_country=True)
        return provider.metrics(SERVICE, None, query)

    assert ask(Metric.REQUEST_COUNT) == {"DE": [(NOW, 16)], "FR": [(NOW, 6)], "ZZ": [(NOW, 11)]}
    assert ask(Metric.BANDWIDTH_OUT)["ZZ"] == [(NOW, 2**52 - 500)]
    assert ask(Metric.CACHE_HITS) == {"DE": [(NOW, 9)], "FR": [(NOW, 0)], "ZZ": [(NOW, 9)]}
    assert ask(Metric.RESPONSES_5XX) == {"DE": [(NOW, 0)], "FR": [(NOW, 5)], "ZZ": [(NOW, 0)]}


def test_node_without_its_token_reports_nothing(app, poppy):
    headers = {"Authorization": f"Bearer {'x' * 64}"}
    refused(app.put_json(TRAFFIC, DOCUMENT, headers=headers, status=401), 401)
    assert poppy.storage.edge.traffic_of_nodes(NOW) == {}


@pytest.mark.parametrize("moved", [datetime.timedelta(days=-31), 3 * HOUR])
def test_hour_that_is_not_kept_is_to_be_forgotten(send, poppy, moved):
    assert send({**DOCUMENT, "hour": (NOW + moved).isoformat()}).json == {"stored": False}
    assert poppy.storage.edge.traffic_of_nodes(NOW) == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hour",), "2030-01-02T03:00:00"),
        (("hour",), "2030-01-02T03:04:00+00:00"),
        (("hour",), "now, or some time later"),
        (("source",), "a/b-0123456789abcdef"),
        (("sequence",), 2**63),
        (("total", "hits"), -1),
        (("domains", 0, "sent"), 2**53 + 1),
        (("domains", 0, "responses"), [1, 2, 3, 4]),
        (("domains", 0, "domain"), "x" * 254),
        (("domains", 0, "service_id"), ""),
        (("domains",), DOCUMENT["domains"] * 1001),
        (("domains", 0, "countries"), {"Germany": COUNTS}),
        (("domains", 0, "countries"), {"de": COUNTS}),
        (("domains", 0, "countries"), {"DE": {**COUNTS, "sent": -1}}),
        (("more",), 1),
    ],
)
def test_invalid_figures_name_the_field(send, poppy, path, value):
    document = deepcopy(DOCUMENT)
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    answer = send(document, 400)
    assert str(path[-1]) in answer.text
    assert poppy.storage.edge.traffic_of_nodes(NOW) == {}


def test_workers_delete_old_figures(send, poppy, monkeypatch):
    domains = [{**DOCUMENT["domains"][0], "countries": {"DE": COUNTS}}]
    send({**DOCUMENT, "domains": domains})
    send(
        {**DOCUMENT, "domains": domains, "source": "f" * 32, "hour": (NOW - 3 * HOUR).isoformat()}
    )
    worker = dispatcher.Dispatcher(
        poppy.storage, None, None, 1.0, HOUR, 1, traffic_retention=2 * HOUR
    )
    worker.sweep()
    domain = Domain(SERVICE.service_id, "www.example.com")
    found = poppy.storage.edge.traffic(domain, NOW - 24 * HOUR, NOW + HOUR)
    assert found == [(NOW, Counts(1, 20, 3, 4, 5, 18, 2**53))]
    assert poppy.storage.edge.traffic(TOTAL, NOW - 24 * HOUR, NOW + HOUR) == found
    by_country = poppy.storage.edge.traffic_by_country(domain, NOW - 24 * HOUR, NOW + HOUR)
    assert by_country == {"DE": found}
