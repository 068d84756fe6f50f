# SPDX-License-Identifier: Apache-2.0
"""The client's commands, run in this process, since each would take seconds to start."""

import contextlib
import io
import logging
import pathlib
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import NamedTuple


class Result(NamedTuple):
    """How a command ended; ``shown`` is what the terminal shows."""

    code: int
    out: str
    shown: str


class _Both(io.StringIO):
    """A stream that also copies to the terminal."""

    def __init__(self, terminal: io.StringIO) -> None:
        super().__init__()
        self._terminal = terminal

    def write(self, text: str) -> int:
        self._terminal.write(text)
        return super().write(text)


def program(name: str, *arguments: str) -> Result:
    """Run a program of this environment in its own process.

    OpenStackClient needs that: it reuses its first client for all later users.
    """
    path = shutil.which(name, path=str(pathlib.Path(sys.executable).parent))
    assert path, f"{name} is not installed"
    ended = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=120)
    return Result(ended.returncode, ended.stdout, ended.stdout + ended.stderr)


def run(*arguments: str) -> Result:
    """Run ``poppy`` with these arguments, or ``openstack`` if that is the first one."""
    if arguments[0] == "openstack":
        return program(*arguments)
    terminal = io.StringIO()
    out = _Both(terminal)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(_Both(terminal)),
        _logging(),
        warnings.catch_warnings(),
    ):
        # The libraries of OpenStack's clients use deprecated features of each other.
        warnings.simplefilter("ignore")
        from poppyclient import shell

        try:
            code = shell.main(arguments)
        except SystemExit as exc:  # of argparse
            code = int(exc.code or 0)
    return Result(code, out.getvalue(), terminal.getvalue())


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Restore the root logger: commands add a handler for errors and never remove it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
