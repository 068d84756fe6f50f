# SPDX-License-Identifier: Apache-2.0
"""Fast Purge and Reporting of the double of Akamai."""

import datetime
import json
import re
from typing import Any
from urllib.parse import urlsplit

from tests.real.akamai_papi import Answer, PAPIDouble

#: The report delivery/traffic/current, as the API describes it ("Get report options").
_SECONDS = {"time5minutes": 300, "time1hour": 3600, "time1day": 86400}
_DIMENSIONS = {*_SECONDS, "cpcode", "hostname", "responseCode", "responseClass"}
_CLASSES = {f"{digit}xx" for digit in range(7)}
#: https://techdocs.akamai.com/purge-cache/docs/assign-cache-tags, "Syntax requirements".
_TAG = re.compile(r"[a-zA-Z0-9&'^$!`#%.+~_|/-]{1,128}")
_KINDS = "(url|tag|cpcode)"
_MOST_DIMENSIONS, _MOST_DAYS, _MOST_ROWS = 4, 90, 50_000
#: Sums of a second, by response class. (Other classes have no traffic.)
_TRAFFIC = {
    name: {"edgeHitsSum": 1, "edgeResponseBytesSum": bytes, "edgeBytesSum": bytes + 50}
    for name, bytes in (("2xx", 100), ("5xx", 25))
}


class EdgeDouble:
    """Purges of what properties serve, and reports of constant traffic.

    Attributes:
        purges: (action, kind, network, objects) of each request, in order.
        sizes: bytes of each request's body.
    """

    def __init__(self, papi: PAPIDouble) -> None:
        self._papi = papi
        self.purges: list[tuple[str, str, str, list[Any]]] = []
        self.sizes: list[int] = []
        self.routes = [
            (
                "POST",
                "/ccu/v3/(delete|invalidate)/(url|tag|cpcode)/(staging|production)",
                self._purge,
            ),
            ("POST", "/reporting-api/v2/reports/delivery/traffic/current/data", self._report),
        ]

    def _purge(self, request: Any, action: str, kind: str, network: str) -> Answer:
        objects = request.body["objects"]
        for one in objects:
            if kind == "cpcode" and one not in self._papi.cp_codes:
                return _refusal(403, f"unauthorized cpcode {one}")
            if kind == "url" and urlsplit(one).hostname not in self._papi.serving(network.upper()):
                return _refusal(403, f"unauthorized arl {one}")
            if kind == "tag" and not _TAG.fullmatch(one):
                return _refusal(400, f"no tag {one}")
        self.purges.append((action, kind, network, objects))
        self.sizes.append(len(json.dumps(request.body)))
        done = {"httpStatus": 201, "supportId": "17", "detail": "Request accepted"}
        return 201, {}, {**done, "estimatedSeconds": 5, "purgeId": "p"}

    def _report(self, request: Any) -> Answer:
        """Report the same traffic for each second.

        The answer's form is that of https://techdocs.akamai.com/reporting/reference: flat rows,
        with times in seconds since 1970. The default period of the report ends one second before
        an interval, so its end is inclusive.
        """
        body = request.body
        start, end = (
            datetime.datetime.fromisoformat(request.params[edge]) for edge in ("start", "end")
        )
        if not datetime.timedelta() <= end - start <= datetime.timedelta(days=_MOST_DAYS):
            return _refusal(400, f"not a period of {_MOST_DAYS} days at most")
        wrong = self._wrong(body)
        if wrong:
            return _refusal(*wrong)
        (interval,) = body["dimensions"]
        seconds = _SECONDS[interval]
        classes = {
            one
            for it in body["filters"]
            for one in it["expressions"]
            if it["dimensionName"] != "cpcode"
        }
        counted = [sums for name, sums in _TRAFFIC.items() if name in (classes or _TRAFFIC)]
        first = int(start.timestamp()) // seconds * seconds
        data = [
            {
                interval: moment,
                **{name: seconds * sum(it[name] for it in counted) for name in body["metrics"]},
            }
            for moment in range(first, int(end.timestamp()) + 1, seconds)
            if counted
        ]
        return 200, {}, {"data": data[: body["limit"]], "metadata": {"rowsCount": len(data)}}

    def _wrong(self, body: dict[str, Any]) -> tuple[int, str] | None:
        """Return status and reason if the body is not one that the report accepts."""
        sums = next(iter(_TRAFFIC.values()))
        unknown = {*body["metrics"]} - {*sums} or {*body["dimensions"]} - _DIMENSIONS
        if unknown or len(body["dimensions"]) > _MOST_DIMENSIONS:
            return 400, f"unknown or too many: {unknown} {body['dimensions']}"
        if not 0 < body["limit"] <= _MOST_ROWS:
            return 400, f"limit {body['limit']}"
        for one in body["filters"]:
            values = one["expressions"]
            if set(one) != {"dimensionName", "operator", "expressions"}:
                return 400, f"no filter {one}"
            if one["operator"] != "IN_LIST" or not all(isinstance(it, str) for it in values):
                return 400, f"no list {one}"
            if one["dimensionName"] == "cpcode":
                if {*values} - {str(code) for code in self._papi.cp_codes}:
                    return 403, f"unauthorized cpcode {values}"
            elif one["dimensionName"] != "responseClass" or {*values} - _CLASSES:
                return 400, f"no values of {one}"
        return None


def _refusal(status: int, detail: str) -> Answer:
    found = {"httpStatus": status, "supportId": "17", "title": "refused", "detail": detail}
    return status, {}, found
