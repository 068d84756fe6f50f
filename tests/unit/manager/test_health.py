# SPDX-License-Identifier: Apache-2.0
"""Concurrent health requests share one check per driver."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from poppy.manager import caching, health


@pytest.fixture
def provider():
    return mock.Mock()


@pytest.fixture
def manager(provider):
    parts = [mock.Mock() for _ in range(3)]
    for number, part in enumerate(parts):
        part.name = f"part{number}"
    storage, board, dns = parts
    return health.HealthManager(storage, board, {"cdn": provider}, dns)


def test_a_result_is_cached_for_a_while(manager, provider, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(caching.time, "monotonic", lambda: now[0])
    provider.health.return_value = True
    assert manager.check("provider", "cdn")
    provider.health.return_value = False
    now[0] += health.MEMORY - 1
    assert manager.report()["provider"] == {"cdn": True}
    assert provider.health.call_count == 1
    now[0] += 1
    assert manager.report()["provider"] == {"cdn": False}
    assert not manager.check("provider", "cdn")
    assert provider.health.call_count == 2


def test_concurrent_requests_share_one_check(manager, provider):
    go_on = threading.Event()
    provider.health.side_effect = lambda: go_on.wait(10)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(manager.check, "provider", "cdn") for _ in range(8)]
        time.sleep(0.1)
        go_on.set()
        assert all(answer.result() for answer in answers)
    assert provider.health.call_count == 1


def test_ping_is_not_cached(manager):
    storage = manager._checks["storage"]["part0"]
    storage.return_value = True
    assert manager.ping()
    storage.return_value = False
    assert not manager.ping()
