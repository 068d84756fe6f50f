# SPDX-License-Identifier: Apache-2.0
"""Poppy's Prometheus metrics. Nothing is recorded until :func:`enable`.

Code calls the instruments unconditionally; while metrics are disabled, a call costs one
comparison. Values are stored in files that all processes of a daemon share (the Prometheus
client's multi-process mode), so the counts of a dead process are kept.

Tenants choose no label value, so the number of series depends on the configuration alone.
"""

import collections
import glob
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from poppy.common import errors

GROUP = "metrics"

OPTS = (
    cfg.HostAddressOpt(
        "bind",
        default="127.0.0.1",
        help="Address on which each daemon serves GET /metrics. Anyone who can reach it can read "
        "the drivers' names and usage, but no tenant data.",
    ),
    cfg.PortOpt(
        "server_port",
        min=1,
        help="TCP port for the metrics of poppy-server or poppy-standalone. Unset: metrics are "
        "disabled.",
    ),
    cfg.PortOpt(
        "worker_port",
        min=1,
        help="TCP port for the metrics of poppy-worker. Unset: metrics are disabled.",
    ),
    cfg.FloatOpt(
        "refresh",
        default=10.0,
        min=0.1,
        help="Seconds between storage reads for shared metrics: the queue, circuit breakers and "
        "workers.",
    ),
)

#: Buckets in seconds for API requests, driver calls and operations.
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALL = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_AGE = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 43200.0, 86400.0)


#: Seconds between two writes of batched observations.
DELAY = 0.25


class Instrument:
    """Base of all metrics.

    Args:
        name: the Prometheus name, without its suffix (``_total``, ``_bucket`` ...).
        text: the help text, with the unit.
        labels: names of the labels; calls pass the values in this order.
    """

    kind = ""

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), **options: Any) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._options = options
        self._metric: Any = None
        self._children: dict[tuple[str, ...], Any] = {}

    def start(self, metric: type, registry: object) -> None:
        """Start recording."""
        self._metric = metric(
            self.name, self.text, self.labels, registry=registry, **self._options
        )
        self._children.clear()

    def _child(self, values: tuple[str, ...]) -> Any:
        # The client's labels() takes a lock, and longer than the recording itself.
        child = self._children.get(values)
        if child is None:
            child = self._metric.labels(*values) if self.labels else self._metric
            self._children[values] = child
        return child


class Counter(Instrument):
    """A number that only grows."""

    kind = "counter"

    def add(self, *labels: str) -> None:
        """Count one."""
        if self._metric is not None:
            self._child(labels).inc()


class Histogram(Instrument):
    """A distribution of durations, with their count."""

    kind = "histogram"

    def observe(self, seconds: float, *labels: str) -> None:
        """Record a duration."""
        if self._metric is not None:
            self._child(labels).observe(seconds)


class BatchedHistogram(Histogram):
    """A histogram for short and frequent events; a thread records its values in batches.

    During a request the client's code and data are not in the processor's caches, and recording
    takes five times as long as in a loop.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), **options: Any) -> None:
        super().__init__(name, text, labels, **options)
        self._waiting: collections.deque[tuple[float, tuple[str, ...]]] = collections.deque()
        self._writing = False

    def observe(self, seconds: float, *labels: str) -> None:
        """Record a duration within :data:`DELAY` seconds."""
        if self._metric is not None:
            self._waiting.append((seconds, labels))
            if not self._writing:
                # Start the thread on first use: threads do not survive a fork.
                self._writing = True
                threading.Thread(target=self._write, name="metrics", daemon=True).start()

    @property
    def waiting(self) -> int:
        """The number of observations that are not recorded yet."""
        return len(self._waiting)

    def _write(self) -> None:
        while True:
            time.sleep(DELAY)
            # Only this thread removes entries.
            while self._waiting:
                seconds, labels = self._waiting.popleft()
                super().observe(seconds, *labels)


class Gauge(Instrument):
    """A current value. ``mode`` is the client's multi-process mode, which combines processes."""

    kind = "gauge"

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, mode: str) -> None:
        super().__init__(name, text, labels, multiprocess_mode=mode)

    def set(self, value: float, *labels: str) -> None:
        """Set the current value."""
        if self._metric is not None:
            self._child(labels).set(value)

    def set_all(self, values: Mapping[str, float]) -> None:
        """Set the values of all values of the only label; those that are not given become 0."""
        for label in {*values, *(labels[0] for labels in self._children)}:
            self.set(values.get(label, 0), label)


