# SPDX-License-Identifier: Apache-2.0
"""The metrics process of a daemon: it answers ``GET /metrics``.

It reads the files that its sibling processes write, so a scrape does not slow them down. It polls
storage in the background, so a scrape does not wait for storage.
"""

import collections
import datetime
import pathlib
import socket
import socketserver
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

import cotyledon
from oslo_log import log

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors, metrics
from poppy.common.clock import now_utc
from poppy.distributed_task.edge_dns import name_keeping
from poppy.distributed_task.tasks import gate_of
from poppy.manager.edge_programs import expiring
from poppy.model.membership import Breaker, BreakerState
from poppy.model.pools import NameState
from poppy.storage.audits import AuditStore
from poppy.storage.base import Storage
from poppy.storage.pools import PoolStore

LOG = log.getLogger(__name__)

#: The maximum number of operations, and of jobs, to count.
COUNTED = 1000
#: A worker counts as alive if it was seen this recently.
ALIVE = datetime.timedelta(minutes=1)
#: Seconds between looks at the certificates of the own edge, which reads all programs.
_CERTIFICATES_AGE = 3600.0
#: Timeout of a client's socket, in seconds.
PATIENCE = 10
#: Seconds between checks for termination.
_TICK = 0.5


def add(manager: cotyledon.ServiceManager, bootstrap: Bootstrap, port_option: str) -> None:
    """Enable metrics and add the process that exposes them, if a port is configured.

    Call it before creating anything that records metrics.

    Raises:
        ConfigError: the address or the directory can't be used.
    """
    options = bootstrap.conf[metrics.GROUP]
    port = options[port_option]
    if port is None:
        return
    # The port guards the directory, so the files of another daemon are not removed.
    sock = _listen(options.bind, port, port_option)
    directory = pathlib.Path(bootstrap.conf.state_path) / "metrics" / str(port)
    metrics.enable(directory)
    manager.add(Exporter, workers=1, args=(bootstrap, sock, directory))
    LOG.info("Serving metrics at http://%s:%d/metrics", options.bind, port)


class Exporter(cotyledon.Service):  # type: ignore[misc]
    """The service that answers ``GET /metrics`` only."""

    name = "poppy-metrics"

    def __init__(
        self,
        worker_id: int,
        bootstrap: Bootstrap,
        sock: socket.socket,
        directory: pathlib.Path,
    ) -> None:
        super().__init__(worker_id)
        self._bootstrap = bootstrap
        self._sock = sock
        self._directory = directory
        self._stopped = threading.Event()
        self._done = threading.Event()

    def run(self) -> None:
        """Answer requests until terminated."""
        shared = threading.Thread(target=self._look, name="shared state", daemon=True)
        shared.start()
        try:
            with _Server(self._sock, _handler(self._directory)) as server:
                while not self._stopped.is_set():
                    server.handle_request()
        finally:
            self._done.set()

    def reload(self) -> None:
        """Reload the configuration."""
        config.reload(self._bootstrap.conf)

    def terminate(self) -> None:
        """Stop; a running scrape may be cut off."""
        self._stopped.set()
        self._done.wait()

    def _look(self) -> None:
        interval = self._bootstrap.conf[metrics.GROUP].refresh
        certificates_at = time.monotonic()
        while True:
            metrics.prune_dead_pids(self._directory)
            try:
                look(self._bootstrap)
                if time.monotonic() >= certificates_at:
                    certificates_at = time.monotonic() + _CERTIFICATES_AGE
                    count = sum(1 for _ in expiring(self._bootstrap.storage.edge, now_utc()))
                    metrics.EXPIRING.set(count)
            except errors.PoppyError as exc:
                metrics.STORAGE_UP.set(0)
                LOG.warning("Could not refresh the shared metrics: %s", exc)
            except Exception:  # noqa: BLE001 - stale metrics would look healthy
                metrics.STORAGE_UP.set(0)
                LOG.exception("Refreshing the shared metrics failed; retrying")
            if self._stopped.wait(interval):
                return


