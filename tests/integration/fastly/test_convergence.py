# SPDX-License-Identifier: Apache-2.0
"""The driver converges from any intermediate state, also with concurrent workers."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from poppy.common.errors import DriverError, PermanentError, RetryableError
from poppy.model.services import Service
from poppy.model.specs import Caching, Rule
from poppy.provider.fastly.configuration import Settings, wanted
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from tests.integration.fastly.conftest import make_provider
from tests.real.fastly import LOST_ANSWER, LOST_REQUEST, NONE, Fastly, Request
from tests.unit.provider.fastly.services import (
    HTTP,
    HTTPS,
    assert_serves,
    whole_service,
    with_https,
    with_ttl,
)

Action = Callable[[FastlyProvider, Service], object]
_MOST = 200  # Calls to Fastly that one action makes at most.


def create(provider: FastlyProvider, service: Service) -> None:
    provider.ensure(service, None)


def remove(provider: FastlyProvider, service: Service) -> None:
    provider.remove(service, None)


def change(provider: FastlyProvider, service: Service) -> None:
    provider.ensure(changed(service), None)


def changed(service: Service) -> Service:
    """Return a smaller service with other domains, origins and rules."""
    spec = make_service(domains=["www.b.example.com", HTTP]).spec
    return with_ttl(replace(service, spec=replace(spec, caching=service.spec.caching[:1])), 5)


def small_service() -> Service:
    """Return a service with few objects, for tests with many runs."""
    caching = (Caching("default", 60, (Rule("all", "/*"),)),)
    spec = make_service(domains=[HTTP]).spec
    return with_https(make_service(spec=replace(spec, caching=caching)))


class _Stop:
    """Interrupt the driver at the n-th request to the double."""

    def __init__(self, number: int, fault: str) -> None:
        self.left = number
        self.fault = fault
        self.happened = False

    def __call__(self, _request: Request) -> str:
        self.left -= 1
        if self.left > 0:
            return NONE
        # A killed worker sends no more requests.
        first, self.happened = not self.happened, True
        return self.fault if first else LOST_REQUEST


def stopped_everywhere(fault: str, prepare: Action | None, action: Action, check: Action) -> int:
    """Interrupt an action at each of its calls and repeat it; return the number of calls."""
    for number in range(1, _MOST):
        with Fastly() as fastly:
            provider = make_provider(fastly, timeout=5.0)
            service = with_https(whole_service())
            if prepare is not None:
                prepare(provider, service)
            fastly.fault = stop = _Stop(number, fault)
            try:
                action(provider, service)
            except RetryableError:
                assert stop.happened
            fastly.fault = lambda _: NONE
            action(provider, service)
            check(fastly, service)
        if not stop.happened:
            return number
    raise AssertionError("it never ends")


@pytest.mark.nightly
@pytest.mark.parametrize("fault", [LOST_REQUEST, LOST_ANSWER])
def test_an_interrupted_creation_continues(fault: str) -> None:
    calls = stopped_everywhere(fault, None, create, lambda fastly, s: assert_serves(fastly, s))

    assert calls > 30


@pytest.mark.nightly
@pytest.mark.parametrize("fault", [LOST_REQUEST, LOST_ANSWER])
def test_an_interrupted_change_continues(fault: str) -> None:
    calls = stopped_everywhere(
        fault, create, change, lambda fastly, s: assert_serves(fastly, changed(s))
    )

    assert calls > 15


@pytest.mark.nightly
def test_the_previous_version_serves_until_a_change_is_complete() -> None:
    for number in range(1, _MOST):
        with Fastly() as fastly:
            provider = make_provider(fastly, timeout=5.0)
            service = whole_service()
            provider.ensure(service, None)
            fastly.fault = stop = _Stop(number, LOST_REQUEST)
            try:
                change(provider, service)
            except RetryableError:
                assert len(fastly.account.activated) in (1, 2)
            (_, first), *others = fastly.account.activated
            assert first == wanted(service.spec, Settings())
            assert all(
                objects == wanted(changed(service).spec, Settings()) for _, objects in others
            )
        if not stop.happened:
            return


@pytest.mark.nightly
@pytest.mark.parametrize("fault", [LOST_REQUEST, LOST_ANSWER])
def test_an_interrupted_removal_continues(fault: str) -> None:
    def gone(fastly: Fastly, _service: Service) -> None:
        assert fastly.account.living() == []
        assert fastly.tls.subscriptions == {}

    assert stopped_everywhere(fault, create, remove, gone) > 5


@pytest.mark.nightly
def test_a_rate_limit_at_any_call_only_delays() -> None:
    for allowed in range(_MOST):
        with Fastly() as fastly:
            provider = make_provider(fastly)
            service = with_https(whole_service())
            fastly.limit = allowed
            limited = False
            try:
                provider.ensure(service, None)
            except RetryableError as exc:
                limited = True
                assert exc.retry_after is not None
                assert 1700 < exc.retry_after <= 1800
                assert provider.quota["writes"].remaining == 0
                with pytest.raises(RetryableError):
                    provider.ensure(service, None)
            fastly.limit = None
            provider.ensure(service, None)
            assert_serves(fastly, service)
        if not limited:
            assert allowed > 15
            return


@pytest.mark.nightly
@pytest.mark.parametrize(("unique_names", "same"), [(True, True), (True, False), (False, True)])
def test_another_worker_can_act_between_any_two_calls(unique_names: bool, same: bool) -> None:
    for number in range(1, _MOST):
        with Fastly() as fastly:
            fastly.account.unique_names = unique_names
            provider, other = make_provider(fastly), make_provider(fastly)
            service = small_service()
            theirs = service if same else with_ttl(changed(service), 6)
            left = [number]

            def between(
                _request: Request,
                left: list[int] = left,
                other: FastlyProvider = other,
                theirs: Service = theirs,
            ) -> str:
                left[0] -= 1
                if left[0] == 0:
                    other.ensure(theirs, None)
                return NONE

            fastly.fault = between
            try:
                provider.ensure(service, None)
            except RetryableError as exc:
                assert "concurrently" in str(exc)
            fastly.fault = lambda _: NONE
            provider.ensure(service, None)

            assert_serves(fastly, service)
            documents = [wanted(entry.spec, Settings()) for entry in (service, theirs)]
            assert all(objects in documents for _, objects in fastly.account.activated)
        if left[0] > 0:
            return


@pytest.mark.nightly
def test_another_removal_can_happen_between_any_two_calls() -> None:
    for number in range(1, _MOST):
        with Fastly() as fastly:
            provider, other = make_provider(fastly), make_provider(fastly)
            service = with_https(whole_service())
            provider.ensure(service, None)
            left = [number]

            def between(
                _request: Request,
                left: list[int] = left,
                other: FastlyProvider = other,
                service: Service = service,
            ) -> str:
                left[0] -= 1
                if left[0] == 0:
                    other.remove(service, None)
                return NONE

            fastly.fault = between
            provider.remove(service, None)

            assert fastly.account.living() == []
            assert fastly.tls.subscriptions == {}
        if left[0] > 0:
            return


def test_a_version_deactivated_by_another_worker_is_accepted(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = whole_service()
    fastly_id = provider.ensure(service, None).provider_service_id

    def first(request: Request) -> str:
        if request.path.endswith("/deactivate"):
            fastly.account.deactivate(fastly_id, 1)
        return NONE

    fastly.fault = first
    provider.remove(service, None)

    assert fastly.account.living() == []


def test_two_workers_create_one_object(fastly: Fastly) -> None:
    fastly.account.unique_names = False
    service = with_https(whole_service())
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def work() -> None:
        provider = make_provider(fastly)
        barrier.wait()
        try:
            provider.ensure(service, None)
        except DriverError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The overtaken worker is called again.
    assert all(isinstance(failure, RetryableError) for failure in failures)
    make_provider(fastly).ensure(service, None)

    assert_serves(fastly, service)


def test_an_unfinished_draft_of_another_document_is_not_changed(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = whole_service()
    provider.ensure(service, None)
    (found,) = fastly.account.living()
    draft = fastly.account.clone(found.service_id, 1)
    draft.comment = "by hand"
    draft.objects["domain"] = {}
    draft.other["headers"] = [{"name": "by hand"}]

    provider.ensure(with_ttl(service, 7), None)

    assert_serves(fastly, with_ttl(service, 7))
    assert found.active is not None
    assert (found.active.number, found.active.other) == (3, {})
    assert draft.objects["domain"] == {}


def test_cache_settings_of_earlier_releases_are_removed(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = whole_service()
    provider.ensure(service, None)
    (found,) = fastly.account.living()
    name = "poppy caching 0"
    draft = fastly.account.clone(found.service_id, 1).number
    condition = {"name": name, "type": "CACHE", "statement": "beresp.status == 200"}
    fastly.account.add(found.service_id, draft, "condition", condition)
    setting = {"name": name, "cache_condition": name, "action": "cache", "ttl": "60"}
    fastly.account.add(found.service_id, draft, "cache_settings", setting)
    fastly.account.activate(found.service_id, draft)

    provider.ensure(service, None)

    assert_serves(fastly, service)


def test_an_inactive_service_is_activated(fastly: Fastly, provider: FastlyProvider) -> None:
    service = whole_service()
    provider.ensure(service, None)
    (found,) = fastly.account.living()
    fastly.account.deactivate(found.service_id, 1)

    provider.ensure(service, None)

    assert_serves(fastly, service)


def test_the_id_of_another_service_is_ignored(fastly: Fastly, provider: FastlyProvider) -> None:
    one, other = whole_service(), make_service()
    known = known_from(provider.ensure(one, None))

    provider.ensure(other, known)
    provider.remove(other, known)

    assert_serves(fastly, one)


def test_a_value_that_fastly_does_not_store_is_reported(
    fastly: Fastly, provider: FastlyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = fastly.account.add

    def bent(service: str, number: int, kind: str, form: dict[str, str]) -> dict[str, str]:
        return add(service, number, kind, form | ({"port": "81"} if kind == "backend" else {}))

    monkeypatch.setattr(fastly.account, "add", bent)
    monkeypatch.setattr(fastly.account, "change", lambda *_: {})

    with pytest.raises(RetryableError, match=r"backend 'poppy origin 0'.*\(port\)"):
        provider.ensure(make_service(), None)

    assert len(fastly.changes) < 30


def test_a_removal_is_refused_only_by_an_active_version(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = with_https(whole_service())
    provider.ensure(service, None)
    fastly.tls.set_state(HTTPS, "issued")

    provider.remove(service, None)

    assert fastly.account.living() == []
    assert fastly.tls.subscriptions == {}
    with pytest.raises(PermanentError, match="has no service"):
        provider.metrics(service, None, None)  # type: ignore[arg-type]
