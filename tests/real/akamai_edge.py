# SPDX-License-Identifier: Apache-2.0
"""Fast Purge and Reporting of the double of Akamai."""

import datetime
import json
from typing import Any
from urllib.parse import urlsplit

from tests.real.akamai_papi import Answer, PAPIDouble

_SECONDS = {"FIVE_MINUTES": 300, "HOUR": 3600, "DAY": 86400}


class EdgeDouble:
    """Purges of what properties serve, and reports with fixed rates.

    Attributes:
        purges: (action, kind, network, objects) of each request, in order.
        sizes: bytes of each request's body.
    """

    def __init__(self, papi: PAPIDouble) -> None:
        self._papi = papi
        self.purges: list[tuple[str, str, str, list[Any]]] = []
        self.sizes: list[int] = []
        self.routes = [
            ("POST", "/ccu/v3/(delete|invalidate)/(url|cpcode)/(staging|production)", self._purge),
            ("POST", "/reporting-api/v1/reports/([^/]+)/versions/1/report-data", self._report),
        ]

    def _purge(self, request: Any, action: str, kind: str, network: str) -> Answer:
        objects = request.body["objects"]
        for one in objects:
            if kind == "cpcode" and one not in self._papi.cp_codes:
                return _refusal(403, f"unauthorized cpcode {one}")
            if kind == "url" and urlsplit(one).hostname not in self._papi.serving(network.upper()):
                return _refusal(403, f"unauthorized arl {one}")
        self.purges.append((action, kind, network, objects))
        self.sizes.append(len(json.dumps(request.body)))
        done = {"httpStatus": 201, "supportId": "17", "detail": "Request accepted"}
        return 201, {}, {**done, "estimatedSeconds": 5, "purgeId": "p"}

    def _report(self, request: Any, name: str) -> Answer:
        """Report two requests a second, one 2xx and one 5xx, and a kilobit a second."""
        step = datetime.timedelta(seconds=_SECONDS[request.params["interval"]])
        start, end = (
            datetime.datetime.fromisoformat(request.params[edge]) for edge in ("start", "end")
        )
        if any(moment.timestamp() % step.total_seconds() for moment in (start, end)):
            return _refusal(400, "not aligned")
        moments = [start + number * step for number in range((end - start) // step)]
        written = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in moments]
        rates: dict[str, Any] = {
            "hits-by-time": {"edgeHitsPerSecond": "2.0"},
            "bytes-by-time": {"edgeBitsPerSecond": "1000.0"},
            "traffic-by-timeandresponseclass": {
                "data": [
                    {"response_class": name, "edgeHitsPerSecond": "1.0"}
                    for name in request.body.get("filters", {}).get("response_class", [])
                    if name in ("2xx", "5xx")
                ]
            },
        }
        if name not in rates:
            return _refusal(404, "no such report")
        data = [{"startdatetime": moment, **rates[name]} for moment in written]
        metadata = {
            "columns": [],
            "filters": [],
            "rowCount": len(data),
            "interval": request.params["interval"],
            "groupBy": ["startdatetime"],
            "start": request.params["start"],
            "end": request.params["end"],
            "availableDataEnds": request.params["end"],
            "suggestedRetryTime": request.params["end"],
            "objectIds": request.body["objectIds"],
        }
        return 200, {}, {"data": data, "metadata": metadata, "summaryStatistics": {}}


def _refusal(status: int, detail: str) -> Answer:
    found = {"httpStatus": status, "supportId": "17", "title": "refused", "detail": detail}
    return status, {}, found
