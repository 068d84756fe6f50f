# SPDX-License-Identifier: Apache-2.0
"""A double of Akamai for each test, and drivers for it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poppy.common import config
from poppy.provider.akamai.driver import AkamaiProvider
from tests.real import akamai as double
from tests.real.akamai import Akamai
from tests.real.akamai_cps import TEMPLATE

GROUP = "drivers:provider:akamai"
SECRET = "the-secret-key-of-the-logs"
LOGS = {
    "log_bucket": "logs",
    "log_endpoint": "https://swift.example.net",
    "log_access_key": "AKIALOGS",
    "log_secret_key": SECRET,
}


@pytest.fixture
def akamai() -> Iterator[Akamai]:
    with Akamai() as running:
        yield running


@pytest.fixture
def provider(akamai: Akamai) -> AkamaiProvider:
    return make_provider(akamai)


def make_provider(akamai: Akamai, **options: Any) -> AkamaiProvider:
    conf = config.new()
    conf([])
    conf.register_opts(AkamaiProvider.OPTS, group=GROUP)
    values = {
        "host": "example.luna.akamaiapis.net",
        "client_token": double.CLIENT_TOKEN,
        "client_secret": double.CLIENT_SECRET,
        "access_token": double.ACCESS_TOKEN,
        "api_url": akamai.url,
        "contract": double.CONTRACT,
        "group": double.GROUP,
        "product": double.PRODUCT,
        "notify_emails": ["ops@example.com"],
        "poll_after": 0,
    }
    for name, value in {**values, **options}.items():
        conf.set_override(name, value, group=GROUP)
    return AkamaiProvider(conf, "akamai")


def logging_provider(akamai: Akamai, **options: Any) -> AkamaiProvider:
    """Return a driver with a store for logs, which is ready at the double."""
    akamai.streams.keys["AKIALOGS"] = SECRET
    akamai.streams.buckets.add("logs")
    return make_provider(akamai, **{**LOGS, **options})


def template(directory: Path) -> str:
    """Return a file with an enrollment template."""
    file = directory / "enrollment.json"
    file.write_text(json.dumps(TEMPLATE))
    return str(file)
