# SPDX-License-Identifier: Apache-2.0
"""Parsing and bounds of the waits that vendors and drivers ask for."""

import datetime
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poppy.common import errors, http, waits
from poppy.provider.akamai import quotas as akamai
from poppy.provider.fastly import api as fastly

NOW = datetime.datetime(2026, 11, 29, 12, 0, tzinfo=datetime.UTC)

ABSURD = [
    *("inf", "Infinity", "nan", "1e9", "-5", "+5", "12.5", "0x10", "1_000", "5 5", "", " "),
    *("٣٠", "３０", "²", "5\n", "soon", "2099-01-01T00:00:00Z", "1 Jan 2099 00:00:00 GMT"),
    "Thu, 99 Jan 2099 00:00:00 GMT",
    "Thu, 01 Foo 2099 00:00:00 GMT",
    "Thu, 01 Jan 2099 25:61:61 GMT",
    "Thu, 01 Jan 2099 00:00:00 +0100",
]


@pytest.mark.parametrize("text", ABSURD)
def test_an_invalid_retry_after_field_is_ignored(text):
    assert waits.retry_after(text, NOW) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("007", 7.0),
        ("120", 120.0),
        ("315360000", waits.LONGEST),
        ("99999999999", waits.LONGEST),
        ("9" * 5000, waits.LONGEST),
        ("Sun, 29 Nov 2026 12:00:30 GMT", 30.0),
        ("Sunday, 29-Nov-26 12:00:30 GMT", 30.0),
        ("Sun Nov 29 12:00:30 2026", 30.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", waits.LONGEST),
        ("Fri, 31 Dec 9999 23:59:59 GMT", waits.LONGEST),
    ],
)
def test_digits_and_http_dates_are_bounded(text, seconds):
    assert waits.retry_after(text, NOW) == seconds


@pytest.mark.parametrize("value", [None, "30", True, math.nan, math.inf, -math.inf, -1, [], b"5"])
def test_an_invalid_number_of_a_driver_is_ignored(value):
    assert waits.bounded(value) is None
    assert errors.RetryableError("x", value).retry_after is None
    assert errors.InProgressError("x", value).poll_after == errors.POLL_AFTER


@pytest.mark.parametrize("value", [10**9, 1e300, 10**400])
def test_a_drivers_number_is_bounded(value):
    assert waits.bounded(value) == waits.LONGEST
    assert errors.RetryableError("x", value).retry_after == waits.LONGEST
    assert errors.InProgressError("x", value).poll_after == waits.LONGEST


FIELD = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"-?[0-9]{1,40}(\.[0-9]+)?(e[0-9]{1,4})?", fullmatch=True),
    st.datetimes().map(lambda it: it.strftime("%a, %d %b %Y %H:%M:%S GMT")),
    st.datetimes().map(lambda it: f"{it.isoformat()}+23:59"),
    st.datetimes().map(lambda it: it.isoformat()),
    st.sampled_from(ABSURD),
)
ROWS = (*http.QUOTA_FIELDS, *akamai.CALLS, fastly.WRITES)
NAMES = st.sampled_from(
    ["Retry-After", "X-Limit-Things-Remaining", *(it for row in ROWS for it in row)]
)


@pytest.mark.parametrize("read", [http.quotas, akamai.read_quotas, fastly.read_quotas])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, FIELD, max_size=8))
def test_any_response_gives_no_wait_or_a_bounded_one(read, headers):
    wait = http.retry_after(headers, read)
    assert wait is None or 0 <= wait <= waits.LONGEST
    for quota in read(headers).values():
        assert 0 <= quota.remaining < 10**12
        assert quota.limit is None or 0 <= quota.limit < 10**12
        if quota.resets_at is not None:
            ahead = quota.resets_at - datetime.datetime.now(datetime.UTC)
            assert abs(ahead) < datetime.timedelta(days=3651)


@settings(deadline=None)
@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans(), st.binary()))
def test_any_value_of_a_driver_gives_no_wait_or_a_bounded_one(value):
    wait = errors.RetryableError("x", value).retry_after
    assert wait is None or 0 <= wait <= waits.LONGEST
    assert 0 <= errors.InProgressError("x", value).poll_after <= waits.LONGEST
