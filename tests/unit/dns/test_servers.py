# SPDX-License-Identifier: Apache-2.0
"""Failover between equivalent servers."""

import pytest

from poppy.common.errors import PermanentError, RetryableError
from poppy.dns.servers import Servers


class Down:
    """Record the servers that are called; those that are down do not answer."""

    def __init__(self, *down: str) -> None:
        self.down = set(down)
        self.asked: list[str] = []

    def __call__(self, server: str) -> str:
        self.asked.append(server)
        if server in self.down:
            raise RetryableError(f"{server} is down")
        return server


def test_the_first_server_is_preferred_until_it_is_down() -> None:
    servers, work = Servers(["a", "b", "c"]), Down()
    assert servers.call(work) == "a"
    work.down = {"a"}
    assert servers.call(work) == "b"
    assert servers.call(work) == "b"
    assert work.asked == ["a", "a", "b", "b"], "one that did not answer is asked last from then on"
    work.down = {"b", "c"}
    assert servers.call(work) == "a"


def test_when_all_are_down_the_first_error_is_raised() -> None:
    work = Down("a", "b")
    with pytest.raises(RetryableError, match="a is down"):
        Servers(["a", "b"]).call(work)
    assert work.asked == ["a", "b"]


def test_a_refusal_is_not_retried_on_the_next_server() -> None:
    asked = []

    def work(server: str) -> None:
        asked.append(server)
        raise PermanentError("no")

    with pytest.raises(PermanentError):
        Servers(["a", "b"]).call(work)
    assert asked == ["a"]
