# SPDX-License-Identifier: Apache-2.0
"""Play documentation pages: write their files, run their commands, and compare the output."""

import doctest
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple, Protocol

from tests.real.process import descendants

ROOT = pathlib.Path(__file__).parents[2]
SOURCE = ROOT / "doc" / "source"

_BLOCK = re.compile(
    r"^\.\. (?:(?P<note>\w+): (?P<value>\w+)\n"
    r"|code-block:: (?P<kind>console|yaml|ini|text)\n(?P<options>(?:   :.*\n)*)\n"
    r"(?P<text>(?:   .*\n|\n)+))",
    re.MULTILINE,
)
_CHECKER = doctest.OutputChecker()
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: A line of progress, such as "update ...", which a quick operation does not show.
_PROGRESS = re.compile(r"^\w+ \.\.\.\n", re.MULTILINE)
_PATIENCE = 60


class Block(NamedTuple):
    """A part of a page.

    Attributes:
        kind: ``console``; ``yaml``, ``ini`` or ``text``, a file; or ``note``, a comment such as
            ``.. provider: down`` that tells the test what happens here.
        name: of the file or note.
        text: the content, or the note's value.
        exit_code: of the commands.
        checked: whether the output must match the page; not with ``:class: look``.
    """

    kind: str
    name: str | None
    text: str
    exit_code: int = 0
    checked: bool = True


class Session(Protocol):
    """Runs the commands."""

    def do(self, line: str, exit_code: int) -> str:
        """Run a command, check its exit code, and return what the terminal shows."""


def blocks(page: pathlib.Path) -> Iterator[Block]:
    """Return the parts of a page in order, without files that have no ``:caption:``."""
    for found in _BLOCK.finditer(page.read_text()):
        if found["note"]:
            yield Block("note", found["note"], found["value"])
            continue
        text = textwrap.dedent(found["text"]).strip("\n") + "\n"
        caption = re.search(r":caption: (\S+)", found["options"])
        exit_code = 1 if "exit-1" in found["options"] else 0
        if found["kind"] == "console" or caption:
            checked = ":class: look" not in found["options"]
            yield Block(found["kind"], caption and caption[1], text, exit_code, checked)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Return the commands of a console, each with the output that follows.

    After a backslash, a command continues on the next line, after ``> ``.
    """
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        while line.endswith("\\"):
            more, _, shown = shown.partition("\n")
            line = f"{line[:-1]}{more.removeprefix('> ')}"
        yield line, shown


def play(
    page: pathlib.Path,
    session: Session,
    directory: pathlib.Path,
    note: Callable[[str, str], None] | None = None,
    change: Callable[[str], str] = lambda text: text,
    foreign: Collection[str] = (),
) -> list[str]:
    """Do what a page says, and compare the output.

    Args:
        directory: where files are written.
        note: called with each note.
        change: called with each file and command, to adapt it to the test.
        foreign: programs that do not exist in a test; their commands are skipped.

    Returns:
        The commands that were run.
    """
    ran = []
    for block in blocks(page):
        if block.kind == "note":
            assert note, f"{page.name}: nobody knows what to do at '{block.name}'"
            note(str(block.name), block.text)
        elif block.kind != "console":
            path = directory / str(block.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(change(block.text))
        else:
            for line, expected in commands(block.text):
                if line.split()[0] in foreign:
                    continue
                ran.append(line)
                shown = session.do(change(line), block.exit_code)
                assert not block.checked or _matches(change(expected), shown), (
                    f"{page.name}: $ {line}\n{shown}\ninstead of\n{expected}"
                )
    return ran


def _matches(expected: str, shown: str) -> bool:
    """Compare output with the page; "..." matches anything."""
    accepted = (expected, _PROGRESS.sub("", expected))
    return any(_CHECKER.check_output(it, shown, _FLAGS) for it in accepted)


class Shell:
    """A bash with its own home directory and our programs in the path.

    Args:
        home: the working directory; background processes end with the shell.
        environment: variables besides the home and the path.
    """

    def __init__(self, home: pathlib.Path, environment: Mapping[str, str] | None = None) -> None:
        programs = str(pathlib.Path(sys.executable).parent)
        self._process = subprocess.Popen(
            [shutil.which("bash") or "/bin/bash", "--noprofile", "--norc"],
            cwd=home,
            env={
                "HOME": str(home),
                "PATH": f"{programs}:{os.environ['PATH']}",
                "LANG": "C.UTF-8",
                # The libraries of OpenStack's clients warn about each other.
                "PYTHONWARNINGS": "ignore",
                **(environment or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def do(self, line: str, exit_code: int) -> str:
        """Run a command, as :class:`Session` describes."""
        code, shown = self.run(line)
        assert code == exit_code, f"$ {line}\n{shown}\nended with {code}, not {exit_code}"
        return shown

    def run(self, line: str) -> tuple[int, str]:
        """Run a command; return its exit code and output."""
        end = f"end-{uuid.uuid4().hex}"
        streams = self._process
        assert streams.stdin and streams.stdout
        streams.stdin.write(f"{{\n{line}\n}} </dev/null\nprintf '\\n%s %s\\n' {end} $?\n")
        streams.stdin.flush()
        shown = []
        watch = threading.Timer(_PATIENCE, self._kill)
        watch.start()
        try:
            for text in streams.stdout:
                if text.startswith(end):
                    return int(text.split()[1]), "".join(shown).removesuffix("\n")
                shown.append(text)
        finally:
            watch.cancel()
        raise AssertionError(f"$ {line}\nended the shell, or took too long:\n{''.join(shown)}")

    def close(self) -> None:
        """End the shell and everything that it has started."""
        assert self._process.stdin and self._process.stdout
        # Daemons begin their own sessions, so they can be found only by their parents.
        left = [self._process.pid, *descendants(self._process.pid)]
        self._process.stdin.close()
        for pid in left:
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        while left:
            self._process.poll()
            left = [pid for pid in left if _signal(pid, 0)]
            if time.monotonic() > deadline:
                self._kill()
                for pid in left:
                    _signal(pid, signal.SIGKILL)
                raise AssertionError(f"Something that the shell started does not end: {left}")
            time.sleep(0.05)
        self._process.stdout.close()

    def _kill(self) -> None:
        for pid in (*descendants(self._process.pid), self._process.pid):
            _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    """Send a signal; return whether the process still exists."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
