# SPDX-License-Identifier: Apache-2.0

import datetime

import pytest

from poppy.common.clock import now_utc
from poppy.common.errors import RetryableError
from poppy.provider.edge.acme_errors import RateLimited
from poppy.provider.edge.acme_limits import Budget, pause
from poppy.provider.edge.acme_options import Limits
from poppy.provider.edge.acme_orders import Order
from tests.certificates import MemoryRecords

WEEK = 7 * 86400


def order(*names, authority="https://ca.example/dir", **fields):
    return Order("id", names, authority, "sealed", **fields)


@pytest.fixture
def records():
    return MemoryRecords()


def budget(records, **limits):
    return Budget(records, Limits(**limits))


def test_orders_are_limited_per_authority(records):
    budgets = budget(records, orders=2)
    for name in ("a.example", "b.example"):
        budgets.check(order(name))
        budgets.ordered(order(name))
    with pytest.raises(RateLimited, match="2 new orders") as caught:
        budgets.check(order("c.example"))
    assert 10_700 < caught.value.retry_after <= 10_800
    budgets.check(order("c.example", authority="https://other.example/dir"))


def test_certificates_are_limited_per_registered_domain(records):
    budgets = budget(records, certificates=2)
    for name in ("a.example.co.uk", "*.b.example.co.uk"):
        budgets.issued(order(name))
    with pytest.raises(RateLimited, match="2 certificates for one domain") as caught:
        budgets.check(order("c.example.co.uk"))
    # The wait of a driver is bounded to a day.
    assert caught.value.retry_after == 86_400
    budgets.check(order("c.other.co.uk"))
    budgets.check(order("a.example.co.uk", renewal=True))


def test_equal_certificates_are_limited(records):
    budgets = budget(records, duplicates=1)
    budgets.issued(order("a.example", "b.example"))
    with pytest.raises(RateLimited, match="1 equal certificates"):
        budgets.check(order("b.example", "a.example", renewal=True))
    budgets.check(order("a.example"))
    budgets.check(order("a.example", "b.example", renewal=True, replaces="x.y"))


def test_failed_validations_are_limited_per_name_at_all_authorities(records):
    budgets = budget(records, failures=2)
    budgets.failed(["a.example", "*.a.example"])
    budgets.check(order("a.example"))
    budgets.failed(["a.example"])
    with pytest.raises(RetryableError, match="validation of \\*.a.example failed") as caught:
        budgets.check(order("*.a.example", authority="https://other.example/dir"))
    # Another authority would not help.
    assert not isinstance(caught.value, RateLimited)
    budgets.check(order("b.example"))


def test_the_oldest_event_that_counts_says_how_long_to_wait(records):
    now = now_utc()
    for minutes in (170, 100, 10):
        records.add_event(
            "order:https://ca.example/dir", now - datetime.timedelta(minutes=minutes)
        )
    with pytest.raises(RateLimited) as caught:
        budget(records, orders=2).check(order("a.example"))
    assert 79 * 60 < caught.value.retry_after <= 80 * 60


def test_old_events_do_not_count(records):
    before = now_utc() - datetime.timedelta(hours=3, seconds=1)
    records.add_event("order:https://ca.example/dir", before)
    budget(records, orders=1).check(order("a.example"))


def test_defaults_are_below_those_of_lets_encrypt():
    limits = Limits()
    assert limits.orders < 300
    assert limits.certificates < 50
    assert limits.duplicates < 5
    assert limits.failures < 5


def test_pauses_double_up_to_a_day():
    assert [pause(number) for number in (1, 2, 3, 9, 10, 10_000)] == [
        *(300, 600, 1200, 76_800, 86_400, 86_400)
    ]
