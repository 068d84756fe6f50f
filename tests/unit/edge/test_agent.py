# SPDX-License-Identifier: Apache-2.0
"""The agent's loop, with a data plane in memory."""

import logging
from dataclasses import replace

import pytest

from poppy.model.edge import MAX_FAILURES, Prewarmed
from tests.unit.edge.agent_parts import BUG, REFUSED, Site
from tests.unit.edge.test_program import PROGRAM

CHANGED = replace(PROGRAM, domains=("other.example.com",))
SECOND = replace(PROGRAM, service_id="b2", domains=("b2.example.com",))


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_changes_are_applied_in_order_stored_and_reported(site):
    site.store.publish(PROGRAM)
    site.store.publish(SECOND)
    site.store.purge("a1", "/x", hard=False)
    site.store.publish(CHANGED)
    site.store.withdraw("b2")
    site.run()
    assert site.plane.applied == {"a1": CHANGED}
    site.store.purge("a1", "/y")
    site.store.publish(PROGRAM)
    site.plane.calls.clear()
    site.run(1.2)
    assert site.plane.calls == [("purge", "a1", "/y", True), ("apply", "a1")]
    assert site.state.revision == site.report["revision"] == 7
    assert site.report["ready"] and site.report["failures"] == {}
    assert set(site.report["started"]) == {"agent", "haproxy", "varnish"}


def test_an_idle_node_sends_conditional_requests_and_reports_at_intervals(site):
    site.store.publish(PROGRAM)
    site.run()
    seen = []
    answer = site.store.answer
    site.store.answer = lambda *request: seen.append(answer(*request)) or answer(*request)
    site.plane.calls.clear()
    site.run(60)
    polls = [it for it in seen if it.etag]
    assert {it.status for it in polls} == {304}
    assert 50 <= len(polls) <= 70
    assert 5 <= len(seen) - len(polls) <= 8
    assert site.plane.calls == []


def test_a_node_is_ready_once_it_has_caught_up(site):
    for number in range(10):
        site.store.publish(replace(PROGRAM, service_id=f"s{number}"))
    for _ in range(3):
        site.client._page = site.limit
        site.agent.turn()
        assert not site.plane.ready
        assert not site.report["ready"]
    site.run()
    assert site.plane.ready
    assert site.report["ready"]


def test_without_an_api_a_node_serves_what_is_stored(site):
    site.store.publish(PROGRAM)
    site.run()
    site.direct.away = True
    site.plane.restart("haproxy")
    site.start()
    site.run(9)
    assert site.plane.applied == {"a1": PROGRAM}
    assert not site.plane.ready
    site.run(3)
    assert site.plane.ready


def test_without_an_api_a_node_without_programs_is_not_ready(site):
    site.direct.away = True
    site.run(100)
    assert not site.plane.ready
    site.direct.away = False
    site.run(31)
    assert site.plane.ready


def test_a_refused_program_leaves_the_previous_one(site):
    site.store.publish(PROGRAM)
    site.run()
    site.store.publish(replace(PROGRAM, domains=(REFUSED,)))
    site.store.publish(SECOND)
    site.run(2)
    assert site.plane.applied == {"a1": PROGRAM, "b2": SECOND}
    assert [it.program for it in site.state.programs()] == [PROGRAM, SECOND]
    failures = {"a1": {"revision": 2, "reason": "its domain is refused"}}
    assert site.report["failures"] == failures
    assert site.report["revision"] == 3
    site.start()
    site.run()
    assert site.report["failures"] == failures, "also after a restart of the agent"
    site.store.publish(CHANGED)
    site.run(2)
    assert site.report["failures"] == site.state.failures == {}
    assert site.plane.applied["a1"] == CHANGED


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (1, "1 is no JSON object"),
        ({"version": 2}, "version 2 of the program is not 1"),
        ({**PROGRAM.to_dict(), "origins": []}, "origins is empty"),
        (SECOND.to_dict(), "the program belongs to the service b2"),
        ({**PROGRAM.to_dict(), "domains": [BUG]}, "internal error: KeyError"),
    ],
)
def test_a_poisoned_program_fails_alone(site, document, reason):
    site.store.publish(PROGRAM)
    site.run()
    site.store.publish_document("a1", document)
    site.store.publish(SECOND)
    site.run(2)
    assert site.plane.applied == {"a1": PROGRAM, "b2": SECOND}
    assert site.report["failures"] == {"a1": {"revision": 2, "reason": reason}}
    site.store.withdraw("a1")
    site.run(2)
    assert site.report["failures"] == {}


