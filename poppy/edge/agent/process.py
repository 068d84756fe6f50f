# SPDX-License-Identifier: Apache-2.0
"""The agent as a process: signals, the service manager, and one agent for each node."""

import contextlib
import os
import re
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors
from poppy.edge import files
from poppy.edge.agent import metrics, node, options
from poppy.edge.agent.agent import Agent, DataPlane
from poppy.edge.agent.client import Client, check_ca_file
from poppy.edge.logs.logs import AccessLogs
from poppy.edge.options import ACCESS_LOG, AGENT_METRICS
from poppy.edge.state import State

LOG = log.getLogger(__name__)

#: Maximum seconds until a signal is noticed.
_NAP = 1.0
_INSTANCE = re.compile("[0-9a-f]{32}")


class _Signals:
    """SIGTERM and SIGINT end the process at any step, for the agent may be killed at any step."""

    def __init__(self) -> None:
        self.ended = False
        self.reload = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._reload)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        # An exception may get lost, if it interrupts a destructor.
        self.ended = True
        sys.exit(0)

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload = True


def run(conf: cfg.ConfigOpts, directory: Path, run_directory: Path, plane: DataPlane) -> None:
    """Run an agent until SIGTERM, which raises SystemExit.

    SIGHUP reads the configuration again and applies its mutable options.

    Raises:
        ConfigError: the node has not joined, or another agent runs.
        OSError: a directory can't be written.
    """
    _validate(conf)
    signals = _Signals()
    found = node.load(directory)
    if found is None:
        raise errors.ConfigError(
            f"this node has not joined: {node.path(directory)} does not exist (poppy-edge join)"
        )
    group = conf[options.GROUP]
    state = State(directory / "state")
    with (
        node.locked(directory),
        contextlib.closing(Client(found.url, found.token, ca_file=group.ca_file)) as client,
        _access_logs(group, found, state, run_directory) as logs,
    ):
        agent = Agent(group, client, state, plane, instance(run_directory))
        LOG.info("poppy-edge follows %s as %s", found.url, found.name)
        notify("READY=1")
        next_write = time.monotonic()
        while not signals.ended:
            if signals.reload:
                signals.reload = False
                _reload(conf)
            wait = agent.turn()
            notify("WATCHDOG=1")
            if time.monotonic() >= next_write:
                next_write = time.monotonic() + metrics.INTERVAL
                with contextlib.suppress(OSError):
                    # The run directory is in memory, so that a full disk is a figure too.
                    path = run_directory / AGENT_METRICS
                    metrics.write(path, agent.figures(), logs.figures(), directory, time.time())
            time.sleep(min(wait, _NAP))


@contextlib.contextmanager
def _access_logs(
    options: Any, found: node.Node, state: State, run_directory: Path
) -> Iterator[AccessLogs]:
    # The thread that delivers has a client of its own.
    client = Client(found.url, found.token, ca_file=options.ca_file)
    if options.log_ca_file is not None:
        check_ca_file("log_ca_file", options.log_ca_file)
    logs = AccessLogs(options, client, state.logs, run_directory / ACCESS_LOG)
    logs.start()
    try:
        yield logs
    finally:
        logs.stop()


def instance(directory: Path) -> str:
    """Return what identifies this agent among those with its name.

    It is stored where restarts of the agent keep it, but not those of the machine, and where no
    copy of a disk has it.
    """
    file = directory / "instance"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        known = file.read_text("ascii")
        if _INSTANCE.fullmatch(known):
            return known
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = uuid.uuid4().hex
    files.replace(file, new)
    return new


def notify(message: str) -> None:
    """Send a message to the service manager, if there is one: see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection,
    ):
        # Systemd writes the leading zero byte of an abstract address as @.
        connection.connect(f"\0{address[1:]}" if address[0] == "@" else address)
        connection.send(message.encode())


def _validate(conf: cfg.ConfigOpts) -> None:
    """Read all options of the agent: oslo.config checks a value only when it is read."""
    for option in options.OPTS:
        try:
            conf[options.GROUP][option.dest]
        except ValueError as exc:
            raise errors.ConfigError(f"[{options.GROUP}] {option.dest}: {exc}") from exc


def _reload(conf: cfg.ConfigOpts) -> None:
    before = conf._mutable_ns
    try:
        conf.mutate_config_files()
        _validate(conf)
    except (cfg.Error, errors.ConfigError) as exc:
        conf._mutable_ns = before
        conf.clear_override("ca_file", options.GROUP)  # This clears the cache of read values.
        LOG.error("Keeping the previous configuration: %s", exc)
    else:
        LOG.info("Configuration reloaded")
