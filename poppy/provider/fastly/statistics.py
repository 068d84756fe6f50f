# SPDX-License-Identifier: Apache-2.0
"""Historical statistics of a service by region.

See https://www.fastly.com/documentation/reference/api/metrics-stats/historical-stats/.
"""

import datetime
from collections.abc import Mapping, Sequence

from poppy.provider.base import Metric, Point, Query
from poppy.provider.fastly.api import API

_FIELDS = {
    Metric.REQUEST_COUNT: "requests",
    Metric.BANDWIDTH_OUT: "bandwidth",
    Metric.CACHE_HITS: "hits",
    **{it: f"status_{it.value[-3:].lower()}" for it in Metric if it.name.startswith("RESPONSES")},
}
#: (maximum period, interval). Fastly keeps minutely values for 35 days and hourly values for 375.
_STEPS = ((datetime.timedelta(hours=3), "minute"), (datetime.timedelta(days=14), "hour"))


def metrics(api: API, service: str, query: Query) -> Mapping[str, Sequence[Point]]:
    """Return points by region in order of time, without regions that have only zeros."""
    length = query.end - query.start
    step = next((name for longest, name in _STEPS if length <= longest), "day")
    params = {
        "from": str(int(query.start.timestamp())),
        "to": str(int(query.end.timestamp())),
        "by": step,
    }
    field = _FIELDS[query.metric]
    zones = {}
    for region in api.regions():
        rows = api.statistics(service, {**params, "region": region})
        points = [
            Point(
                datetime.datetime.fromtimestamp(row["start_time"], datetime.UTC),
                int(row.get(field) or 0),
            )
            for row in rows
        ]
        if any(point.value for point in points):
            zones[region] = sorted(points)
    return zones