REQUESTS = BatchedHistogram(
    "poppy_http_request_duration_seconds",
    "Seconds to answer an API request, by URL template, method and status class.",
    ("method", "route", "status"),
    buckets=_REQUEST,
)
INVALID_REQUESTS = Counter(
    "poppy_http_invalid_requests",
    "Requests refused before the application saw them: invalid HTTP, or too slow to arrive.",
    ("status",),
)
OPERATIONS = Histogram(
    "poppy_operation_age_seconds",
    "Seconds from a request to the end of its operation.",
    ("kind", "state", "provider"),
    buckets=_AGE,
)
RUNS = Histogram(
    "poppy_operation_run_duration_seconds",
    "Seconds of one run of an operation in a worker, by outcome.",
    ("kind", "outcome"),
    buckets=_CALL,
)
CALLS = Histogram(
    "poppy_driver_call_duration_seconds",
    "Seconds of a driver call, including its immediate retries.",
    ("driver", "verb", "outcome"),
    buckets=_CALL,
)
REPEATS = Counter(
    "poppy_driver_call_repeats",
    "Driver calls retried immediately after a retryable error.",
    ("driver", "verb"),
)
DEFERRED = Counter(
    "poppy_driver_calls_deferred",
    "Driver calls deferred by a limit or the circuit breaker.",
    ("driver",),
)
AUDITED = Counter(
    "poppy_audit_comparisons",
    "Comparisons of a deployed service with a provider or DNS, by result: equal, differs, failed.",
    ("source", "result"),
)
DRIFT = Counter(
    "poppy_audit_differences",
    "Differences that these comparisons found, and whether they are repaired or only reported.",
    ("source", "action"),
)
AUDIT_AGE = Gauge(
    "poppy_audit_age_seconds",
    "Seconds since the last audit of all services that has ended, began.",
    mode="livemostrecent",
)
SLOTS = Gauge("poppy_worker_slots", "Operations that workers can run at once.", mode="livesum")
BUSY = Gauge("poppy_worker_slots_busy", "Operations that workers are running.", mode="livesum")
HUNG = Gauge(
    "poppy_worker_hung_calls",
    "Driver calls that timed out but have not returned.",
    mode="livesum",
)
QUOTA = Gauge(
    "poppy_provider_quota_remaining",
    "Remaining calls of a vendor's limit, as of its last response.",
    ("provider", "limit"),
    mode="livemostrecent",
)
QUOTA_LIMIT = Gauge(
    "poppy_provider_quota_limit",
    "A vendor's limit, as of its last response.",
    ("provider", "limit"),
    mode="livemostrecent",
)
STORAGE_UP = Gauge(
    "poppy_storage_up",
    "1 if storage answered the last check; otherwise dependent metrics are stale.",
    mode="livemostrecent",
)
BOARD_UP = Gauge(
    "poppy_board_up",
    "1 if the job board answered the last check.",
    mode="livemostrecent",
)
DUE = Gauge(
    "poppy_queue_due_operations",
    "Due operations in storage that are not on the job board, counted up to 1000.",
    mode="livemostrecent",
)
DUE_AGE = Gauge(
    "poppy_queue_oldest_due_seconds",
    "Seconds since the oldest of these became due; 0 if there are none.",
    mode="livemostrecent",
)
JOBS = Gauge(
    "poppy_queue_jobs_waiting",
    "Jobs on the board that no worker has claimed, counted up to 1000.",
    mode="livemostrecent",
)
WORKERS = Gauge(
    "poppy_workers_alive",
    "Live worker processes on all machines.",
    mode="livemostrecent",
)
BREAKER = Gauge(
    "poppy_breaker_state",
    "1 for the current state of a driver's circuit breaker, 0 for the others.",
    ("driver", "state"),
    mode="livemostrecent",
)
BREAKER_OPENINGS = Gauge(
    "poppy_breaker_openings",
    "Times a driver's circuit breaker has opened since the last successful call.",
    ("driver",),
    mode="livemostrecent",
)
EXPIRING = Gauge(
    "poppy_edge_certificates_expiring",
    "Certificates at the own edge that expire within 14 days, or a quarter of a shorter lifetime.",
    mode="livemostrecent",
)

