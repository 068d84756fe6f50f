# SPDX-License-Identifier: Apache-2.0
"""A server that is one process in a directory of its own."""

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
    """Processes that a process has started, those that they have started, and so on, in turn."""
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
        # What ends meanwhile has none.
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


class ServerProcess(abc.ABC):
    """``with`` starts it, stops it at the end and removes what it kept.

    Skips the test where the program is missing.
    """

    PROGRAM: str
    PACKAGE: str

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: Path | None = None

    @property
    def directory(self) -> Path:
        """Where it keeps everything."""
        assert self._kept is not None, "it was not started"
        return self._kept

    @abc.abstractmethod
    def prepare(self) -> None:
        """Write what it needs into its new directory."""

    @abc.abstractmethod
    def command(self, program: str) -> Sequence[str]:
        """The command line that runs it in the foreground."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Whether it serves."""

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
        """Start it, with what it kept when it was stopped; returns when it answers.

        Raises:
            RuntimeError: it did not start; has its log.
        """
        program = shutil.which(self.PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            unavailable(f"there is no {self.PROGRAM}", f"apt-get install {self.PACKAGE}")
        if self._kept is None:
            self._kept = Path(tempfile.mkdtemp(prefix=f"poppy-{self.PROGRAM}-"))
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
        """Stop it and keep what it kept; does nothing when it does not run."""
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
        """Have it hang: it is there, but does not answer."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            # Not before all of its threads have heard.
            states = os.WSTOPPED | os.WEXITED | os.WNOWAIT
            os.waitid(os.P_PID, self._process.pid, states)

    def resume(self) -> None:
        """End :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