def look(bootstrap: Bootstrap) -> None:
    """Refresh the metrics of the state that all daemons share.

    Raises:
        Unavailable: storage does not answer.
    """
    storage = bootstrap.storage
    now = datetime.datetime.now(datetime.UTC)
    due = storage.operations.due(now, COUNTED)
    moments = [it.next_attempt_at for it in due if it.next_attempt_at]
    metrics.DUE.set(len(due))
    metrics.DUE_AGE.set(max(((now - it).total_seconds() for it in moments), default=0.0))
    metrics.WORKERS.set(len(storage.membership.workers(now - ALIVE)))
    known = {breaker.driver: breaker for breaker in storage.membership.breakers()}
    for driver in (*bootstrap.providers.values(), bootstrap.dns):
        breaker = known.get(gate_of(driver)) or Breaker(gate_of(driver))
        for state in BreakerState:
            metrics.BREAKER.set(int(breaker.state is state), breaker.driver, state)
        metrics.BREAKER_OPENINGS.set(breaker.openings, breaker.driver)
    audited = AuditStore(storage.documents).get().completed_at
    if audited is not None:
        metrics.AUDIT_AGE.set((now - audited).total_seconds())
    keeping = name_keeping(bootstrap.providers, bootstrap.dns)
    _look_at_the_edge(storage, now, is_name_kept=keeping is not None)
    metrics.STORAGE_UP.set(1)
    try:
        metrics.JOBS.set(bootstrap.distributed_task.waiting(COUNTED))
    except errors.Unavailable as exc:
        metrics.BOARD_UP.set(0)
        LOG.warning("Could not count the jobs: %s", exc)
    else:
        metrics.BOARD_UP.set(1)


def _look_at_the_edge(storage: Storage, now: datetime.datetime, *, is_name_kept: bool) -> None:
    store = PoolStore(storage.documents)
    drained = {name for name, pool in store.pools().items() if pool.drained}
    members = [
        node
        for node in storage.edge.nodes()
        if node.token and not node.drained and node.pool not in drained
    ]
    ready = [node for node in members if node.state(now) == "ready"]
    metrics.EDGE_NODES.set_all(collections.Counter(node.pool for node in members))
    metrics.EDGE_READY.set_all(collections.Counter(node.pool for node in ready))
    published = store.published()
    if published is None or not is_name_kept:
        return
    pools = dict.fromkeys((node.pool for node in members), 0)
    in_dns = {pool: len(names) for pool, names in published.nodes.items()}
    metrics.EDGE_IN_DNS.set_all({**pools, **in_dns})
    for state in NameState:
        metrics.EDGE_DNS_STATE.set(int(published.state is state), state)
    if published.changed_at is not None:
        metrics.EDGE_DNS_AGE.set((now - published.changed_at).total_seconds())


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """An HTTP server on a socket that already listens."""

    daemon_threads = True
    timeout = _TICK

    def __init__(self, sock: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(sock.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock


def _handler(directory: pathlib.Path) -> type[BaseHTTPRequestHandler]:
    """Return a handler that renders the files in the format that the client prefers."""
    import prometheus_client
    import prometheus_client.multiprocess

    class Collector(prometheus_client.multiprocess.MultiProcessCollector):
        def collect(self) -> Any:
            # A process that starts creates a file before it writes to it. The base class can't
            # read an empty file, and the connection would be closed without an answer.
            names = [str(file) for file in directory.glob("*.db") if _size(file)]
            return self.merge(names, accumulate=True)  # type: ignore[no-untyped-call]

    registry = prometheus_client.CollectorRegistry()
    Collector(registry, str(directory))  # type: ignore[no-untyped-call]
    base = prometheus_client.MetricsHandler.factory(registry)

    class Handler(base):  # type: ignore[valid-type, misc]
        timeout = PATIENCE

        def do_GET(self) -> None:  # noqa: N802 - the name is the base class's
            if self.path.partition("?")[0] == "/metrics":
                super().do_GET()
            else:
                self.send_error(HTTPStatus.NOT_FOUND, "Metrics are served at /metrics")

    return Handler


def _size(file: pathlib.Path) -> int:
    """Return the size of a file; 0 if it does not exist any more."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _listen(host: str, port: int, port_option: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except OSError as exc:
        raise errors.ConfigError(
            f"[{metrics.GROUP}] bind = {host}, {port_option} = {port}: can't listen: {exc}"
        ) from exc