EDGE_NODES = Gauge(
    "poppy_edge_pool_nodes",
    "Nodes of a pool of the own edge that have joined. 0 if the pool is drained; drained nodes do "
    "not count.",
    ("pool",),
    mode="livemostrecent",
)
EDGE_READY = Gauge(
    "poppy_edge_pool_nodes_ready",
    "Those of them that are ready.",
    ("pool",),
    mode="livemostrecent",
)
EDGE_IN_DNS = Gauge(
    "poppy_edge_pool_nodes_in_dns",
    "Nodes of a pool that the DNS name of the own edge has.",
    ("pool",),
    mode="livemostrecent",
)
EDGE_DNS_STATE = Gauge(
    "poppy_edge_dns_state",
    "1 for the current state of the DNS name of the own edge, 0 for the others.",
    ("state",),
    mode="livemostrecent",
)
EDGE_DNS_AGE = Gauge(
    "poppy_edge_dns_change_age_seconds",
    "Seconds since the addresses of the own edge in DNS last changed.",
    mode="livemostrecent",
)

INSTRUMENTS: tuple[Instrument, ...] = (
    *(REQUESTS, INVALID_REQUESTS, OPERATIONS, RUNS, CALLS, REPEATS, DEFERRED, SLOTS, BUSY, HUNG),
    *(AUDITED, DRIFT, AUDIT_AGE),
    *(QUOTA, QUOTA_LIMIT, STORAGE_UP, BOARD_UP, DUE, DUE_AGE, JOBS, WORKERS),
    BREAKER,
    BREAKER_OPENINGS,
    *(EDGE_NODES, EDGE_READY, EDGE_IN_DNS, EDGE_DNS_STATE, EDGE_DNS_AGE),
    EXPIRING,
)

_recording = False


def enabled() -> bool:
    """Return whether metrics are recorded."""
    return _recording


def enable(directory: pathlib.Path) -> None:
    """Start recording into a directory, and remove what earlier processes left there.

    Call this before forking the processes that record.

    Raises:
        ConfigError: the directory can't be created, or the Prometheus client is not installed.
    """
    global _recording  # noqa: PLW0603 - one per process, like the client's own registry
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.ConfigError(
            f"[DEFAULT] state_path: {directory}, for metrics, can't be created: {exc}"
        ) from exc
    # The client reads this on import, and when a process opens its files.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    try:
        import prometheus_client
    except ImportError as exc:
        raise errors.ConfigError(
            f"[{GROUP}] needs the Prometheus client: pip install 'poppy-cdn[metrics]' ({exc})"
        ) from exc
    classes = {
        "counter": prometheus_client.Counter,
        "gauge": prometheus_client.Gauge,
        "histogram": prometheus_client.Histogram,
    }
    # Unused: metrics are read from the files.
    registry = prometheus_client.CollectorRegistry()
    for instrument in INSTRUMENTS:
        instrument.start(classes[instrument.kind], registry)
    _recording = True


def prune_dead_pids(directory: pathlib.Path) -> None:
    """Remove the gauge files of dead processes; their counters stay."""
    for name in glob.glob(str(directory / "gauge_live*_*.db")):
        pid = int(pathlib.Path(name).stem.rpartition("_")[2])
        if not pathlib.Path(f"/proc/{pid}").exists():
            pathlib.Path(name).unlink(missing_ok=True)
