# SPDX-License-Identifier: Apache-2.0
"""The metrics of a domain from what the nodes count."""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence

from poppy.model.edge_traffic import Counts
from poppy.provider.base import Metric, Point

_VALUES: Mapping[Metric, Callable[[Counts], int]] = {
    Metric.REQUEST_COUNT: lambda counts: counts.requests,
    Metric.BANDWIDTH_OUT: lambda counts: counts.sent,
    Metric.RESPONSES_1XX: lambda counts: counts.responses_1xx,
    Metric.RESPONSES_2XX: lambda counts: counts.responses_2xx,
    Metric.RESPONSES_3XX: lambda counts: counts.responses_3xx,
    Metric.RESPONSES_4XX: lambda counts: counts.responses_4xx,
    Metric.RESPONSES_5XX: lambda counts: counts.responses_5xx,
    Metric.CACHE_HITS: lambda counts: counts.hits,
}


def points(hours: Iterable[tuple[datetime.datetime, Counts]], metric: Metric) -> Sequence[Point]:
    """Return a point for each hour in which a node counted something."""
    return [Point(hour, _VALUES[metric](counts)) for hour, counts in hours]
