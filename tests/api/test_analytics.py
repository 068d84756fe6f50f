# SPDX-License-Identifier: Apache-2.0
"""Analytics through the complete API."""

import datetime
import time

import pytest

from poppy.common import errors
from poppy.provider.base import Capability, Metric, Point

DOMAIN = "www.example.com"
NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
DAY = "startTime=2026-01-01T00:00:00&endTime=2026-01-02T00:00:00"


@pytest.fixture
def path(api):
    path = api.create(DOMAIN)
    api.deploy(path)
    return f"{path}/analytics"


def ask(api, path, domain=DOMAIN, metric="requestCount", times=DAY, project=None):
    query = f"?domain={domain}&metricType={metric}&{times}"
    return api.call("GET", f"{path}{query}", project=project)


@pytest.mark.parametrize("metric", list(Metric))
def test_counts_are_returned_by_zone(api, path, metric):
    answer = ask(api, path, metric=metric)
    assert answer.status_code == 200
    assert answer.json == {
        "domain": DOMAIN,
        str(metric): {
            "Global": [
                {"timestamp": "2026-01-01T00:00:00", "count": 3},
                {"timestamp": "2026-01-02T00:00:00", "count": 5},
            ]
        },
        "provider": "cdn-a",
        "flavor": "standard",
    }
    (query,) = api.harness.cdn_a.queries
    assert query.start == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert query.end == datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


def test_period_defaults_to_the_last_day(api, path):
    assert ask(api, path, times="").status_code == 200
    (query,) = api.harness.cdn_a.queries
    assert query.end - query.start == datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta() <= now - query.end < datetime.timedelta(minutes=2)


def test_results_of_the_provider_are_cached(api, path):
    first = ask(api, path).json
    assert ask(api, path).json == first
    assert len(api.harness.cdn_a.queries) == 1
    ask(api, path, metric="bandwidthOut")
    assert len(api.harness.cdn_a.queries) == 2


def test_zones_are_countries_where_the_provider_has_them(api, path, monkeypatch):
    by_country = f"{DAY}&groupBy=country"
    kind = type(api.harness.cdn_a)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "SUPPORTS", kind.SUPPORTS - {Capability.ANALYTICS_BY_COUNTRY})
        refused = ask(api, path, times=by_country)
    assert (refused.status_code, api.harness.cdn_a.queries) == (400, [])
    assert "analytics by country" in refused.json["message"]
    api.harness.cdn_a.script = [lambda: {"DE": [Point(NOON, 3)], "ZZ": []}]
    found = ask(api, path, times=by_country)
    point = {"timestamp": "2026-01-01T12:00:00", "count": 3}
    assert found.json["requestCount"] == {"DE": [point], "ZZ": []}
    assert list(ask(api, path).json["requestCount"]) == ["Global"], "the cache tells them apart"
    assert [query.by_country for query in api.harness.cdn_a.queries] == [True, False]


def test_slow_provider_is_a_503_after_the_timeout(api, path):
    api.harness.boot.manager.analytics._timeout = 0.2
    api.harness.cdn_a.script = [lambda: time.sleep(1)]
    begun = time.monotonic()
    answer = ask(api, path)
    assert (answer.status_code, time.monotonic() - begun < 0.9) == (503, True)
    assert "cdn-a" in answer.json["message"]


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (errors.RetryableError("busy", 30), "30"),
        (errors.RetryableError("busy"), "5"),
        (errors.RetryableError("busy", 1e12), "3600"),
        (errors.RetryableError("busy", -1.0), "5"),
        (errors.RetryableError("busy", float("nan")), "5"),
        (errors.InProgressError("not yet", 60.0), "60"),
    ],
)
def test_retryable_provider_error_is_a_503_and_is_not_cached(api, path, error, wait):
    api.harness.cdn_a.script = [error]
    answer = ask(api, path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, wait)
    assert ask(api, path).status_code == 200


def test_permanent_provider_error_is_a_400(api, path):
    api.harness.cdn_a.script = [errors.PermanentError("it keeps no logs")]
    answer = ask(api, path)
    assert answer.status_code == 400
    assert "it keeps no logs" in answer.json["message"]
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        "",
        f"?domain={DOMAIN}",
        "?metricType=requestCount",
        f"?domain={DOMAIN}&metricType=nosuch",
        "?domain=a_b&metricType=requestCount",
        f"?domain={DOMAIN}&metricType=requestCount&startTime=yesterday",
        f"?domain={DOMAIN}&metricType=requestCount&endTime=2026-01-01",
        f"?domain={DOMAIN}&metricType=requestCount&endTime=0001-01-01T00:00:00",
        f"?domain={DOMAIN}&metricType=requestCount&startTime=2999-01-01T00:00:00",
        f"?domain={DOMAIN}&metricType=requestCount&startTime=1999-01-01T00:00:00",
        f"?domain={DOMAIN}&metricType=requestCount&{DAY.replace('01-02', '01-01')}",
        f"?domain={DOMAIN}&metricType=requestCount&groupBy=city",
        f"?domain={DOMAIN}&domain={DOMAIN}&metricType=requestCount",
    ],
)
def test_invalid_analytics_query_is_refused(api, path, query):
    assert api.call("GET", f"{path}{query}").status_code == 400
    assert api.harness.cdn_a.queries == []


def test_unknown_domain_or_service_is_not_found(api, path):
    assert ask(api, path, "other.example.com").status_code == 404
    assert ask(api, path, project="another").status_code == 404
    missing = "/v1.0/services/01890000-0000-7000-8000-000000000001/analytics"
    assert ask(api, missing).status_code == 404
    assert ask(api, "/v1.0/services/x/analytics").status_code == 400


def test_provider_without_analytics_is_a_400(api, path, monkeypatch):
    monkeypatch.setattr(type(api.harness.cdn_a), "SUPPORTS", frozenset())
    answer = ask(api, path)
    assert answer.status_code == 400
    assert "analytics" in answer.json["message"]
