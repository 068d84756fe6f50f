# SPDX-License-Identifier: Apache-2.0
"""When failover moves names away from providers, and when it does not."""

import datetime
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from poppy.common import errors
from poppy.distributed_task.failover import AGAIN, TRIES, Failover, Pace, Watch, agreed, marked
from poppy.model.membership import Worker
from poppy.model.operations import Kind, Operation, State
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.storage.audits import AuditStore
from poppy.testing.builders import NOW, make_flavor, make_service, make_spec
from poppy.testing.edge_outages import Edge
from tests.unit.distributed_task.memory import Documents

PACE = Pace(down_after=3, up_after=4, rate=1e6)
FLAVOR = make_flavor(providers=("a", "b", "c"))


class Provider:
    def __init__(self):
        self.serving = True
        self.name = "a"
        self.options = SimpleNamespace(edge_check_url=None, edge_check_timeout=1.0)

    def serves(self):
        if isinstance(self.serving, Exception):
            raise self.serving
        return self.serving

    def health(self):
        raise AssertionError("its API is not its edge")


def look(watch, provider, *answers):
    """Return whether provider a is down after each of the answers."""
    seen = []
    for answer in answers:
        provider.serving = answer
        watch.look()
        seen.append("a" in watch.down)
    return seen


def test_a_provider_is_down_or_up_after_several_equal_checks():
    provider = Provider()
    watch = Watch({"a": provider, "b": Provider()}, PACE)
    assert look(watch, provider, False, False, True, False, False) == [False] * 5
    assert look(watch, provider, False) == [True]
    assert look(watch, provider, True, True, True, False, True, True, True) == [True] * 7
    assert look(watch, provider, True) == [False]
    assert watch.down == ()


@pytest.mark.parametrize("answer", [None, ValueError("a bug")])
def test_unknown_health_does_not_fail_over(answer):
    provider = Provider()
    watch = Watch({"a": provider}, PACE)
    assert look(watch, provider, *[answer] * 5) == [False] * 5
    assert look(watch, provider, *[False] * 3) == [False, False, True]
    assert look(watch, provider, *[answer] * 5) == [True] * 5
    assert look(watch, provider, True, True, True, answer, True) == [True] * 5


def test_the_operators_check_replaces_the_drivers():
    provider = Provider()
    watch = Watch({"a": provider}, PACE)
    with Edge() as edge:
        provider.options.edge_check_url = edge.url
        assert look(watch, provider, *[False] * 5) == [False] * 5
        edge.behaviour = 503
        assert look(watch, provider, *[True] * 3) == [False, False, True]
        edge.behaviour = 200
        assert look(watch, provider, *[False] * 4) == [True, True, True, False]


def worker(number, *down):
    moment = NOW + datetime.timedelta(seconds=number)
    return Worker(f"w{number}", "host", number, "1", "", moment, moment, 10, down=down)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([[]], set()),
        ([["a"]], {"a"}),
        ([["a"], []], set()),
        ([["a"], ["a"], []], {"a"}),
        ([["a"], ["b"], ["a", "b"]], {"a", "b"}),
        ([["a"], ["b"], ["c"]], set()),
    ],
)
def test_a_provider_is_down_if_most_workers_say_so(said, expected):
    assert agreed([worker(number, *down) for number, down in enumerate(said)]) == expected


def deployed(*avoided, providers=("a", "b", "c"), **fields):
    detail = ProviderDetail(ProviderStatus.DEPLOYED)
    details = {name: replace(detail, avoided=name in avoided) for name in providers}
    return make_service(spec=make_spec(["www.a.example.com"]), provider_details=details, **fields)


def avoided(service):
    return service and {name for name, it in service.provider_details.items() if it.avoided}


@pytest.mark.parametrize(
    ("service", "down", "expected"),
    [
        (deployed(), {"a"}, {"a"}),
        (deployed(), {"c"}, {"c"}),
        (deployed(), {"a", "other"}, {"a"}),
        (deployed("a"), {"a"}, None),
        (deployed("a"), set(), set()),
        (deployed("a"), {"b"}, {"b"}),
        (deployed(), {"a", "b", "c"}, None),
        (deployed("a"), {"a", "b", "c"}, None),
        (deployed(providers=("a",)), {"a"}, None),
        (deployed(disabled=True), {"a"}, {"a"}),
        (deployed("a", disabled=True), set(), set()),
        (deployed(), {"other"}, None),
    ],
)
def test_services_are_marked_only_where_it_changes_the_targets(service, down, expected):
    assert avoided(marked(service, FLAVOR, down)) == expected


