# SPDX-License-Identifier: Apache-2.0
"""A server that is one process with its own directory."""

import abc
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.real import unavailable

_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 10.0


def descendants(pid: int) -> list[int]:
    """Return all descendants of a process, generation by generation."""
    found: list[int] = []
    generation = [pid]
    while generation:
        children = [child for parent in generation for child in _children(parent)]
        found += children
        generation = children
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        # A process that has just ended has no children.
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def wait_until_suspended(process: "subprocess.Popen[bytes]") -> None:
    """Wait until all threads of a child have stopped after SIGSTOP, or it has ended."""
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


class ServerProcess(abc.ABC):
    """A server as a context manager, which stops it and removes its files at the end.

    The test is skipped if the program is missing.
    """

    PROGRAM: str
    PACKAGE: str

    def __init__(self) -> None:
        """Prepare without starting."""
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: Path | None = None

    @property
    def directory(self) -> Path:
        """The directory of all files."""
        assert self._kept is not None, "it was not started"
        return self._kept

    @abc.abstractmethod
    def prepare(self) -> None:
        """Write the required files into the new directory."""

    @abc.abstractmethod
    def command(self, program: str) -> Sequence[str]:
        """Return the command line that runs it in the foreground."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Return whether it serves."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if self._kept is not None:
            shutil.rmtree(self._kept, ignore_errors=True)
            self._kept = None

    def start(self) -> None:
        """Start it, with its earlier files if there are any, and wait until it answers.

        Raises:
            RuntimeError: it did not start; the message has its log.
        """
        program = shutil.which(self.PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            unavailable(f"there is no {self.PROGRAM}", f"apt-get install {self.PACKAGE}")
        if self._kept is None:
            self._kept = Path(tempfile.mkdtemp(prefix=f"poppy-{Path(self.PROGRAM).name}-"))
            self.prepare()
        log = self.directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command(program), stdout=output, stderr=output, cwd=self.directory
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.PROGRAM} did not start: {log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it but keep its files. Do nothing if it does not run."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Suspend it: it exists but does not answer."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            wait_until_suspended(self._process)

    def resume(self) -> None:
        """End :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
