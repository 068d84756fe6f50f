# SPDX-License-Identifier: Apache-2.0
"""The provider ``cloudfront`` over an unreliable connection that may break after any call."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from poppy.common.errors import (
    DriverError,
    RetryableError,
)
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.real.cloudfront import (  # noqa: F401
    Account,
    Shaken,
    account,
    changed,
    moto,
    one_account,
    one_provider,
    one_shaken,
    provider,
    rich_service,
    server,
    settle,
    shaken,
    take_away,
)
from tests.real.unreliable import Unreliable

pytestmark = pytest.mark.real


def dies_after(count: int) -> Callable[[int], str]:
    """Return a plan that loses the reply of one call and blocks all calls after it."""
    return lambda number: "ok" if number < count else "lost" if number == count else "dead"


def interrupted(
    proxy: Unreliable, work: Callable[[], object], check: Callable[[], object], most: int = 60
) -> int:
    """Interrupt work after each call in turn, then run check; return how many calls it takes."""
    for count in range(1, most):
        proxy.restart(dies_after(count))
        try:
            work()
        except DriverError:
            pass
        else:
            return count - 1
        proxy.restart()
        check()
    raise AssertionError(f"it takes more than {most} calls")


def test_create_can_be_interrupted_after_any_call(
    shaken: Shaken, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()

    def check() -> None:
        nonlocal service
        deployment = settle(provider, service)
        assert account.distributions(service) == [deployment.provider_service_id]
        assert account.count(service) == (1, 1, 1)
        assert set(account.config(service)["Aliases"]["Items"]) == service.spec.domain_names
        take_away(provider, service)
        assert account.count(service) == (0, 0, 0)
        service = replace(rich_service(), service_id=make_service().service_id)

    assert interrupted(shaken.proxy, lambda: settle(shaken.provider, service), check) > 8


def test_update_can_be_interrupted_after_any_call(
    shaken: Shaken, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()
    known = known_from(settle(provider, service))

    def check() -> None:
        settle(provider, changed(service), known)
        assert account.count(service) == (1, 1, 1)
        assert account.names(service) == [changed(service).spec.domain_names]
        # Restore the initial state.
        settle(provider, service, known)
        assert account.count(service) == (1, 1, 1)

    calls = interrupted(
        shaken.proxy, lambda: settle(shaken.provider, changed(service), known), check
    )
    assert calls > 8


def test_remove_can_be_interrupted_after_any_call(
    shaken: Shaken, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()
    settle(provider, service)

    def check() -> None:
        take_away(provider, service)
        assert account.count(service) == (0, 0, 0)
        settle(provider, service)

    assert interrupted(shaken.proxy, lambda: take_away(shaken.provider, service), check) > 8


def test_half_removed_service_can_be_created_again(
    shaken: Shaken, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()
    settle(provider, service)

    def check() -> None:
        deployment = settle(provider, service)
        assert account.distributions(service) == [deployment.provider_service_id]
        assert account.config(service)["Enabled"] is True
        assert account.count(service) == (1, 1, 1)

    interrupted(shaken.proxy, lambda: take_away(shaken.provider, service), check)


def test_throttling_and_lost_replies_leave_no_duplicates(shaken: Shaken, account: Account) -> None:
    provider, proxy = shaken
    service = rich_service()
    dice = random.Random(7)
    fates = [429, 503, "lost", "dead", *["ok"] * 12]
    proxy.restart(lambda _number: dice.choice(fates))
    failures = 0
    for _ in range(100):
        try:
            deployment = settle(provider, service)
        except RetryableError:
            failures += 1
        else:
            break
    proxy.restart()

    assert failures > 3
    assert account.distributions(service) == [deployment.provider_service_id]
    assert account.count(service) == (1, 1, 1)


def test_throttled_call_keeps_its_retry_after(shaken: Shaken) -> None:
    provider, proxy = shaken
    proxy.restart(lambda _number: 429)
    proxy.headers = {"Retry-After": "17"}

    with pytest.raises(RetryableError) as caught:
        provider.ensure(make_service(), None)

    assert caught.value.retry_after == 17
    assert provider.health() is False
