# SPDX-License-Identifier: Apache-2.0
"""poppy-manage audit."""

import pytest

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.model.audits import AuditPass
from poppy.model.services import Status
from poppy.storage.audits import AuditStore
from tests.functional.commands import listed


@pytest.fixture
def service_id(poppy):
    made = poppy.create()
    with poppy.working():
        assert poppy.settle(made).status is Status.DEPLOYED
    return made


@pytest.mark.parametrize("by", ["id", "domain"])
def test_service_that_differs_is_deployed_again(poppy, run, service_id, by):
    wanted = service_id if by == "id" else "www.example.com"
    assert "deployed again" not in run("audit", "--service", wanted)
    poppy.cdn_a.objects.clear()
    said = run("audit", "--service", wanted)
    assert "cdn-a   cdn-a has None" in said
    assert f"Service {service_id} is being deployed again." in said
    assert poppy.states(service_id)[-1] == ("update", "queued")
    with pytest.raises(errors.InvalidRequest, match="update_in_progress"):
        run("audit", "--service", wanted)


def test_driver_that_does_not_answer_is_named(poppy, run, service_id):
    poppy.cdn_a.script = [errors.RetryableError("no route to host")]
    with pytest.raises(errors.InvalidRequest, match="cdn-a"):
        run("audit", "--service", service_id)
    assert "not compared: no route to host" in poppy.said[0]


def test_differences_and_passes_are_listed(poppy, run, service_id):
    assert "none yet" in run("audit")
    poppy.conf.set_override("audit", "report", group="drivers:provider:cdn-a")
    poppy.cdn_a.objects.clear()
    run("audit", "--service", service_id)
    (row,) = listed(run, "audit")
    assert (row["service_id"], row["source"], row["message"]) == (
        service_id,
        "cdn-a",
        "cdn-a has None",
    )
    began = now_utc()
    store = AuditStore(poppy.storage.documents)
    store.put(AuditPass(began))
    assert f"running since {began.isoformat(timespec='seconds')}" in run("audit")
    store.put(AuditPass(began).ended(began, {"services": 3, "differing": 1}))
    assert "3 services, 1 differed, 0 deployed again, 0 not compared" in run("audit")


@pytest.mark.parametrize(
    ("line", "requested"),
    [(["--all"], ["*"]), (["--provider", "cdn-a", "--provider", "cdn-b"], ["cdn-a", "cdn-b"])],
)
def test_workers_are_asked_for_more(poppy, run, line, requested):
    run("audit", *line)
    assert sorted(AuditStore(poppy.storage.documents).get().requested) == requested
    assert "Requested: " in run("audit")


def test_unknown_provider_is_refused(poppy, run):
    with pytest.raises(errors.InvalidRequest, match="cdn-c"):
        run("audit", "--provider", "cdn-c")
    assert AuditStore(poppy.storage.documents).get().requested == {}
