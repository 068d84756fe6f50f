# SPDX-License-Identifier: Apache-2.0
"""The access log: one line per request, written by the logger ``poppy.access``."""

import logging
import urllib.parse
from typing import TYPE_CHECKING

from poppy.transport.pecan.recorder import Observer
from poppy.transport.pecan.request import PROJECT_ID, REQUEST_ID

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LOG = logging.getLogger("poppy.access")

#: Characters that can't start a new field or line.
_PLAIN = "/:.,;@=+*!~-_[]()"
_LONGEST = 1024
#: The longest segment of a path that is logged. Names and ids of the API are shorter; a longer
#: segment may be a token that a client has put in the wrong place.
_LONGEST_SEGMENT = 64
#: Each node of the operator's own edge asks here every second.
_POLLED = "/edge/v1/changes"


class AccessLog(Observer):
    """The outermost middleware: logs a line when the response is ready.

    A node's request for changes that finds none is logged at DEBUG, all others at INFO.

    The query string and long segments of the path are left out because clients put secrets
    there. Values that the client chooses are percent-encoded, so a client can't forge log lines.
    """

    def report(self, environ: "WSGIEnvironment", status: str, seconds: float) -> None:
        """Log a response."""
        polled = environ.get("PATH_INFO") == _POLLED and status == "304"
        write(
            environ.get("REMOTE_ADDR"),
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO"),
            status,
            1000 * seconds,
            environ.get(PROJECT_ID),
            environ.get(REQUEST_ID),
            logging.DEBUG if polled else logging.INFO,
        )


def write(
    address: str | None,
    method: str | None,
    path: str | None,
    status: str,
    milliseconds: float,
    project_id: str | None,
    request_id: str | None,
    level: int = logging.INFO,
) -> None:
    """Log one request; unknown values are logged as ``-``."""
    LOG.log(
        level,
        '%s "%s %s" %s %.1f ms project=%s request=%s',
        _plain(address),
        _plain(method),
        _plain(_without_secrets(path)),
        status,
        milliseconds,
        _plain(project_id),
        request_id or "-",
    )


def _without_secrets(path: str | None) -> str | None:
    if path is None or len(path) <= _LONGEST_SEGMENT:
        return path
    parts = path[:_LONGEST].split("/")
    return "/".join(it if len(it) <= _LONGEST_SEGMENT else "*" for it in parts)


def _plain(text: str | None) -> str:
    if not text:
        return "-"
    return urllib.parse.quote(text[:_LONGEST], safe=_PLAIN, encoding="latin-1", errors="replace")
