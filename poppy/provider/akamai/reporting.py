# SPDX-License-Identifier: Apache-2.0
"""Akamai's Reporting API, version 2: https://techdocs.akamai.com/reporting/reference.

The report ``delivery/traffic/current`` contains sums for each interval of time
(https://techdocs.akamai.com/reporting/reference/delivery-traffic-current). It covers a CP code,
that is, all domains of a service.
"""

import datetime
from collections.abc import Iterator
from typing import NamedTuple

from poppy.common.errors import PermanentError, RetryableError
from poppy.provider.akamai.edgegrid import Document, Session
from poppy.provider.base import Metric, Point, Query

_PATH = "/reporting-api/v2/reports/delivery/traffic/current/data"
_MINUTES = 60
_HOURS = 60 * _MINUTES
_DAYS = 24 * _HOURS
#: (maximum period in seconds, the interval's dimension, interval length in seconds).
_INTERVALS = ((6 * _HOURS, "time5minutes", 5 * _MINUTES), (31 * _DAYS, "time1hour", _HOURS))
#: The report's limits: days of a period, and rows.
_MOST_DAYS = 90
_MOST_ROWS = 50_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class _Count(NamedTuple):
    """A sum in the report.

    Attributes:
        response_class: the class of responses to count; None for all.
    """

    name: str
    response_class: str | None = None


_COUNTS = {
    Metric.REQUEST_COUNT: _Count("edgeHitsSum"),
    Metric.BANDWIDTH_OUT: _Count("edgeResponseBytesSum"),
    **{
        metric: _Count("edgeHitsSum", metric.value[-3:].lower())
        for metric in Metric
        if metric.name.startswith("RESPONSES")
    },
}


def points(session: Session, cp_code: int, query: Query) -> list[Point]:
    """Return the counts in order of time.

    Raises:
        PermanentError: also if the period is longer than Akamai's reports, or they do not have
            the metric.
        RetryableError: see :meth:`Client.request`; also if the answer can't be read.
    """
    if query.metric not in _COUNTS:
        raise PermanentError(f"Akamai's report does not count {query.metric}")
    count = _COUNTS[query.metric]
    interval, seconds = _interval(query)
    # Whole intervals, so that the same count does not depend on the query's seconds.
    start, end = _aligned(query.start, seconds), _aligned(query.end, seconds, up=True)
    if end - start > datetime.timedelta(days=_MOST_DAYS):
        raise PermanentError(
            f"Akamai's reports cover {_MOST_DAYS} days at most, not {(end - start).days}"
        )
    filters = [_one_of("cpcode", str(cp_code))]
    if count.response_class:
        filters.append(_one_of("responseClass", count.response_class))
    answer = session.json(
        "POST",
        _PATH,
        params={"start": _written(start), "end": _written(end)},
        json={
            "dimensions": [interval],
            "metrics": [count.name],
            "filters": filters,
            "limit": _MOST_ROWS,
        },
    )
    # The report may contain the interval that begins at the end.
    counts = {
        moment: number
        for moment, number in _rows(answer, interval, count.name)
        if start <= moment < end
    }
    return [Point(moment, counts[moment]) for moment in sorted(counts)]


def _one_of(dimension: str, value: str) -> Document:
    return {"dimensionName": dimension, "operator": "IN_LIST", "expressions": [value]}


def _rows(answer: Document, interval: str, name: str) -> Iterator[tuple[datetime.datetime, int]]:
    """Yield time and number of each row. Akamai leaves out intervals without traffic."""
    try:
        for row in answer["data"]:
            if row.get(name) is not None:
                moment = datetime.datetime.fromtimestamp(int(row[interval]), datetime.UTC)
                yield moment, int(row[name])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as exc:
        raise RetryableError(f"Akamai's report can't be read: {exc!r}") from exc


def _interval(query: Query) -> tuple[str, int]:
    length = (query.end - query.start).total_seconds()
    for longest, name, seconds in _INTERVALS:
        if length <= longest:
            return name, seconds
    return "time1day", _DAYS


def _aligned(moment: datetime.datetime, seconds: int, *, up: bool = False) -> datetime.datetime:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    beyond = (moment - _EPOCH) % datetime.timedelta(seconds=seconds)
    floor = moment - beyond
    return floor + datetime.timedelta(seconds=seconds) if up and beyond else floor


def _written(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