class History:
    """The operations of all services."""

    def __init__(self):
        self.done = []

    def add(self, service, kind, state, age):
        operation = Operation.new(service.project_id, service.service_id, kind)
        moment = operation.created_at - datetime.timedelta(seconds=age)
        self.done.append(replace(operation, state=state, updated_at=moment))

    def failures(self, limit):
        return [it for it in reversed(self.done) if it.state is State.FAILED][:limit]

    def list(self, _project_id, service_id):
        return [it for it in self.done if it.service_id == service_id]


class Store:
    """Storage with some services and a record of submitted operations."""

    def __init__(self, *services):
        self.found = {service.service_id: service for service in services}
        self.submitted = []
        self.scans = 0
        self.error = None
        self.services = self
        self.flavors = SimpleNamespace(list=lambda: [FLAVOR])
        self.operations = History()
        self.documents = Documents()

    def get(self, _project_id, service_id):
        if service_id not in self.found:
            raise errors.NotFound("it is gone")
        return self.found[service_id]

    def scan(self):
        self.scans += 1
        return list(self.found.values())

    def submit(self, service, operation):
        if self.error:
            raise self.error
        self.found[service.service_id] = service
        self.submitted.append((service.service_id, operation.kind, avoided(service)))


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def failover(store, workers, worker_id="w0"):
    clock = Clock()
    watch = SimpleNamespace(look=lambda: None)
    return Failover(store, watch, PACE, worker_id, lambda: workers, clock), clock


def test_all_affected_services_fail_over_and_back():
    services = deployed(), deployed(), deployed(providers=("b",))
    store, workers = Store(*services), [worker(0, "a"), worker(1, "a")]
    first, _ = failover(store, workers)
    first.act(threading.Event())
    concerned = {service.service_id for service in services[:2]}
    assert {entry[0] for entry in store.submitted} == concerned
    assert {entry[1:2] for entry in store.submitted} == {(Kind.STEER,)}
    first.act(threading.Event())
    assert store.scans == 1, "there is nothing new"
    workers[:] = [worker(0), worker(1)]
    first.act(threading.Event())
    assert len(store.submitted) == 4
    assert not any(avoided(service) for service in store.found.values())
    assert set(AuditStore(store.documents).get().requested) == {"a"}


def test_only_the_first_worker_acts():
    store, workers = Store(deployed()), [worker(0, "a"), worker(1, "a")]
    second, _ = failover(store, workers, "w1")
    second.act(threading.Event())
    assert store.scans == 0
    workers[:] = [worker(1, "a")]
    second.act(threading.Event())
    assert len(store.submitted) == 1, "until the first one is gone"


def test_a_service_with_an_update_in_progress_is_checked_again():
    busy = deployed()
    detail = replace(busy.provider_details["b"], status=ProviderStatus.UPDATE_IN_PROGRESS)
    store = Store(busy.with_details({**busy.provider_details, "b": detail}))
    first, clock = failover(store, [worker(0, "a")])
    first.act(threading.Event())
    assert store.submitted == []
    store.found = {busy.service_id: busy}
    first.act(threading.Event())
    assert store.scans == 1, "not at once"
    clock.now += AGAIN
    first.act(threading.Event())
    assert len(store.submitted) == 1


def test_a_concurrently_changed_service_is_checked_again():
    store = Store(deployed())
    store.error = errors.Changed("it was changed")
    first, clock = failover(store, [worker(0, "a")])
    first.act(threading.Event())
    store.error = None
    clock.now += AGAIN
    first.act(threading.Event())
    assert len(store.submitted) == 1


def test_a_failed_service_is_left_alone():
    failed = deployed()
    detail = replace(failed.provider_details["b"], status=ProviderStatus.FAILED)
    store = Store(failed.with_details({**failed.provider_details, "b": detail}))
    first, _ = failover(store, [worker(0, "a")])
    first.act(threading.Event())
    assert store.submitted == []


