# SPDX-License-Identifier: Apache-2.0
"""poppy-manage operations, workers, db and regions, with a real store and worker."""

import datetime
import uuid

import pytest

from poppy.common import errors, tracing
from poppy.manager import operations
from poppy.model.membership import Worker
from poppy.model.services import Status
from tests.functional.commands import listed
from tests.functional.harness import PROJECT


def test_operator_lists_cancels_and_retries_an_operation(poppy, run):
    service_id = poppy.create()
    (operation,) = listed(run, "operations", "list")
    assert (operation["state"], operation["kind"]) == ("queued", "create")
    key = (PROJECT, service_id, operation["operation_id"])
    with pytest.raises(errors.InvalidRequest, match="only a failed one can be retried"):
        run("operations", "retry", *key)

    assert run("operations", "cancel", *key) == f"Operation {key[2]} is cancelled.\n"
    assert poppy.get(service_id).status is Status.FAILED
    table = run("operations", "list", "--state", "failed").splitlines()
    assert table[0].split() == [
        *("operation_id", "project_id", "service_id"),
        *("kind", "state", "age", "tries", "reason"),
    ]
    assert table[2].startswith(operation["operation_id"])
    assert table[2].endswith("cancelled by operator")

    assert run("operations", "retry", *key) == f"Operation {key[2]} will be retried.\n"
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert listed(run, "operations", "list") == []


def test_operation_is_shown_with_its_steps(poppy, run, spans):
    poppy.cdn_a.script = [errors.PermanentError("refused")]
    with tracing.span("request", parent={}):
        service_id = poppy.create()
        traceparent = tracing.traceparent()
    with poppy.working():
        poppy.settle(service_id)
    (operation,) = poppy.operations(service_id)
    shown = run("operations", "show", *operation.key)
    assert "- name: provider:cdn-a, state: failed, message: refused" in shown
    document = listed(run, "operations", "show", *operation.key)
    assert document["steps"] == [
        {"name": "provider:cdn-a", "state": "failed", "message": "refused"}
    ]
    assert document["traceparent"] == traceparent


def test_operations_list_is_filtered(poppy, run):
    poppy.create()
    assert len(listed(run, "operations", "list", "--provider", "cdn-a")) == 1
    for narrow in (
        ("--provider", "cdn-b"),
        ("--older-than", "3600"),
        ("--state", "running"),
    ):
        assert listed(run, "operations", "list", *narrow) == []
    with pytest.raises(errors.InvalidRequest, match="--limit"):
        run("operations", "list", "--limit", "0")


def test_unknown_operations_and_invalid_ids_are_refused(run):
    with pytest.raises(errors.NotFound):
        run("operations", "show", PROJECT, str(uuid.uuid4()), str(uuid.uuid4()))
    with pytest.raises(errors.InvalidRequest, match="SERVICE must be a UUID"):
        run("operations", "cancel", PROJECT, "x", "y")


def test_workers_are_listed(poppy, run):
    now = datetime.datetime.now(datetime.UTC)
    ago = now - datetime.timedelta(seconds=90)
    worker = Worker("w-1", "host-1", 17, "1.2", "", ago, now, slots=10, busy=3, hung=1)
    poppy.storage.membership.beat(worker)
    table = run("workers", "list").splitlines()
    assert table[0].split() == [
        *("host", "pid", "datacenter", "version", "up"),
        *("seen", "slots", "busy", "hung"),
    ]
    line = " ".join(table[2].split())
    assert line.startswith("host-1 17 - 1.2 1 min ")
    assert line.endswith(" s ago 10 3 1")
    (document,) = listed(run, "workers", "list")
    assert document["worker_id"] == "w-1"


def test_schema_version_is_shown(poppy, run):
    version = listed(run, "db", "version")
    assert version["store"] == "sqlalchemy"
    assert version["stored"] == version["needed"]
    assert run("db", "version").splitlines()[1] == f"stored  {version['stored']}"


def test_store_without_regions_refuses_region_commands(run):
    assert listed(run, "regions", "list") == []
    with pytest.raises(errors.InvalidRequest, match="'sqlalchemy' has no regions"):
        run("regions", "drop", "dc1")
    with pytest.raises(errors.InvalidRequest, match="'sqlalchemy' has no regions"):
        run("regions", "add", "dc1", "3")


def test_filtered_list_reads_on_until_the_limit(poppy, run, monkeypatch):
    monkeypatch.setattr(operations, "LOOKED_AT", 2)
    for number in range(5):
        poppy.create(domain=f"{number}.example.com")
    assert len(listed(run, "operations", "list", "--provider", "cdn-a")) == 5
    assert len(listed(run, "operations", "list", "--provider", "cdn-a", "--limit", "3")) == 3
    assert listed(run, "operations", "list", "--provider", "cdn-b") == []
