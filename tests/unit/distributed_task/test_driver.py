# SPDX-License-Identifier: Apache-2.0
"""Room on the job board, and options of the boards."""

import threading
import time
from types import SimpleNamespace

import pytest
import taskflow.exceptions
from taskflow.jobs.base import JobPriority

from poppy.cmd import daemon
from poppy.common import config, errors
from poppy.distributed_task.board import boards
from poppy.distributed_task.driver import TaskFlowDriver
from poppy.model.operations import Priority
from poppy.testing.builders import make_operation, make_service

GROUP = "drivers:distributed_task:taskflow"


class Poster:
    """A board with a number of jobs, which counts the queries."""

    def __init__(self, jobs=0):
        self.jobs = jobs
        self.asked = 0
        self.away = False
        self.slow = 0.0

    def waiting(self, limit):
        self.asked += 1
        time.sleep(self.slow)
        if self.away:
            raise taskflow.exceptions.JobFailure("no answer")
        return min(limit, self.jobs)

    def post(self, name, *, details, priority):
        if self.away:
            raise taskflow.exceptions.JobFailure("no answer")
        self.jobs += 1


@pytest.fixture
def driver(tmp_path):
    path = tmp_path / "poppy.conf"
    path.write_text(f"[{GROUP}]\nboard_depth = 40\n")
    return TaskFlowDriver(config.load([], files=[str(path)]), "taskflow")


@pytest.fixture
def poster(driver, monkeypatch):
    made = Poster()
    monkeypatch.setattr(driver, "_poster", lambda: made)
    return made


def test_workers_are_forked_with_their_modules(driver, monkeypatch):
    order = []
    monkeypatch.setattr(driver, "preload", lambda: order.append("preload"))
    manager = SimpleNamespace(add=lambda *_args, **_options: order.append("fork"))
    daemon.add_worker(manager, SimpleNamespace(distributed_task=driver))
    assert order == ["preload", "fork"]


def test_a_burst_costs_few_counts_and_does_not_overfill(driver, poster):
    assert sum(driver.has_room(10) for _ in range(100)) == 30
    assert poster.asked <= 2


def test_the_last_eighth_is_reserved_for_dispatchers(driver, poster):
    assert sum(driver.has_room(0) for _ in range(100)) == 35


def test_a_project_with_few_operations_may_use_more_of_the_board(driver, poster):
    poster.jobs = 29
    assert driver.has_room(10)
    driver._room = (0.0, 0)
    poster.jobs = 30
    assert not driver.has_room(2)
    assert driver.has_room(1)


def test_a_project_posts_no_more_than_its_share(driver, poster):
    assert driver.has_room(19)
    assert not driver.has_room(20)
    assert driver.has_room(0)


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
def test_a_small_board_has_room(tmp_path, monkeypatch, depth):
    path = tmp_path / "poppy.conf"
    path.write_text(f"[{GROUP}]\nboard_depth = {depth}\n")
    driver = TaskFlowDriver(config.load([], files=[str(path)]), "taskflow")
    monkeypatch.setattr(driver, "_poster", Poster)
    assert driver.has_room(0)


def test_an_unreachable_board_has_no_room_and_is_asked_once(driver, poster):
    poster.away = True
    assert not any(driver.has_room(0) for _ in range(10))
    assert poster.asked == 1


def test_there_is_no_room_after_a_failed_post(driver, poster):
    assert driver.has_room(0)
    poster.away = True
    with pytest.raises(errors.Unavailable):
        driver.post(_operation())
    assert not driver.has_room(0)
    assert poster.asked == 1


def test_other_threads_do_not_wait_while_one_counts(driver, poster):
    driver.has_room(0)
    driver._room = (0.0, 5)
    poster.slow = 0.5
    asking = threading.Thread(target=driver.has_room, args=(0,))
    asking.start()
    time.sleep(0.1)
    begin = time.monotonic()
    assert driver.has_room(0)
    assert time.monotonic() - begin < 0.2
    asking.join()


def _operation(**changes):
    return make_operation(make_service(), **changes)


@pytest.mark.parametrize(
    ("priority", "name"),
    [(Priority.PURGE, "HIGH"), (Priority.TENANT, "NORMAL"), (Priority.BULK, "LOW")],
)
def test_a_job_has_the_priority_and_key_of_its_operation(
    driver, poster, monkeypatch, priority, name
):
    posted = []
    monkeypatch.setattr(poster, "post", lambda name, **rest: posted.append((name, rest)))
    operation = _operation(priority=priority)
    driver.post(operation)
    details = operation.key._asdict()
    expected = {"details": details, "priority": JobPriority(name)}
    assert posted == [(operation.operation_id, expected)]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("zk1", "zk1:2181"),
        ("zk1.example.net:2182", "zk1.example.net:2182"),
        ("10.0.0.1", "10.0.0.1:2181"),
        ("10.0.0.1:99", "10.0.0.1:99"),
        ("::1", "[::1]:2181"),
        ("[::1]", "[::1]:2181"),
        ("[2001:db8::1]:2182", "[2001:db8::1]:2182"),
    ],
)
def test_hosts_may_have_ports_and_be_ipv6(host, expected):
    assert boards.address(host, 2181) == expected


def zookeeper(tmp_path, **options):
    path = tmp_path / "poppy.conf"
    lines = [f"{name} = {value}" for name, value in options.items()]
    path.write_text("\n".join([f"[{GROUP}]", "jobboard_backend_type = zookeeper", *lines]))
    return TaskFlowDriver(config.load([], files=[str(path)]), "taskflow")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobboard_auth": "nopassword"}, "jobboard_auth"),
        ({"jobboard_backend_host": "host:port"}, "jobboard_backend_host"),
        ({"jobboard_backend_host": ""}, "jobboard_backend_host"),
    ],
)
def test_invalid_options_are_reported_at_start(tmp_path, options, message):
    with pytest.raises(errors.ConfigError, match=message):
        zookeeper(tmp_path, **options).check()


def test_options_are_passed_to_the_client(tmp_path):
    driver = zookeeper(
        tmp_path,
        jobboard_backend_host="zk1,::1,zk2:99",
        jobboard_path="/cdn/jobs",
        jobboard_auth="poppy:a:b",
        jobboard_session_timeout=5,
        jobboard_use_ssl="true",
    )
    driver.check()
    path, settings = boards._zookeeper(driver.options)
    assert path == "/cdn/jobs"
    assert settings.hosts == "zk1:2181,[::1]:2181,zk2:99"
    assert (settings.auth, settings.session_timeout) == ("poppy:a:b", 5.0)
    assert (settings.use_ssl, settings.verify) == (True, True)


def test_an_unreachable_zookeeper_fails_fast(tmp_path):
    driver = zookeeper(tmp_path, jobboard_backend_port=1, jobboard_timeout=0.2)
    begin = time.monotonic()
    assert not driver.has_room(0)
    for _ in range(5):
        with pytest.raises(errors.Unavailable):
            driver.post(_operation())
    assert not driver.is_alive()
    driver.close()
    assert time.monotonic() - begin < 3