def test_a_failed_service_is_unmarked_once_it_is_deployed():
    marked_before = deployed("a")
    detail = replace(marked_before.provider_details["b"], status=ProviderStatus.FAILED)
    store = Store(marked_before.with_details({**marked_before.provider_details, "b": detail}))
    first, clock = failover(store, [worker(0)])
    first.act(threading.Event())
    assert store.submitted == []
    store.found = {marked_before.service_id: marked_before}
    clock.now += AGAIN
    first.act(threading.Event())
    assert store.submitted == [(marked_before.service_id, Kind.STEER, set())]


def test_an_outage_for_one_service_does_not_delay_the_others():
    services = deployed("a"), deployed("a")
    store = Store(*services)
    submit = store.submit

    def flaky(service, operation):
        if service.service_id == services[0].service_id:
            raise errors.Unavailable("no answer")
        submit(service, operation)

    store.submit = flaky
    first, clock = failover(store, [worker(0)])
    first.act(threading.Event())
    assert [entry[0] for entry in store.submitted] == [services[1].service_id]
    store.submit = submit
    clock.now += AGAIN
    first.act(threading.Event())
    assert len(store.submitted) == 2, "and has its turn later"


def test_the_rate_of_changes_is_bounded():
    store = Store(*(deployed() for _ in range(5)))
    waits = []

    class Stopped(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return len(waits) == 3

    pace = replace(PACE, rate=4.0)
    watch = SimpleNamespace(look=lambda: None)
    Failover(store, watch, pace, "w0", lambda: [worker(0, "a")]).act(Stopped())
    assert waits == [0.25] * 3
    assert len(store.submitted) == 3, "and it ends when it is told to"


@pytest.mark.parametrize(
    "turned",
    [[worker(0, "b"), worker(1, "b")], [worker(0), worker(1)], [worker(1, "a")]],
)
def test_a_failover_stops_when_the_workers_reports_change(turned):
    store = Store(*(deployed() for _ in range(5)))
    workers, looks = [worker(0, "a"), worker(1, "a")], []

    class Stopped(threading.Event):
        def wait(self, timeout=None):
            if len(store.submitted) == 2:
                workers[:] = turned
            return False

    watch = SimpleNamespace(look=lambda: looks.append(len(store.submitted)))
    first = Failover(store, watch, PACE, "w0", lambda: workers)
    first.act(Stopped())
    assert len(store.submitted) == 2
    assert looks[0] == 1, "it goes on looking at the providers meanwhile"


FAILED, DONE = (Kind.STEER, State.FAILED), (Kind.STEER, State.SUCCEEDED)


@pytest.mark.parametrize(
    ("history", "age", "again"),
    [
        ([FAILED], AGAIN - 1, False),
        ([FAILED], AGAIN + 1, True),
        ([FAILED, (Kind.PURGE, State.SUCCEEDED)], AGAIN + 1, True),
        ([DONE, FAILED, FAILED], AGAIN + 1, False),
        ([DONE, FAILED, FAILED], 2 * AGAIN + 1, True),
        ([FAILED] * TRIES, AGAIN * 2 ** (TRIES - 1) + 1, True),
        ([FAILED] * (TRIES + 1), AGAIN * 2**TRIES - 1, False),
        ([FAILED], AGAIN * 2**TRIES + 1, False),
        ([FAILED, DONE], AGAIN + 1, False),
        ([FAILED, (Kind.UPDATE, State.SUCCEEDED)], AGAIN + 1, False),
        ([FAILED, (Kind.STEER, State.WAITING)], AGAIN + 1, False),
        ([(Kind.UPDATE, State.FAILED)], AGAIN + 1, False),
    ],
)
def test_failed_steering_is_retried_later(history, age, again):
    service = deployed("a")
    store = Store(service)
    for kind, state in history:
        store.operations.add(service, kind, state, age)
    first, clock = failover(store, [worker(0, "a")])
    first.act(threading.Event())
    expected = [(service.service_id, Kind.STEER, {"a"})] if again else []
    assert store.submitted == expected
    first.act(threading.Event())
    assert store.submitted == expected, "not at each look"


def test_steering_is_not_retried_for_missing_or_changing_services():
    gone, changing = deployed("a"), deployed("a")
    detail = replace(changing.provider_details["b"], status=ProviderStatus.UPDATE_IN_PROGRESS)
    store = Store(changing.with_details({**changing.provider_details, "b": detail}))
    for service in (gone, changing):
        store.operations.add(service, *FAILED, AGAIN + 1)
    first, _ = failover(store, [worker(0, "a")])
    first.act(threading.Event())
    assert store.submitted == []
