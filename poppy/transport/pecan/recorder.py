# SPDX-License-Identifier: Apache-2.0
"""What a WSGI middleware can learn about the response of the application inside it."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ResponseRecorder:
    """A ``start_response`` (PEP 3333) that remembers the status and the header fields.

    Attributes:
        status: the three digits; ``500`` until the application has answered.
        headers: the fields of the response.
    """

    __slots__ = ("_start_response", "headers", "status")

    def __init__(self, start_response: "StartResponse") -> None:
        self._start_response = start_response
        self.status = "500"
        self.headers: list[tuple[str, str]] = []

    def __call__(self, line: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        """Record, and pass on."""
        self.status = line[:3]
        self.headers = headers
        return self._start_response(line, headers, exc_info)


class Observer:
    """Base of middleware that reports each response when it is ready, before it is sent."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Run the application and report its response."""
        began = time.perf_counter()
        response = ResponseRecorder(start_response)
        try:
            return self._application(environ, response)
        finally:
            self.report(environ, response.status, time.perf_counter() - began)

    def report(self, environ: "WSGIEnvironment", status: str, seconds: float) -> None:
        """Report a response and the seconds that it took."""
        raise NotImplementedError
