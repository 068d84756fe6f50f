# SPDX-License-Identifier: Apache-2.0
"""A double of Fastly for each test, and drivers for it."""

from collections.abc import Iterator
from typing import Any

import pytest

from poppy.common import config
from poppy.provider.fastly.driver import FastlyProvider
from tests.real.fastly import TOKEN, Fastly

GROUP = "drivers:provider:fastly"
SECRET = "the-secret-key-of-the-logs"
LOGS = {
    "log_bucket": "logs",
    "log_endpoint": "https://swift.example.net",
    "log_access_key": "AKIALOGS",
    "log_secret_key": SECRET,
}


@pytest.fixture
def fastly() -> Iterator[Fastly]:
    with Fastly() as running:
        yield running


@pytest.fixture
def provider(fastly: Fastly) -> FastlyProvider:
    return make_provider(fastly, **LOGS)


def make_provider(fastly: Fastly, **options: Any) -> FastlyProvider:
    conf = config.new()
    conf([])
    conf.register_opts(FastlyProvider.OPTS, group=GROUP)
    for name, value in {"token": TOKEN, "api_url": fastly.url, **options}.items():
        conf.set_override(name, value, group=GROUP)
    return FastlyProvider(conf, "fastly")
