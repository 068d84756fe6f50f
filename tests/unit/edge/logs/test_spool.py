# SPDX-License-Identifier: Apache-2.0
"""Files with access logs on a node."""

import errno
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from poppy.edge.logs.spool import Spool

HOUR = 3600
START = 500_000 * HOUR
MEGABYTE = 1024 * 1024


class Clock:
    """A clock that only tests set."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Spool:
    return make(tmp_path, clock)


def make(directory: Path, clock: Clock, limit: int = MEGABYTE) -> Spool:
    return Spool(directory / "logs", limit, HOUR, clock)


def contents(spool: Spool) -> list[tuple[str, str, int, bytes]]:
    """Return what is due, as it would be delivered."""
    return [
        (it.project_id, it.service_id, it.start, gzip.decompress(it.compressed()))
        for it in spool.due()
    ]


def files(directory: Path) -> Iterator[Path]:
    return (directory / "logs").iterdir()


def test_a_file_has_a_service_and_an_hour_and_is_due_soon_after_it(
    spool: Spool, clock: Clock
) -> None:
    clock.now = START + HOUR - 0.001
    spool.add("42", "a", [b"1", b"2"])
    spool.add("42", "b", [b"x"])
    spool.add("42", "a", [b"3"])
    assert contents(spool) == []
    clock.now = START + HOUR
    spool.add("42", "a", [b"4"])
    assert contents(spool) == [], "files are delivered at random times"
    clock.now = START + 1.05 * HOUR
    assert contents(spool) == [
        ("42", "a", START, b"1\n2\n3\n"),
        ("42", "b", START, b"x\n"),
    ]
    clock.now = START + 2.05 * HOUR
    assert contents(spool)[2:] == [("42", "a", START + HOUR, b"4\n")]
    assert (spool.lines, spool.lost) == (5, 0)


def test_a_complete_file_never_changes_even_if_the_clock_goes_back(
    spool: Spool, clock: Clock, tmp_path: Path
) -> None:
    spool.add("42", "a", [b"1"])
    clock.now += 2 * HOUR
    (part,) = spool.due()
    before = part.compressed()
    clock.now = START
    spool.add("42", "a", [b"2"])
    assert part.compressed() == before
    assert len(list(files(tmp_path))) == 2
    clock.now += 2 * HOUR
    assert len({it.id for it in spool.due()}) == 2


def test_next_agent_delivers_files_under_the_same_names(
    spool: Spool, clock: Clock, tmp_path: Path
) -> None:
    spool.add("42", "a", [b"1"])
    following = make(tmp_path, clock)
    following.add("42", "a", [b"2"])
    clock.now += 2 * HOUR
    (first,), (again, other) = spool.due(), following.due()
    assert (again.id, again.start) == (first.id, first.start)
    assert again.compressed() == first.compressed()
    assert gzip.decompress(other.compressed()) == b"2\n"
    assert following.size == sum(it.stat().st_size for it in files(tmp_path))
    assert {it.stat().st_mode & 0o777 for it in files(tmp_path)} == {0o600}


def test_a_delivered_file_is_gone(spool: Spool, clock: Clock, tmp_path: Path) -> None:
    spool.add("42", "a", [b"1"])
    clock.now += 3 * HOUR
    assert 1.9 * HOUR < spool.overdue <= 2 * HOUR
    (part,) = spool.due()
    with spool.sending(part) as found:
        assert found
        spool.delivered(part)
    assert (spool.due(), spool.size, spool.overdue) == ([], 0, 0)
    assert list(files(tmp_path)) == []
    with spool.sending(part) as found:
        assert not found


def test_without_room_the_oldest_lines_are_dropped_and_counted(
    spool: Spool, clock: Clock, tmp_path: Path
) -> None:
    line = b"x" * 9_999
    for number in range(400):
        spool.add("42", f"s{number % 3}", [line])
        assert spool.size <= MEGABYTE
    clock.now += 2 * HOUR
    kept = [it for *_, text in contents(spool) for it in text.splitlines()]
    assert set(kept) == {line}
    assert len(kept) + spool.lost == spool.lines == 400
    assert len(kept) * 10_000 > 0.8 * MEGABYTE
    assert sum(it.stat().st_size for it in files(tmp_path)) == spool.size


def test_files_that_someone_has_deleted_do_no_harm(
    spool: Spool, clock: Clock, tmp_path: Path
) -> None:
    line = b"x" * 99_999
    for _ in range(10):
        spool.add("42", "a", [line])
    for path in files(tmp_path):
        path.unlink()
    for _ in range(10):
        spool.add("42", "a", [line])
    assert spool.lost < 10
    clock.now += 2 * HOUR
    assert all(set(it.splitlines()) <= {line} for *_, it in contents(spool) if it)


def test_a_file_that_is_being_delivered_is_not_dropped(spool: Spool, clock: Clock) -> None:
    line = b"x" * 9_999
    spool.add("42", "a", [b"first"])
    clock.now += 2 * HOUR
    (part,) = spool.due()
    with spool.sending(part):
        for _ in range(150):
            spool.add("42", "b", [line])
        assert gzip.decompress(part.compressed()) == b"first\n"
    assert spool.lost > 0
    for _ in range(150):
        spool.add("42", "b", [line])
    assert part not in spool.due()


def test_a_full_disk_loses_new_lines_only(
    spool: Spool, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.add("42", "a", [b"1"])
    write = os.write

    def short(file: int, data: bytes) -> int:
        return write(file, data[:-1])

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    for broken in (short, full):
        for service in ("a", "new"):
            monkeypatch.setattr(os, "write", broken)
            with pytest.raises(OSError, match="disk is full|no space"):
                spool.add("42", service, [b"lost", b"too"])
    monkeypatch.undo()
    assert (spool.lines, spool.lost) == (9, 8)
    assert len(list(files(tmp_path))) == 1
    spool.add("42", "a", [b"2"])
    clock.now += 2 * HOUR
    assert contents(spool) == [("42", "a", START, b"1\n2\n")]


def test_a_line_without_an_end_is_not_delivered(
    spool: Spool, clock: Clock, tmp_path: Path
) -> None:
    """A power failure may leave a part of it."""
    spool.add("42", "a", [b"1"])
    spool.add("42", "b", [b"torn"])
    whole, torn = sorted(files(tmp_path), key=lambda it: b"torn" in it.read_bytes())
    whole.write_bytes(whole.read_bytes() + b"2")
    torn.write_bytes(torn.read_bytes()[:-1])
    following = make(tmp_path, clock)
    clock.now += 2 * HOUR
    texts = {it.service_id: it.compressed() for it in following.due()}
    assert gzip.decompress(texts["a"]) == b"1\n"
    assert texts["b"] == b""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"{START}-0123456789abcdef.log", b""),
        (f"{START}-0123456789abcdef.log", b"[]\n1\n"),
        (f"{START}-x.log", b'{"project_id": "42", "service_id": "a", "period": 3600}\n1\n'),
        ("x-0123456789abcdef.log", b'{"project_id": "42", "service_id": "a", "period": 3600}\n'),
        (
            f"{START}-0123456789abcdef.log",
            b'{"project_id": "../x", "service_id": "a", "period": 3600}\n1\n',
        ),
    ],
)
def test_a_damaged_file_is_deleted(
    tmp_path: Path, clock: Clock, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / name).write_bytes(content)
    clock.now += 2 * HOUR
    assert make(tmp_path, clock).due() == []
    assert list(files(tmp_path)) == []
    assert f"{name}, which is damaged" in caplog.text
