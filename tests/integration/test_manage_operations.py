# SPDX-License-Identifier: Apache-2.0
"""poppy-manage operations and workers, as an operator uses them."""

import json
import uuid

import pytest

from tests.real.poppy import PROJECT, Installation, wait


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    assert made.manage("db", "sync").returncode == 0
    with made.daemon("poppy-server"):
        made.wait_until_up()
        made.create_flavor()
        yield made
    made.session.close()


def listed(installation, *arguments):
    answer = installation.manage(*arguments, "-f", "json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_an_operator_finds_cancels_and_retries_an_operation(installation):
    url = installation.create_service()
    (operation,) = listed(installation, "operations", "list")
    assert (operation["state"], operation["kind"]) == ("queued", "create")
    key = (PROJECT, operation["service_id"], operation["operation_id"])
    refused = installation.manage("operations", "retry", *key)
    assert refused.returncode == 1
    assert "only a failed one can be tried again" in refused.stderr

    assert installation.manage("operations", "cancel", *key).returncode == 0
    assert installation.status(url) == "failed"
    table = installation.manage("operations", "list", "--state", "failed").stdout.splitlines()
    assert table[0].split() == [
        *("operation_id", "project_id", "service_id"),
        *("kind", "state", "age", "tries", "reason"),
    ]
    assert operation["operation_id"] in table[2]
    assert table[2].endswith("cancelled by operator")
    shown = installation.manage("operations", "show", *key).stdout
    assert "cancelled by operator" in shown

    assert installation.manage("operations", "retry", *key).returncode == 0
    with installation.daemon("poppy-worker"):
        installation.wait_for(url, "deployed")
    assert listed(installation, "operations", "list") == []


def test_an_operator_sees_the_workers(installation):
    assert listed(installation, "workers", "list") == []
    with installation.daemon("poppy-worker"):
        wait(lambda: listed(installation, "workers", "list"), 20)
        (worker,) = listed(installation, "workers", "list")
        assert (worker["slots"], worker["busy"], worker["hung"]) == (10, 0, 0)
        table = installation.manage("workers", "list").stdout.splitlines()
        assert table[0].split()[:2] == ["host", "pid"]
        assert str(worker["pid"]) in table[2]
    assert listed(installation, "workers", "list") == []


def test_what_is_not_there_is_said_in_a_line(installation):
    answer = installation.manage("operations", "show", PROJECT, *[str(uuid.uuid4())] * 2)
    assert answer.returncode == 1
    assert answer.stderr.startswith("poppy-manage: There is no operation")
    answer = installation.manage("operations", "cancel", PROJECT, "x", "y")
    assert "SERVICE must be a UUID" in answer.stderr
