# SPDX-License-Identifier: Apache-2.0
"""What Poppy counts and times, in one table; nothing is recorded until :func:`enable`.

Instruments are called where things happen, whether or not anybody wants to know: until then, that
costs a comparison. Values live in files that all processes of a daemon share, as the Prometheus
client has them in its multi-process mode, so what a process that died has counted is kept.

No label has a value that tenants choose, so how many series there are depends on the
configuration alone.
"""

import collections
import glob
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from poppy.common import errors

GROUP = "metrics"

OPTS = (
    cfg.HostAddressOpt(
        "bind",
        default="127.0.0.1",
        help="Address on which each daemon answers GET /metrics. Whoever reaches it can read the "
        "names of drivers and how much they are used, but nothing of tenants.",
    ),
    cfg.PortOpt(
        "server_port",
        min=1,
        help="TCP port for the metrics of poppy-server, or of poppy-standalone. Unset: none are "
        "recorded.",
    ),
    cfg.PortOpt(
        "worker_port",
        min=1,
        help="TCP port for the metrics of poppy-worker. Unset: none are recorded.",
    ),
    cfg.FloatOpt(
        "refresh",
        default=10.0,
        min=0.1,
        help="Seconds between looks into storage for what all daemons share: the queue, circuit "
        "breakers and workers.",
    ),
)

#: Seconds: of an API request, a driver's call, and an operation.
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALL = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_AGE = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0, 43200.0, 86400.0)


#: Seconds for which what is batched may wait.
DELAY = 0.25


class Instrument:
    """Something that is counted or timed.

    Args:
        name: as Prometheus knows it, without what it appends (``_total``, ``_bucket`` ...).
        text: what it says, with the unit.
        labels: names of the labels; a call gives their values in that order.
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
        """Record from now on."""
        self._metric = metric(
            self.name, self.text, self.labels, registry=registry, **self._options
        )
        self._children.clear()

    def _child(self, values: tuple[str, ...]) -> Any:
        # The client's own way to a child takes a lock, and longer than the recording.
        child = self._children.get(values)
        if child is None:
            child = self._metric.labels(*values) if self.labels else self._metric
            self._children[values] = child
        return child


class Counter(Instrument):
    """Only grows."""

    kind = "counter"

    def add(self, *labels: str) -> None:
        """Count one."""
        if self._metric is not None:
            self._child(labels).inc()


class Histogram(Instrument):
    """How long things take, and how many there were."""

    kind = "histogram"

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one that took so long."""
        if self._metric is not None:
            self._child(labels).observe(seconds)


class BatchedHistogram(Histogram):
    """For what is so quick and so frequent that recording it must cost next to nothing.

    Amid a request, the client's code and data are in none of the processor's caches, and recording
    takes five times as long as when it is done over and over. So it is put off, for a moment.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), **options: Any) -> None:
        super().__init__(name, text, labels, **options)
        self._waiting: collections.deque[tuple[float, tuple[str, ...]]] = collections.deque()
        self._writing = False

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one that took so long, within :data:`DELAY`."""
        if self._metric is not None:
            self._waiting.append((seconds, labels))
            if not self._writing:
                # A thread of the process that observes: it must not be made before a fork.
                self._writing = True
                threading.Thread(target=self._write, name="metrics", daemon=True).start()

    @property
    def waiting(self) -> int:
        """How many are not written yet."""
        return len(self._waiting)

    def _write(self) -> None:
        while True:
            time.sleep(DELAY)
            # Nobody else takes from it.
            while self._waiting:
                seconds, labels = self._waiting.popleft()
                super().observe(seconds, *labels)


class Gauge(Instrument):
    """A value of the moment. ``mode`` says how those of several processes become one."""

    kind = "gauge"

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, mode: str) -> None:
        super().__init__(name, text, labels, multiprocess_mode=mode)

    def set(self, value: float, *labels: str) -> None:
        """It is so much now."""
        if self._metric is not None:
            self._child(labels).set(value)


