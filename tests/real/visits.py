# SPDX-License-Identifier: Apache-2.0
"""Requests of a visitor to a server of the test."""

import http.client
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

DOMAIN = "www.a.example.com"


class Answer(NamedTuple):
    status: int
    cache: str | None
    body: str
    headers: dict[str, str]


class Server(Protocol):
    """What answers requests at a host and port."""

    http: tuple[str, int]


def ask(
    server: Server, path: str = "/", host: str = DOMAIN, method: str = "GET", **headers: str
) -> Answer:
    connection = http.client.HTTPConnection(*server.http, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read().decode()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found.get("x-cache"), body, found)
    finally:
        connection.close()


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
