# SPDX-License-Identifier: Apache-2.0
"""The client's commands, run inside this process: each would take seconds to start."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import NamedTuple


class Result(NamedTuple):
    """How a command ended; ``shown`` is what stands on the terminal then."""

    code: int
    out: str
    shown: str


class _Both(io.StringIO):
    """A stream of its own, and a copy to the terminal."""

    def __init__(self, terminal: io.StringIO) -> None:
        super().__init__()
        self._terminal = terminal

    def write(self, text: str) -> int:
        self._terminal.write(text)
        return super().write(text)


def run(*arguments: str) -> Result:
    """Run ``poppy`` with these arguments, or ``openstack`` if that is the first one."""
    terminal = io.StringIO()
    out = _Both(terminal)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(_Both(terminal)),
        _logging(),
        warnings.catch_warnings(),
    ):
        # OpenStackClient and its libraries use what some of them have deprecated.
        warnings.simplefilter("ignore")
        if arguments[0] == "openstack":
            from openstackclient import shell as openstack

            code = openstack.main(list(arguments[1:]))
        else:
            from poppyclient import shell

            try:
                code = shell.main(arguments)
            except SystemExit as exc:  # of argparse
                code = int(exc.code or 0)
    return Result(code, out.getvalue(), terminal.getvalue())


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Commands write their errors by a handler of the root logger, which they never remove."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
