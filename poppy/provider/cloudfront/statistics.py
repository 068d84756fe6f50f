# SPDX-License-Identifier: Apache-2.0
"""CloudWatch metrics of a distribution.

See "Viewing CloudFront and edge function metrics" in the CloudFront developer guide. The free
metrics include requests, bytes, and the rates of 4xx and 5xx responses.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from poppy.common.errors import PermanentError
from poppy.provider.base import Metric, Point, Query
from poppy.vendors import aws

#: CloudWatch's metric, and the metric of a percentage to apply to it, by Poppy's metric.
_NAMES: Mapping[Metric, tuple[str, str | None]] = {
    Metric.REQUEST_COUNT: ("Requests", None),
    Metric.BANDWIDTH_OUT: ("BytesDownloaded", None),
    Metric.RESPONSES_4XX: ("Requests", "4xxErrorRate"),
    Metric.RESPONSES_5XX: ("Requests", "5xxErrorRate"),
}
#: CloudWatch keeps 5-minute values for 63 days and hourly values for 455 days.
_FINE, _COARSE = 300, 3600
_FINE_SPAN = datetime.timedelta(days=2)
_FINE_AGE = datetime.timedelta(days=62)


def counted(cloudwatch: aws.Service, distribution_id: str, query: Query) -> Sequence[Point]:
    """Return the values of a metric in order of time, one per five minutes or per hour.

    Raises:
        PermanentError: CloudFront does not have the metric.
    """
    if query.metric not in _NAMES:
        raise PermanentError(f"CloudFront does not count {query.metric}")
    name, share = _NAMES[query.metric]
    now = datetime.datetime.now(datetime.UTC)
    is_fine = query.end - query.start <= _FINE_SPAN and now - query.start <= _FINE_AGE
    period = _FINE if is_fine else _COARSE
    wanted = [_query("base", name, "Sum", distribution_id, period)]
    if share is not None:
        wanted.append(_query("share", share, "Average", distribution_id, period))
    series: dict[str, dict[datetime.datetime, float]] = {}
    pages = cloudwatch.pages(
        "get_metric_data",
        MetricDataQueries=wanted,
        StartTime=query.start,
        EndTime=query.end,
        ScanBy="TimestampAscending",
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            values = zip(result["Timestamps"], result["Values"], strict=True)
            series.setdefault(result["Id"], {}).update(values)
    base, shares = series.get("base", {}), series.get("share", {})
    points = [
        Point(
            moment.astimezone(datetime.UTC),
            round(value if share is None else value * shares.get(moment, 0.0) / 100),
        )
        for moment, value in base.items()
    ]
    return sorted(points)


def _query(key: str, metric: str, stat: str, distribution_id: str, period: int) -> dict[str, Any]:
    dimensions = {"DistributionId": distribution_id, "Region": "Global"}
    return {
        "Id": key,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/CloudFront",
                "MetricName": metric,
                "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions.items()],
            },
            "Period": period,
            "Stat": stat,
        },
    }