REQUESTS = BatchedHistogram(
    "poppy_http_request_duration_seconds",
    "Seconds until an API request was answered, by URL template, method and class of status.",
    ("method", "route", "status"),
    buckets=_REQUEST,
)
OPERATIONS = Histogram(
    "poppy_operation_age_seconds",
    "Seconds from the request to the end of an operation.",
    ("kind", "state", "provider"),
    buckets=_AGE,
)
RUNS = Histogram(
    "poppy_operation_run_duration_seconds",
    "Seconds that one run of an operation took a worker, by what came of it.",
    ("kind", "outcome"),
    buckets=_CALL,
)
CALLS = Histogram(
    "poppy_driver_call_duration_seconds",
    "Seconds that a call of a driver took, its quick repetitions included.",
    ("driver", "verb", "outcome"),
    buckets=_CALL,
)
REPEATS = Counter(
    "poppy_driver_call_repeats",
    "Calls of a driver that were repeated at once after an error that may pass.",
    ("driver", "verb"),
)
DEFERRED = Counter(
    "poppy_driver_calls_deferred",
    "Calls of a driver that were put off by its limits or its circuit breaker.",
    ("driver",),
)
SLOTS = Gauge("poppy_worker_slots", "Operations that workers can run at once.", mode="livesum")
BUSY = Gauge("poppy_worker_slots_busy", "Operations that workers run now.", mode="livesum")
HUNG = Gauge(
    "poppy_worker_hung_calls",
    "Calls of drivers that nobody waits for any more, and that have not ended.",
    mode="livesum",
)
QUOTA = Gauge(
    "poppy_provider_quota_remaining",
    "What is left of a vendor's limit, as its last answer said.",
    ("provider", "limit"),
    mode="livemostrecent",
)
QUOTA_LIMIT = Gauge(
    "poppy_provider_quota_limit",
    "A vendor's limit, as its last answer said.",
    ("provider", "limit"),
    mode="livemostrecent",
)
STORAGE_UP = Gauge(
    "poppy_storage_up",
    "1 if storage answered when it was last asked; else what follows from it is of before.",
    mode="livemostrecent",
)
BOARD_UP = Gauge(
    "poppy_board_up",
    "1 if the job board answered when it was last asked.",
    mode="livemostrecent",
)
DUE = Gauge(
    "poppy_queue_due_operations",
    "Operations in storage that are due and not on the job board, counted up to 1000.",
    mode="livemostrecent",
)
DUE_AGE = Gauge(
    "poppy_queue_oldest_due_seconds",
    "Seconds for which the longest due of these has been due; 0 without any.",
    mode="livemostrecent",
)
JOBS = Gauge(
    "poppy_queue_jobs_waiting",
    "Jobs on the board that no worker has claimed, counted up to 1000.",
    mode="livemostrecent",
)
WORKERS = Gauge(
    "poppy_workers_alive",
    "Worker processes, on all machines, that give signs of life.",
    mode="livemostrecent",
)
BREAKER = Gauge(
    "poppy_breaker_state",
    "1 for the state that a driver's circuit breaker is in, 0 for the others.",
    ("driver", "state"),
    mode="livemostrecent",
)
BREAKER_OPENINGS = Gauge(
    "poppy_breaker_openings",
    "How often a driver's circuit breaker has opened since a call last worked.",
    ("driver",),
    mode="livemostrecent",
)

INSTRUMENTS: tuple[Instrument, ...] = (
    *(REQUESTS, OPERATIONS, RUNS, CALLS, REPEATS, DEFERRED, SLOTS, BUSY, HUNG, QUOTA),
    *(QUOTA_LIMIT, STORAGE_UP, BOARD_UP, DUE, DUE_AGE, JOBS, WORKERS),
    BREAKER,
    BREAKER_OPENINGS,
)

_recording = False


def enabled() -> bool:
    """Whether anything is recorded."""
    return _recording


def enable(directory: pathlib.Path) -> None:
    """Record from now on, into a directory; what was left there by others is removed.

    To be called before the processes that record are forked.

    Raises:
        ConfigError: the directory can't be made, or the Prometheus client is not installed.
    """
    global _recording  # noqa: PLW0603 - as the client's own registry, one for a process
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.ConfigError(
            f"[DEFAULT] state_path: {directory}, for metrics, can't be made: {exc}"
        ) from exc
    # Read when the client is imported, and whenever a process opens its files.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    try:
        import prometheus_client
    except ImportError as exc:
        raise errors.ConfigError(
            f"[{GROUP}] needs the Prometheus client: pip install 'poppy[metrics]' ({exc})"
        ) from exc
    classes = {
        "counter": prometheus_client.Counter,
        "gauge": prometheus_client.Gauge,
        "histogram": prometheus_client.Histogram,
    }
    # Nobody reads this registry: what is read is the files.
    registry = prometheus_client.CollectorRegistry()
    for instrument in INSTRUMENTS:
        instrument.start(classes[instrument.kind], registry)
    _recording = True


def forget_the_dead(directory: pathlib.Path) -> None:
    """Remove the gauges of processes that are no more; their counts stay."""
    for name in glob.glob(str(directory / "gauge_live*_*.db")):
        pid = int(pathlib.Path(name).stem.rpartition("_")[2])
        if not pathlib.Path(f"/proc/{pid}").exists():
            pathlib.Path(name).unlink(missing_ok=True)
