# SPDX-License-Identifier: Apache-2.0
"""The comparison of providers says what their data planes declare."""

from pathlib import Path
from types import SimpleNamespace

from poppy.testing.edge import PROMISES
from poppy.testing.edge.contract import KEPT, NOT_SHOWN
from tools import edge_table


def test_the_page_is_what_the_data_planes_declare() -> None:
    assert edge_table.PAGE.read_text("utf-8") == edge_table.render(edge_table.declared()), (
        "run tools/edge-table"
    )


def test_ids_of_promises_are_unique() -> None:
    assert len({promise.id for promise in PROMISES}) == len(PROMISES)


def test_a_promise_is_kept_only_if_all_data_planes_of_the_provider_keep_it() -> None:
    recorder = edge_table.Recorder()

    for state in (KEPT, NOT_SHOWN, KEPT):
        result = ("promise", ("fastly", "private", state))
        report = SimpleNamespace(when="call", passed=True, user_properties=[result])
        recorder.pytest_runtest_logreport(report)

    assert recorder.states == {("fastly", "private"): NOT_SHOWN}


def test_nothing_is_written_without_results(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(edge_table, "PAGE", tmp_path / "promises.inc")
    monkeypatch.setattr(edge_table, "TESTS", f"{tmp_path}/missing.py")

    assert edge_table.main() == 1
    assert not edge_table.PAGE.exists()