def test_an_invalid_service_id_fails_alone(site, caplog):
    site.run()
    site.store.publish_document("../a", replace(PROGRAM).to_dict())
    site.store.withdraw("../b")
    site.store.publish(SECOND)
    site.run(2)
    assert site.plane.applied == {"b2": SECOND}
    assert site.report["failures"] == {}, "the API would refuse the report"
    assert "Revision 1 of ../a is refused" in caplog.text


def test_a_prewarm_is_reported_once_it_is_done(site):
    site.store.publish(PROGRAM)
    site.run(1)
    site.store.prewarm("a1", "/x", "/y")
    site.run(2)
    assert site.plane.calls[-1] == ("prewarm", "a1", ("/x", "/y"))
    revision = site.store.head
    assert site.report["prewarms"]["a1"] == {"revision": revision, "done": False, "reason": ""}
    site.plane.prewarms["a1"] = Prewarmed(revision, True, "1 of 2 failed")
    site.run(1)
    assert site.report["prewarms"]["a1"]["reason"] == "1 of 2 failed"


def test_a_poisoned_purge_fails_alone(site):
    site.store.publish(PROGRAM)
    site.run()
    site.store.purge("a1", "no path")
    site.store.purge("a1", "/x")
    site.run(2)
    assert ("purge", "a1", "/x", True) in site.plane.calls
    assert site.report["failures"]["a1"]["revision"] == 2


def test_a_node_with_more_failures_than_a_report_can_have_is_not_ready(site):
    for number in range(MAX_FAILURES + 1):
        site.store.publish_document(f"s{number}", {"version": "x" * 80})
    site.limit = 500
    site.run()
    assert len(site.report["failures"]) == MAX_FAILURES
    assert "s0" not in site.report["failures"], "the newest ones"
    assert len(site.state.failures) == MAX_FAILURES + 1
    assert not site.report["ready"] and not site.plane.ready

    site.store.withdraw("s7")
    site.run(2)
    assert "s0" in site.report["failures"]
    assert site.report["ready"] and site.plane.ready


def test_a_process_that_does_not_answer_is_loaded_when_it_does(site):
    site.store.publish(PROGRAM)
    site.run()
    site.plane.down = True
    site.store.publish(CHANGED)
    site.run(20)
    assert site.state.revision == 1, "the change is not yet in service"
    assert not site.report["ready"]
    assert set(site.report["started"]) == {"agent"}
    site.plane.down = False
    site.run(7)
    assert site.plane.applied == {"a1": CHANGED}
    assert site.report["ready"]
    assert site.report["revision"] == 2


def test_a_restarted_haproxy_becomes_ready_again(site):
    site.store.publish(PROGRAM)
    site.run()
    site.plane.restart("haproxy")
    site.plane.applied.clear()
    site.run(2)
    assert site.plane.applied == {"a1": PROGRAM}
    assert site.plane.ready


def test_differences_are_repaired_at_intervals(site):
    site.store.publish(PROGRAM)
    site.run()
    site.plane.applied.clear()
    site.run(302)
    assert site.plane.applied == {"a1": PROGRAM}


def test_a_purge_while_varnish_does_not_answer_is_made_up_for(site):
    site.store.publish(PROGRAM)
    site.run()
    site.plane.request("a1", "/x", "old")
    site.plane.down = True
    site.store.purge("a1", "/x")
    site.run(20)
    site.plane.down = False
    site.run(7)
    assert site.plane.request("a1", "/x", "new") == "new"


