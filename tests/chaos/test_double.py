# SPDX-License-Identifier: Apache-2.0
"""The double and its drivers: correct behavior by the public contracts, faults by orders."""

import socket
import threading
import time

import pytest

from poppy.common import config
from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.model.operations import Purge
from poppy.testing.builders import make_service
from poppy.testing.dns import DNSContract
from poppy.testing.provider import ProviderContract
from tests.chaos.control import Double
from tests.chaos.driver import ChaosDNS, ChaosProvider
from tests.chaos.orders import Action, Order, Orders


@pytest.fixture(scope="module")
def process():
    with Double(seed=7) as double:
        yield double


@pytest.fixture
def double(process):
    yield process
    process.behave()


def make_driver(kind, double, **options):
    conf = config.new()
    conf([])
    group = f"drivers:{kind.KIND}:chaos"
    conf.register_opts(kind.OPTS, group=group)
    for name, value in {"url": double.url, "timeout": 0.5, **options}.items():
        conf.set_override(name, value, group=group)
    return kind(conf, "chaos")


@pytest.fixture
def provider(double):
    return make_driver(ChaosProvider, double)


def objects_of(double, service):
    return [o["id"] for o in double.objects() if o["reference"] == service.service_id]


class TestProvider(ProviderContract):
    @pytest.fixture
    def provider(self, double):
        self.double = double
        return make_driver(ChaosProvider, double)

    def objects(self, provider, service):
        return objects_of(self.double, service)


class TestDNS(DNSContract):
    @pytest.fixture
    def driver(self, double):
        self.double = double
        driver = make_driver(ChaosDNS, double)
        driver.remove(list(double.zone()))
        return driver

    def resolve(self, driver, name):
        return self.double.zone().get(name)


@pytest.mark.parametrize(
    ("action", "error", "effect"),
    [
        (Action.LIMIT, RetryableError, False),
        (Action.FAIL, RetryableError, False),
        (Action.REFUSE, PermanentError, False),
        (Action.HANG, RetryableError, False),
        (Action.LOSE, RetryableError, True),
        (Action.CUT, RetryableError, True),
    ],
)
@pytest.mark.parametrize("operation", ["create", "replace", "delete", "purge"])
def test_call_fails_as_ordered_and_the_next_one_succeeds(
    double, provider, action, error, effect, operation
):
    service = make_service()
    changed = make_service(service_id=service.service_id)
    work = {
        "create": lambda: provider.ensure(service, None),
        "replace": lambda: provider.ensure(changed, None),
        "delete": lambda: provider.remove(service, None),
        "purge": lambda: provider.purge(service, None, Purge("/x", True)),
    }[operation]
    if operation != "create":
        provider.ensure(service, None)
    double.order(action, operation, subject=service.service_id, value=0.7)

    with pytest.raises(error) as caught:
        work()

    call = [c for c in double.journal() if c["operation"] == operation][-1]
    assert (call["status"] is not None) == effect
    if action is Action.LIMIT:
        assert caught.value.retry_after == 1
    work()
    assert len(objects_of(double, service)) == int(operation != "delete")


def test_careless_driver_duplicates_an_object_after_a_lost_reply(double):
    careless = make_driver(ChaosProvider, double, careless=True)
    service = make_service()
    double.order(Action.LOSE, "create", subject=service.service_id)
    with pytest.raises(RetryableError):
        careless.ensure(service, None)
    careless.ensure(service, None)
    assert len(objects_of(double, service)) == 2


def test_slow_call_is_in_progress_for_the_given_number_of_polls(double, provider):
    service = make_service()
    double.order(Action.SLOW, "create", value=2)
    assert provider.ensure(service, None).in_progress
    assert provider.ensure(service, None).in_progress
    assert not provider.ensure(service, None).in_progress
    double.order(Action.SLOW, "delete", value=2)
    with pytest.raises(InProgressError):
        provider.remove(service, None)
    assert objects_of(double, service)
    with pytest.raises(InProgressError):
        provider.remove(service, None)
    provider.remove(service, None)
    assert not objects_of(double, service)


def test_change_of_a_stale_object_is_refused(double, provider):
    service = make_service()
    provider.ensure(service, None)
    double.order(Action.HOLD_AFTER, "find", subject=service.service_id)
    late = threading.Thread(target=swallow(provider.ensure), args=(another(service), None))
    late.start()
    hold = double.held()
    provider.ensure(newest := another(service), None)
    double.release(hold)
    late.join()
    (found,) = (o for o in double.objects() if o["reference"] == service.service_id)
    assert found["document"]["spec"] == newest.spec.to_dict()


def another(service):
    return make_service(service_id=service.service_id)


def swallow(work):
    def quiet(*arguments):
        with pytest.raises(RetryableError):
            work(*arguments)

    return quiet


@pytest.mark.parametrize("stage", [Action.HOLD_BEFORE, Action.HOLD_AFTER])
@pytest.mark.parametrize("go_on", [True, False])
def test_held_call_waits_and_is_continued_or_dropped(double, stage, go_on):
    provider = make_driver(ChaosProvider, double, timeout=20)
    service = make_service()
    double.order(stage, "create", subject=service.service_id)
    outcome = []

    def call():
        try:
            outcome.append(provider.ensure(service, None))
        except RetryableError as exc:
            outcome.append(exc)

    caller = threading.Thread(target=call)
    caller.start()
    hold = double.held()
    assert hold["operation"] == "create"
    assert hold["caller"] > 1
    assert bool(objects_of(double, service)) == (stage is Action.HOLD_AFTER)
    assert not outcome
    double.release(hold, go_on)
    caller.join()
    assert isinstance(outcome[0], RetryableError) != go_on
    assert bool(objects_of(double, service)) == (go_on or stage is Action.HOLD_AFTER)


def test_zone_loses_replies(double):
    driver = make_driver(ChaosDNS, double)
    for action in (Action.LOSE, Action.CUT):
        double.order(action, "set", subject="www.x.example.com")
        with pytest.raises(RetryableError):
            driver.ensure({"www.x.example.com": str(action)})
        assert double.zone()["www.x.example.com"] == str(action)


def test_journal_has_the_subject_time_and_status_of_calls(double, provider):
    service = make_service()
    began = time.time()
    provider.ensure(service, None)
    found, created = double.journal()[-2:]
    assert (found["operation"], found["subjects"]) == ("find", [service.service_id])
    assert (created["operation"], created["status"]) == ("create", 201)
    assert began <= found["at"] <= created["at"] <= time.time()


def test_incomplete_request_has_no_effect(double):
    host, _, port = double.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /zone HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""


def draws(seed, calls):
    orders = Orders(seed)
    orders.give(Order(Action.FAIL, times=None, probability=0.5))
    return [orders.next(operation, ()) is not None for operation in calls]


def test_chance_depends_only_on_the_seed_and_calls_of_the_operation():
    creates = draws(1, ["create"] * 50)
    assert creates == draws(1, ["create"] * 50)
    assert creates != draws(2, ["create"] * 50)
    mixed = ["create", "delete"] * 50
    assert creates == draws(1, mixed)[::2]
    assert 5 < sum(creates) < 45


def test_order_applies_to_its_subject_and_a_number_of_times():
    orders = Orders()
    orders.give(Order(Action.FAIL, "create", subject="a", times=2))
    assert orders.next("create", ["b"]) is None
    assert orders.next("delete", ["a"]) is None
    assert [orders.next("create", ["a"]) is not None for _ in range(3)] == [True, True, False]
