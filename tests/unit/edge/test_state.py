# SPDX-License-Identifier: Apache-2.0
"""The files of a node."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from poppy.edge.state import State, Stored
from poppy.model.edge import Failure
from tests.unit.edge.test_program import PROGRAM


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.create()
    return state


def test_a_new_state_is_empty(state: State) -> None:
    assert state.revision == 0
    assert list(state.programs()) == []


def test_what_is_stored_is_found_by_another_process(state: State, tmp_path: Path) -> None:
    state.put(3, PROGRAM)
    state.put(4, replace(PROGRAM, service_id="b2"))
    state.put(5, replace(PROGRAM, domains=("b.example.com",)))
    state.delete("b2")
    state.delete("b2")
    state.revision = 5
    other = State(tmp_path / "state")
    assert other.revision == 5
    assert list(other.programs()) == [Stored(5, replace(PROGRAM, domains=("b.example.com",)))]


def test_only_the_user_of_the_agent_can_read_it(state: State, tmp_path: Path) -> None:
    state.put(1, PROGRAM)
    for path, mode in (
        ("state", 0o700),
        ("state/programs", 0o700),
        ("state/programs/a1.json", 0o600),
    ):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == mode, path


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"revision": 1}', '{"revision": 1, "program": 2}']
)
def test_a_damaged_file_hides_no_other(state: State, tmp_path: Path, text: str) -> None:
    state.put(1, PROGRAM)
    (tmp_path / "state" / "programs" / "0.json").write_text(text)
    (tmp_path / "state" / "revision").write_text("x")
    assert list(state.programs()) == [Stored(1, PROGRAM)]
    assert state.revision == 0


def test_a_file_under_another_name_is_ignored(state: State, tmp_path: Path) -> None:
    state.put(1, PROGRAM)
    directory = tmp_path / "state" / "programs"
    (directory / "a1.json").rename(directory / "a2.json")
    assert list(state.programs()) == []


def test_a_full_disk_leaves_the_previous_content(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.put(1, PROGRAM)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr("os.fsync", full)
        state.put(2, replace(PROGRAM, domains=()))
    assert list(state.programs()) == [Stored(1, PROGRAM)]


@pytest.mark.parametrize("service_id", ["", "../a", "a/b", "a" * 65])
def test_a_service_id_names_no_other_file(state: State, service_id: str) -> None:
    with pytest.raises(ValueError):
        state.delete(service_id)


def test_a_program_replaces_the_previous_one_only_after_the_block(
    state: State, tmp_path: Path
) -> None:
    state.put(1, PROGRAM)
    changed = replace(PROGRAM, domains=())
    with pytest.raises(RuntimeError), state.replacing(2, changed):
        assert list(state.programs()) == [Stored(1, PROGRAM)]
        raise RuntimeError
    assert list(state.programs()) == [Stored(1, PROGRAM)]
    assert [it.name for it in (tmp_path / "state" / "programs").iterdir()] == ["a1.json"]
    with state.replacing(2, changed):
        pass
    assert list(state.programs()) == [Stored(2, changed)]


def test_a_full_disk_prevents_the_block(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError), state.replacing(1, PROGRAM):
        pytest.fail("the program is not on disk")


def test_failures_are_found_by_another_process(state: State, tmp_path: Path) -> None:
    assert state.failures == {}
    state.failures = {"a1": Failure(3, "too large")}
    assert State(tmp_path / "state").failures == {"a1": Failure(3, "too large")}


@pytest.mark.parametrize("text", ["", "[]", '{"a1": 1}', '{"a1": {"revision": "x"}}'])
def test_damaged_failures_are_ignored(state: State, tmp_path: Path, text: str) -> None:
    (tmp_path / "state" / "failures.json").write_text(text)
    assert state.failures == {}


def test_services_include_those_with_a_damaged_file(state: State, tmp_path: Path) -> None:
    state.put(1, PROGRAM)
    (tmp_path / "state" / "programs" / "b2.json").write_text("")
    (tmp_path / "state" / "programs" / "no service.json").write_text("")
    assert state.services() == {"a1", "b2"}