def test_a_node_behind_the_floor_takes_a_snapshot_and_empties_its_cache(site):
    for number in range(8):
        site.store.publish(replace(PROGRAM, service_id=f"s{number}"))
    site.run()
    site.plane.request("s1", "/x", "old")
    site.direct.away = True
    site.store.purge("s1", "/x")
    site.store.withdraw("s2")
    site.store.publish(SECOND)
    site.store.prune(site.store.head - 1)
    site.run(5)
    site.direct.away = False
    site.run(31)
    assert set(site.plane.applied) == {f"s{number}" for number in range(8)} - {"s2"} | {"b2"}
    assert site.state.services() == set(site.plane.applied)
    assert site.plane.request("s1", "/x", "new") == "new"
    assert site.state.revision == site.report["revision"] == site.store.head


def test_a_store_that_was_replaced_leads_to_a_snapshot(site):
    site.store.publish(PROGRAM)
    site.store.publish(SECOND)
    site.run()
    site.store.head = 0
    site.store._rows.clear()
    site.store.publish(SECOND)
    site.run(3)
    assert site.plane.applied == {"b2": SECOND}
    assert site.state.revision == 1


def test_a_damaged_file_leads_to_a_snapshot(site, tmp_path):
    site.store.publish(PROGRAM)
    site.store.publish(SECOND)
    site.run()
    (tmp_path / "state" / "programs" / "a1.json").write_text("{")
    site.start()
    site.run(2)
    assert site.plane.applied == {"a1": PROGRAM, "b2": SECOND}
    assert [it.program for it in site.state.programs()] == [PROGRAM, SECOND]


def test_of_two_agents_with_one_name_the_second_applies_nothing(site, tmp_path, caplog):
    site.store.publish(PROGRAM)
    site.run()
    other = Site(tmp_path / "other")
    other.clock, other.store, other.direct = site.clock, site.store, site.direct
    other._token = site._token
    other.start("i2")
    other.run(20)
    assert other.plane.applied == {}
    assert "the instance i1 of n1 is live" in caplog.text
    # The first one ends. The second one takes over once its last report is too old.
    other.run(25)
    assert other.plane.applied == {"a1": PROGRAM}
    site.store.publish(CHANGED)
    site.run(5)
    assert site.plane.applied == {"a1": PROGRAM}, "now it is the other one that waits"


def test_a_removed_node_goes_on_serving(site, caplog):
    site.store.publish(PROGRAM)
    site.run()
    site.store.tokens.clear()
    site.store.publish(CHANGED)
    with caplog.at_level(logging.ERROR):
        site.run(179)
    assert site.plane.applied == {"a1": PROGRAM}
    assert site.plane.ready
    assert caplog.text.count("has to join again") == 3, "once a minute"


def test_a_drained_node_is_not_ready_but_up_to_date(site):
    site.store.publish(PROGRAM)
    site.run()
    site.store.drained.add("n1")
    site.run(12)
    assert site.plane.ready is False
    site.store.publish(CHANGED)
    site.run(2)
    assert site.plane.applied == {"a1": CHANGED}
    site.store.drained.clear()
    site.run(12)
    assert site.plane.ready


def test_a_full_disk_leaves_the_data_plane_unchanged(site, monkeypatch):
    site.store.publish(PROGRAM)
    site.run()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        site.store.publish(CHANGED)
        site.store.publish(SECOND)
        site.run(30)
        assert site.plane.applied == {"a1": PROGRAM}
        assert site.plane.ready
        assert site.report["revision"] == 1
    site.run(6)
    assert site.plane.applied == {"a1": CHANGED, "b2": SECOND}
    assert site.report["revision"] == 3


def test_requests_become_rare_while_the_api_is_away(site):
    site.direct.away = True
    calls = []
    send = site.direct.send
    site.direct.send = lambda *args, **options: calls.append(1) or send(*args, **options)
    site.run(300)
    assert len(calls) < 50
