# SPDX-License-Identifier: Apache-2.0
"""Akamai's Reporting API, version 1: https://techdocs.akamai.com/reporting/reference/api.

Reports contain rates; a count is the rate times the length of the interval. Reports cover a CP
code, that is, all domains of a service.
"""

import datetime
from collections.abc import Iterator
from typing import NamedTuple

from poppy.common.errors import RetryableError
from poppy.provider.akamai.edgegrid import Document, Session
from poppy.provider.base import Metric, Point, Query

_MINUTES = 60
_HOURS = 60 * _MINUTES
_DAYS = 24 * _HOURS
#: (maximum period in seconds, interval name, interval length in seconds).
_INTERVALS = ((6 * _HOURS, "FIVE_MINUTES", 5 * _MINUTES), (31 * _DAYS, "HOUR", _HOURS))
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class _Report(NamedTuple):
    """A report, and its rate for a metric.

    Attributes:
        scale: factor from the rate's unit to the metric's unit.
        response_class: the class of responses to count; None for all.
    """

    name: str
    rate: str
    scale: float = 1.0
    response_class: str | None = None


_REPORTS = {
    Metric.REQUEST_COUNT: _Report("hits-by-time", "edgeHitsPerSecond"),
    Metric.BANDWIDTH_OUT: _Report("bytes-by-time", "edgeBitsPerSecond", 1 / 8),
    **{
        metric: _Report(
            "traffic-by-timeandresponseclass",
            "edgeHitsPerSecond",
            response_class=metric.value[-3:].lower(),
        )
        for metric in Metric
        if metric.name.startswith("RESPONSES")
    },
}


def points(session: Session, cp_code: int, query: Query) -> list[Point]:
    """Return the counts in order of time.

    Raises:
        RetryableError, PermanentError: see :meth:`Client.request`.
    """
    report = _REPORTS[query.metric]
    interval, seconds = _interval(query)
    body: Document = {"objectIds": [str(cp_code)], "metrics": [report.rate]}
    if report.response_class:
        body["filters"] = {"response_class": [report.response_class]}
    answer = session.json(
        "POST",
        f"/reporting-api/v1/reports/{report.name}/versions/1/report-data",
        params={
            # Reports must start and end at interval boundaries.
            "start": _written(_aligned(query.start, seconds)),
            "end": _written(_aligned(query.end, seconds, up=True)),
            "interval": interval,
        },
        json=body,
    )
    counts: dict[datetime.datetime, float] = {}
    for moment, rate in _rates(answer, report):
        counts[moment] = counts.get(moment, 0.0) + rate * report.scale * seconds
    return [Point(moment, round(counts[moment])) for moment in sorted(counts)]


def _rates(answer: Document, report: _Report) -> Iterator[tuple[datetime.datetime, float]]:
    """Yield time and rate of each row. Rows are nested if they are grouped by more than time."""
    try:
        for row in answer["data"]:
            moment = datetime.datetime.fromisoformat(row["startdatetime"]).astimezone(datetime.UTC)
            for entry in row.get("data", [row]):
                if _concerns(entry, report):
                    yield moment, float(entry[report.rate])
    except (KeyError, TypeError, ValueError) as exc:
        raise RetryableError(f"Akamai's report {report.name} can't be read: {exc!r}") from exc


def _concerns(entry: Document, report: _Report) -> bool:
    said = str(entry.get("response_class", "")).lower()
    known = said and report.response_class
    return entry.get(report.rate) not in (None, "N/A") and (
        not known or said == report.response_class
    )


def _interval(query: Query) -> tuple[str, int]:
    length = (query.end - query.start).total_seconds()
    for longest, name, seconds in _INTERVALS:
        if length <= longest:
            return name, seconds
    return "DAY", _DAYS


def _aligned(moment: datetime.datetime, seconds: int, *, up: bool = False) -> datetime.datetime:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    beyond = (moment - _EPOCH) % datetime.timedelta(seconds=seconds)
    floor = moment - beyond
    return floor + datetime.timedelta(seconds=seconds) if up and beyond else floor


def _written(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
