# SPDX-License-Identifier: Apache-2.0
"""The log endpoint of a version, through which Fastly writes to the operator's bucket.

Fields: https://www.fastly.com/documentation/reference/api/logging/s3/. Fastly names an object
``<path><timestamp>-<uid>.log.gz`` ("Changing where log files are written").
"""

import urllib.parse
from collections.abc import Mapping

from poppy.provider.log_store import Location

#: The kind of the object, and the name of Poppy's. Operators may have endpoints of their own.
KIND = "logging/s3"
NAME = "poppy logs"

_PERIOD = 3600  # Seconds until a file is complete.
_GZIP = 3  # Fastly's default level for compressed logs.
#: Fields of a line and VCL for their values, as text or as numbers. Directives ``%{...}V`` insert
#: VCL: https://www.fastly.com/documentation/guides/integrations/streaming-logs/custom-log-formats.
_TEXTS = {
    "client": "client.ip",
    "method": "json.escape(req.method)",
    "host": "json.escape(req.http.Host)",
    "url": "json.escape(req.url)",
    "protocol": "json.escape(req.proto)",
    "referer": "json.escape(req.http.Referer)",
    "user_agent": "json.escape(req.http.User-Agent)",
    "cache": "json.escape(fastly_info.state)",
}
_NUMBERS = {
    "time": "time.start.sec",
    "milliseconds": "time.elapsed.msec",
    "status": "resp.status",
    "bytes": "resp.bytes_written",
    "body_bytes": "resp.body_bytes_written",
}
FORMAT = "{{{}}}".format(
    ",".join(
        [f'"{name}":%{{{vcl}}}V' for name, vcl in _NUMBERS.items()]
        + [f'"{name}":"%{{{vcl}}}V"' for name, vcl in _TEXTS.items()]
    )
)


def endpoint(place: Location) -> Mapping[str, str]:
    """Return the fields of the endpoint that delivers logs to a place."""
    store = place.store
    return {
        "name": NAME,
        "bucket_name": place.bucket,
        "domain": urllib.parse.urlsplit(store.endpoint).netloc,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "path": place.prefix,
        "period": str(_PERIOD),
        "gzip_level": str(_GZIP),
        "format_version": "2",
        "format": FORMAT,
        # Without a syslog header in front of each line.
        "message_type": "blank",
        "response_condition": "",
    }
