# SPDX-License-Identifier: Apache-2.0
"""The files of a node."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from poppy.edge.state import State, Stored
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
