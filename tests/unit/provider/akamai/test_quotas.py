# SPDX-License-Identifier: Apache-2.0
"""Limits in Akamai's responses."""

import datetime

from poppy.common import http
from poppy.provider.akamai.quotas import read_quotas


def test_limits_on_calls_and_objects_are_read() -> None:
    then = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)).isoformat()
    fields = {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Next": then,
        "X-Limit-Hosts-Per-Property-Limit": "100",
        "X-Limit-Hosts-Per-Property-Remaining": "0",
    }
    found = read_quotas(fields)
    assert found["requests"].resets_at == datetime.datetime.fromisoformat(then)
    assert found["hosts-per-property"] == http.Quota(100, 0, None)
    assert 28 < (http.retry_after(fields, read_quotas) or 0) <= 30


def test_the_next_call_of_the_newer_fields_is_read() -> None:
    fields = {
        "Akamai-RateLimit-Limit": "60",
        "Akamai-RateLimit-Remaining": "0",
        "Akamai-RateLimit-Next": "2030-01-01T00:00:00Z",
    }
    next_call = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    assert read_quotas(fields) == {"requests": http.Quota(60, 0, next_call)}
