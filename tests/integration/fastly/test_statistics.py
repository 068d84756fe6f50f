# SPDX-License-Identifier: Apache-2.0
"""Counts by region, in intervals that Fastly still stores."""

import datetime

import pytest

from poppy.common.errors import PermanentError
from poppy.provider.base import Metric, Point, Query
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.builders import make_service
from tests.real.fastly import Fastly

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def query(metric: Metric, length: datetime.timedelta) -> Query:
    return Query("www.a.example.com", metric, START, START + length)


def row(hours: int, **counts: int) -> dict[str, int]:
    return {"start_time": int(START.timestamp()) + 3600 * hours, **counts}


def test_points_are_in_order_and_empty_regions_left_out(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = make_service()
    provider.ensure(service, None)
    fastly.statistics = {
        "usa": [row(1, requests=7, bandwidth=70, hits=6), row(0, requests=5, bandwidth=50)],
        "europe": [row(0, requests=3, status_4xx=1), row(1)],
        "asia": [row(0, requests=0)],
    }
    hour = datetime.timedelta(hours=1)
    day = datetime.timedelta(days=1)

    assert provider.metrics(service, None, query(Metric.REQUEST_COUNT, day)) == {
        "usa": [Point(START, 5), Point(START + hour, 7)],
        "europe": [Point(START, 3), Point(START + hour, 0)],
    }
    assert list(provider.metrics(service, None, query(Metric.BANDWIDTH_OUT, day))) == ["usa"]
    assert provider.metrics(service, None, query(Metric.CACHE_HITS, day)) == {
        "usa": [Point(START, 0), Point(START + hour, 6)]
    }
    assert provider.metrics(service, None, query(Metric.RESPONSES_4XX, day)) == {
        "europe": [Point(START, 1), Point(START + hour, 0)]
    }


@pytest.mark.parametrize(
    ("length", "step"),
    [
        (datetime.timedelta(hours=3), "minute"),
        (datetime.timedelta(days=1), "hour"),
        (datetime.timedelta(days=14), "hour"),
        (datetime.timedelta(days=15), "day"),
    ],
)
def test_the_interval_depends_on_the_period(
    fastly: Fastly, provider: FastlyProvider, length: datetime.timedelta, step: str
) -> None:
    service = make_service()
    provider.ensure(service, None)
    fastly.statistics = {"usa": []}

    provider.metrics(service, None, query(Metric.REQUEST_COUNT, length))

    (asked,) = fastly.asked
    assert (asked["by"], asked["region"]) == (step, "usa")
    assert float(asked["to"]) - float(asked["from"]) == length.total_seconds()


def test_metrics_of_a_missing_service_are_refused(provider: FastlyProvider) -> None:
    with pytest.raises(PermanentError, match="has no service"):
        provider.metrics(
            make_service(), None, query(Metric.REQUEST_COUNT, datetime.timedelta(days=1))
        )
