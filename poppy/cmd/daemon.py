# SPDX-License-Identifier: Apache-2.0
"""The common part of the daemons: start, supervision by cotyledon, clean exit.

The parent reads the configuration, loads the drivers (so that a broken configuration fails the
start) and binds the socket; then it forks. Each child opens its own connections. A child that dies
is replaced. SIGTERM ends all of them gracefully; SIGHUP makes them reload the configuration.
"""

import functools
import math
import pathlib
import socket
import sys
import threading
from collections.abc import Callable, Sequence

import cotyledon
from oslo_config import cfg
from oslo_log import log

from poppy.bootstrap import Bootstrap
from poppy.cmd import exporter
from poppy.common import config, errors, files, logs, tracing

LOG = log.getLogger(__name__)

#: Seconds that requests in progress get to finish on SIGTERM.
GRACE = 60
#: Exit status of a worker process that gives up; the parent starts a new one.
WORN_OUT = 3


class Server(cotyledon.Service):  # type: ignore[misc]
    """A process that answers API requests."""

    name = "poppy-server"

    def __init__(self, worker_id: int, bootstrap: Bootstrap, sock: socket.socket) -> None:
        super().__init__(worker_id)
        self._conf = bootstrap.conf
        self._transport = bootstrap.transport
        self._sock = sock
        self._done = threading.Event()
        tracing.start(self._conf, self.name)

    def run(self) -> None:
        """Serve until terminated."""
        try:
            self._transport.serve(self._sock)
        finally:
            tracing.stop()
            self._done.set()

    def reload(self) -> None:
        """Read the configuration again."""
        config.reload(self._conf)

    def terminate(self) -> None:
        """Answer the requests that have arrived, then return."""
        self._transport.stop()
        self._done.wait()


class Worker(cotyledon.Service):  # type: ignore[misc]
    """A process that runs operations."""

    name = "poppy-worker"

    def __init__(self, worker_id: int, bootstrap: Bootstrap) -> None:
        super().__init__(worker_id)
        self._conf = bootstrap.conf
        tracing.start(self._conf, self.name)
        self._worker = bootstrap.worker()
        self._terminated = threading.Event()
        self._done = threading.Event()

    def run(self) -> None:
        """Work until terminated."""
        try:
            self._worker.run()
        finally:
            tracing.stop()
            self._done.set()
        if not self._terminated.is_set():
            LOG.error("This worker can't continue; starting a new one")
            sys.exit(WORN_OUT)

    def reload(self) -> None:
        """Read the configuration again."""
        config.reload(self._conf)

    def terminate(self) -> None:
        """Finish the operations in progress or requeue them, then return."""
        self._terminated.set()
        self._worker.stop()
        self._done.wait()


def add_server(manager: cotyledon.ServiceManager, bootstrap: Bootstrap) -> None:
    """Bind the socket and register the server processes."""
    sock = bootstrap.transport.listen()
    config.validate(bootstrap.conf)
    manager.add(Server, workers=bootstrap.transport.workers, args=(bootstrap, sock))
    # The children close the socket once they have accepted the pending connections. If it stayed
    # open here, later connections would queue up unanswered and be reset in the end.
    manager.register_hooks(on_terminate=sock.close)
    LOG.info("poppy-server listens at %s", _address(sock))


def add_worker(manager: cotyledon.ServiceManager, bootstrap: Bootstrap) -> None:
    """Register the worker processes."""
    bootstrap.distributed_task.preload()
    manager.add(Worker, workers=bootstrap.distributed_task.workers, args=(bootstrap,))


def prepare(bootstrap: Bootstrap) -> None:
    """Check the configuration, the drivers and the schema before anything starts.

    Raises:
        ConfigError: a driver can't be loaded, or the schema is not of this version.
    """
    _ = bootstrap.manager
    config.validate(bootstrap.conf)
    bootstrap.distributed_task.check()
    try:
        bootstrap.storage.check()
    except errors.Unavailable as exc:
        LOG.warning("Storage does not answer yet; requests are refused until it does: %s", exc)
    finally:
        bootstrap.storage.close()


def main(
    argv: Sequence[str] | None,
    *add: Callable[[cotyledon.ServiceManager, Bootstrap], None],
    before: Callable[[Bootstrap], None] = prepare,
    metrics: str,
) -> int:
    """Run a daemon and return its exit status.

    Args:
        add: functions that register its processes.
        before: checks and preparations before the start.
        metrics: the option of ``[metrics]`` with the port of its metrics.
    """
    program = pathlib.Path(sys.argv[0]).name
    # Also applies to files created later: log files after a rotation, journals, metrics.
    files.keep_private()
    try:
        conf = config.load(sys.argv[1:] if argv is None else argv)
        logs.setup(conf)
        tracing.check(conf)
        bootstrap = Bootstrap(conf)
        before(bootstrap)
        if conf.debug:
            conf.log_opt_values(LOG, log.DEBUG)
        grace = max(GRACE, math.ceil(bootstrap.distributed_task.grace))
        manager = cotyledon.ServiceManager(graceful_shutdown_timeout=grace)
        # Children that start later inherit the configuration from this process.
        manager.register_hooks(on_reload=functools.partial(config.reload, conf))
        exporter.add(manager, bootstrap, metrics)
        for step in add:
            step(manager, bootstrap)
    except (errors.ConfigError, cfg.Error) as exc:
        print(f"{program}: {logs.mask(str(exc))}", file=sys.stderr)
        return 1
    manager.run()
    return 0


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
