# SPDX-License-Identifier: Apache-2.0
"""DataStream 2 of the double of Akamai.

Forms and rules are from the OpenAPI document of version 2 (akamai/akamai-apis on GitHub), paths
from the clients of version 3, and the rest from https://techdocs.akamai.com/datastream2/v3.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from tests.real.akamai_papi import Answer, PAPIDouble

_NEEDED = {"streamName", "contractId", "properties", "datasetFields", "deliveryConfiguration"}
_NEEDED |= {"destination"}
_OPTIONAL = {"notificationEmails", "collectMidgress"}
_SHARED = {"destinationType", "displayName", "accessKey", "secretAccessKey", "bucket", "region"}
_DESTINATIONS = {
    "S3": ({*_SHARED, "path"}, set()),
    "S3_COMPATIBLE": ({*_SHARED, "endpoint"}, {"path", "compressLogs"}),
}
_SECRETS = ("accessKey", "secretAccessKey")
_FORBIDDEN = set("\\{^}%[]<>~#|?'\",`")
_FIELDS = {999, 1000, 1002, 1005, 1006, 1008, 1009, *range(1011, 1018), 1019, 1023, 1031, 1032}
_FIELDS |= {1033, 1037, 1068, 1100, 1102, 1103, *range(2001, 2011), 2012, 2013, 2014, 2021, 2023}


class DataStreamDouble:
    """Streams of log lines.

    Attributes:
        takes: reads of a stream until it is activated or deactivated.
        keys: secret keys by access key, of those that can write to the buckets.
        buckets: the existing buckets.
        quotes: whether refusals quote the destination.
        streams: configurations by id, with ``streamStatus``.
    """

    def __init__(self, papi: PAPIDouble, contract: str, group: str) -> None:
        self._papi = papi
        self._contract, self._group = contract, group
        self._ids = itertools.count(7001)
        self.takes = 2
        self.keys: dict[str, str] = {}
        self.buckets: set[str] = set()
        self.quotes = False
        self.streams: dict[int, dict[str, Any]] = {}
        base = "/datastream-config-api/v3/log/cdn/streams"
        one = rf"{base}/(\d+)"
        self.routes = [
            ("GET", base, self._list),
            ("POST", base, self._create),
            ("GET", one, self._get),
            ("PUT", one, self._change),
            ("DELETE", one, self._delete),
            ("POST", f"{one}/activate", self._activate),
            ("POST", f"{one}/deactivate", self._deactivate),
        ]

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the streams with a name."""
        return [one for one in self.streams.values() if one["streamName"] == name]

    def accepts(self, stream: str) -> bool:
        """Return whether a rule tree may name a stream. The double wants an active one."""
        found = self.streams.get(int(stream)) if stream.isdigit() else None
        return found is not None and found["streamStatus"] in ("ACTIVATING", "ACTIVATED")

    def _list(self, request: Any) -> Answer:
        group = request.params.get("groupId")
        for one in self.streams.values():
            self._look(one)
        found = [one for one in self.streams.values() if group in (None, str(one["groupId"]))]
        names = ("contractId", "groupId", "latestVersion", "properties", "streamId")
        names += ("streamName", "streamStatus", "streamVersion")
        return 200, {}, [{name: one[name] for name in names} for one in found]

    def _create(self, request: Any) -> Answer:
        body = request.body
        if body.get("groupId") != int(self._group.removeprefix("grp_")):
            return _refusal(403, "User is not having access for the group.")
        wrong = self._wrong({k: v for k, v in body.items() if k != "groupId"})
        if wrong:
            return self._refused(wrong, body)
        number = next(self._ids)
        active = request.params.get("activate") == "true"
        self.streams[number] = {
            **body,
            "streamId": number,
            "streamVersion": 1,
            "latestVersion": 1,
            "streamStatus": "ACTIVATING" if active else "INACTIVE",
            "looks": 0,
        }
        return 201, {}, self._shown(self.streams[number])

    def _get(self, _request: Any, number: str) -> Answer:
        found = self.streams.get(int(number))
        if found is None:
            return _refusal(400, "Stream does not exist. Please provide valid stream.")
        self._look(found)
        return 200, {}, self._shown(found)

    def _change(self, request: Any, number: str) -> Answer:
        found = self.streams[int(number)]
        if found["streamStatus"] in ("ACTIVATING", "DEACTIVATING"):
            return _refusal(400, "The stream is being activated or deactivated.")
        active = request.params.get("activate") == "true"
        if found["streamStatus"] == "ACTIVATED" and not active:
            return _refusal(400, "An active stream stays active.")
        wrong = self._wrong(request.body)
        if wrong:
            return self._refused(wrong, request.body)
        found |= request.body
        found["streamVersion"] += 1
        found["latestVersion"] += 1
        found |= {"streamStatus": "ACTIVATING" if active else "INACTIVE", "looks": 0}
        return 200, {}, self._shown(found)

    def _delete(self, _request: Any, number: str) -> Answer:
        found = self.streams.get(int(number))
        if found is None:
            return _refusal(404, "Stream does not exist.")
        if found["streamStatus"] not in ("INACTIVE", "DEACTIVATED"):
            return _refusal(400, "Deactivate the stream first.")
        del self.streams[int(number)]
        return 204, {}, None

    def _activate(self, _request: Any, number: str) -> Answer:
        return self._turn(number, ("INACTIVE", "DEACTIVATED"), "ACTIVATING")

    def _deactivate(self, _request: Any, number: str) -> Answer:
        return self._turn(number, ("ACTIVATED",), "DEACTIVATING")

    def _turn(self, number: str, before: tuple[str, ...], after: str) -> Answer:
        found = self.streams[int(number)]
        if found["streamStatus"] not in before:
            return _refusal(400, f"The stream is {found['streamStatus']}.")
        found |= {"streamStatus": after, "looks": 0}
        return 200, {}, self._shown(found)

    def _look(self, one: dict[str, Any]) -> None:
        """Advance time: each read brings a stream closer to its next status."""
        ends = {"ACTIVATING": "ACTIVATED", "DEACTIVATING": "DEACTIVATED"}
        if one["streamStatus"] in ends:
            one["looks"] += 1
            if one["looks"] > self.takes:
                one["streamStatus"] = ends[one["streamStatus"]]

    def _shown(self, one: dict[str, Any]) -> dict[str, Any]:
        destination = {k: v for k, v in one["destination"].items() if k not in _SECRETS}
        fields = [
            {**it, "datasetFieldName": "name", "datasetFieldJsonKey": "key"}
            for it in one["datasetFields"]
        ]
        properties = [{**it, "propertyName": "name"} for it in one["properties"]]
        shown = {name: value for name, value in one.items() if name != "looks"}
        return {
            **shown,
            "productId": "Ion_Standard",
            "destination": destination,
            "datasetFields": fields,
            "properties": properties,
        }

    def _refused(self, detail: str, body: Mapping[str, Any]) -> Answer:
        return _refusal(400, f"{detail} {body['destination']}" if self.quotes else detail)

    def _wrong(self, body: Mapping[str, Any]) -> str:
        """Return why Akamai refuses a configuration; empty if it does not."""
        if not _NEEDED <= set(body) <= _NEEDED | _OPTIONAL:
            return "required members are missing, or there are others"
        if body["contractId"] != self._contract.removeprefix("ctr_"):
            return "no such contract"
        for one in body["properties"]:
            found = self._papi.properties.get(f"prp_{one['propertyId']}")
            if found is None or not any(found["active"].values()):
                return f"property {one['propertyId']} is not active"
        unknown = {one["datasetFieldId"] for one in body["datasetFields"]} - _FIELDS
        if unknown:
            return f"unknown fields {sorted(unknown)}"
        return _wrong_delivery(body["deliveryConfiguration"]) or self._wrong_destination(
            body["destination"]
        )

    def _wrong_destination(self, found: Mapping[str, Any]) -> str:
        needed, optional = _DESTINATIONS.get(found.get("destinationType", ""), (set("?"), set()))
        if not needed <= set(found) <= needed | optional or not all(found.values()):
            return "the destination's members are wrong"
        if found.get("endpoint", "https://").partition("://")[0] != "https":
            return "the endpoint is not scheme-qualified"
        if _FORBIDDEN & set(found.get("path", "")):
            return "the path has forbidden characters"
        if (
            found["bucket"] not in self.buckets
            or self.keys.get(found["accessKey"]) != found["secretAccessKey"]
        ):
            return "The credentials provided don't give you write access to the bucket."
        return ""


def _wrong_delivery(found: Mapping[str, Any]) -> str:
    known = {"format", "frequency", "fieldDelimiter", "uploadFilePrefix", "uploadFileSuffix"}
    if set(found) - known or found["frequency"].get("intervalInSeconds") not in (30, 60):
        return "the delivery configuration is wrong"
    if found.get("format") not in ("JSON", "STRUCTURED"):
        return "unknown format"
    if (found["format"] == "STRUCTURED") != ("fieldDelimiter" in found):
        return "only STRUCTURED has a delimiter"
    if len(found.get("uploadFileSuffix", "")) > 10 or "." in found.get("uploadFilePrefix", ""):
        return "the names of files are wrong"
    return ""


def _refusal(status: int, detail: str) -> Answer:
    error = {"type": "bad-request", "title": "Bad Request", "detail": detail}
    return status, {}, {**error, "detail": "", "statusCode": status, "errors": [error]}
