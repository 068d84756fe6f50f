# SPDX-License-Identifier: Apache-2.0
"""What a WSGI middleware can learn about the response of the application inside it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


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
