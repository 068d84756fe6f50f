# SPDX-License-Identifier: Apache-2.0
"""The pipe between HAProxy and the agent."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from poppy.edge.logs import pipe as pipes
from poppy.edge.logs.pipe import Pipe

LINE = b'{"time":1,"cache":"HIT"}'
OWNED = b"42 a " + LINE + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "access.pipe"


@pytest.fixture
def pipe(path: Path) -> Iterator[Pipe]:
    pipe = Pipe(path)
    yield pipe
    pipe.close()


def write(path: Path, text: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert os.write(file, text) == len(text)
    os.close(file)


def test_lines_are_sorted_by_project_and_service(pipe: Pipe, path: Path) -> None:
    assert pipe.read(0) is None
    write(path, OWNED + b"4.2:x b-1 " + LINE + b"\n" + OWNED + b"42 a {")
    assert pipe.read(0) == {("42", "a"): [LINE, LINE], ("4.2:x", "b-1"): [LINE]}
    assert pipe.is_within_line
    write(path, LINE[1:] + b"\n")
    assert pipe.read(0) == {("42", "a"): [LINE]}
    assert not pipe.is_within_line
    assert pipe.read(0) is None, "no writer is left, but others may come"
    assert pipe.damaged == 0
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        b"42 a {\n",
        b"42 a " + LINE[:-1] + b"\n",
        b'42 a {"time":1,"url":"42 b ' + LINE + b"\n",
        LINE + b"\n",
        b"42 " + LINE + b"\n",
        b"42 a b " + LINE + b"\n",
        b"../x a " + LINE + b"\n",
        b"42 a/b " + LINE + b"\n",
        b"42 a\xff " + LINE + b"\n",
        b"\n",
    ],
)
def test_damaged_lines_are_counted_and_dropped(pipe: Pipe, path: Path, text: bytes) -> None:
    write(path, text + OWNED)
    assert pipe.read(0) == {("42", "a"): [LINE]}
    assert pipe.damaged == 1


def test_text_without_end_takes_no_memory(pipe: Pipe, path: Path) -> None:
    write(path, b"x" * 60_000)
    pipe.read(0)
    assert pipe.is_within_line
    write(path, b"x" * 60_000)
    pipe.read(0)
    assert not pipe.is_within_line
    assert pipe.damaged == 1


def test_what_was_written_stays_while_the_reader_restarts(path: Path) -> None:
    pipes.create(path)
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, OWNED)
    for _ in range(2):
        reader = Pipe(path)
        assert reader.read(0) == {("42", "a"): [LINE]}
        reader.close()
        os.write(writer, OWNED)
    os.close(writer)


def test_another_kind_of_file_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("x")
    pipes.create(path)
    assert path.is_fifo()
    before = path.stat().st_ino
    pipes.create(path)
    assert path.stat().st_ino == before
