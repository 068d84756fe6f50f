# SPDX-License-Identifier: Apache-2.0
"""The agent's figures for Prometheus, in a file that HAProxy serves at ``/metrics/agent``.

So the node has one port for metrics, and the last figures are there when the agent is not.
"""

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from poppy.edge.logs.logs import LogFigures
from poppy.model.edge_traffic import Counts

#: Seconds between two writes.
INTERVAL = 5.0
_PROCESSES = ("haproxy", "varnish")


class Metric(NamedTuple):
    """A metric of a node.

    Attributes:
        kind: ``gauge`` or ``counter``; counters begin at the agent's start.
        label: its only label, or empty.
    """

    name: str
    kind: str
    description: str
    label: str = ""

    @property
    def sample(self) -> str:
        """The name of its samples."""
        return self.name + ("_total" if self.kind == "counter" else "")


WRITTEN = Metric(
    "poppy_edge_agent_timestamp_seconds", "gauge", "When the agent wrote its figures."
)
ANSWERED = Metric("poppy_edge_api_timestamp_seconds", "gauge", "The last answer of the API.")
REVISION = Metric("poppy_edge_revision", "gauge", "The revision that the node has reached.")
BEHIND = Metric("poppy_edge_behind", "gauge", "Changes that the node does not have yet.")
READY = Metric("poppy_edge_ready", "gauge", "1 if the health page says so.")
DRAINED = Metric("poppy_edge_drained", "gauge", "1 if an operator has drained the node.")
CONFLICT = Metric("poppy_edge_conflict", "gauge", "1 if another agent has the node's name.")
FAILURES = Metric("poppy_edge_failures", "gauge", "Services that the node refuses.")
UP = Metric("poppy_edge_process_up", "gauge", "1 if the process answers the agent.", "process")
RESPONSES = Metric("poppy_edge_responses", "counter", "Responses to clients.", "class")
HITS = Metric("poppy_edge_hits", "counter", "Responses from the cache.")
SENT = Metric("poppy_edge_sent_bytes", "counter", "Bytes sent to clients.")
WAITING = Metric("poppy_edge_traffic_hours", "gauge", "Hours with figures not reported yet.")
LOST = Metric("poppy_edge_traffic_lost_responses", "counter", "Responses not reported ever.")
LOG_LINES = Metric("poppy_edge_log_lines", "counter", "Lines of access logs.")
LOG_LOST = Metric(
    "poppy_edge_log_lost_lines", "counter", "Lines of access logs not delivered ever."
)
LOG_OBJECTS = Metric("poppy_edge_log_objects", "counter", "Objects with access logs delivered.")
LOG_WAITING = Metric("poppy_edge_log_waiting_bytes", "gauge", "Access logs not delivered yet.")
LOG_OVERDUE = Metric(
    "poppy_edge_log_overdue_seconds", "gauge", "Delay of the oldest access log to deliver."
)
SIZE = Metric("poppy_edge_disk_bytes", "gauge", "Size of the state directory's file system.")
FREE = Metric("poppy_edge_disk_free_bytes", "gauge", "Free space of that file system.")

METRICS = (
    *(WRITTEN, ANSWERED, REVISION, BEHIND, READY, DRAINED, CONFLICT, FAILURES, UP),
    *(RESPONSES, HITS, SENT, WAITING, LOST),
    *(LOG_LINES, LOG_LOST, LOG_OBJECTS, LOG_WAITING, LOG_OVERDUE, SIZE, FREE),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """The state of an agent.

    Attributes:
        answered: when the API last answered, in seconds since 1970.
        up: the processes that answer.
        counts: what was counted since the agent's start.
        waiting: hours with figures that were not reported yet.
        lost: responses in figures that were dropped.
    """

    answered: float
    revision: int
    behind: int
    ready: bool
    drained: bool
    conflict: bool
    failures: int
    up: frozenset[str]
    counts: Counts
    waiting: int
    lost: int


def write(path: Path, figures: Figures, logs: LogFigures, directory: Path, now: float) -> None:
    """Replace the file. It need not survive a power failure.

    Args:
        directory: of which the disk is measured.
        now: seconds since 1970.

    Raises:
        OSError: it can't be written.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(render(figures, logs, shutil.disk_usage(directory), now))
    os.replace(draft, path)


def render(figures: Figures, logs: LogFigures, disk: tuple[int, int, int], now: float) -> str:
    """Return the figures in Prometheus's text format, version 0.0.4.

    Args:
        disk: total, used and free bytes.
        now: seconds since 1970.
    """
    counts = figures.counts
    values: Mapping[Metric, float | Mapping[str, float]] = {
        WRITTEN: now,
        ANSWERED: figures.answered,
        REVISION: figures.revision,
        BEHIND: figures.behind,
        READY: figures.ready,
        DRAINED: figures.drained,
        CONFLICT: figures.conflict,
        FAILURES: figures.failures,
        UP: {name: name in figures.up for name in _PROCESSES},
        RESPONSES: {f"{number}xx": found for number, found in enumerate(counts[:5], 1)},
        HITS: counts.hits,
        SENT: counts.sent,
        WAITING: figures.waiting,
        LOST: figures.lost,
        LOG_LINES: logs.lines,
        LOG_LOST: logs.lost,
        LOG_OBJECTS: logs.delivered,
        LOG_WAITING: logs.waiting,
        LOG_OVERDUE: logs.overdue,
        SIZE: disk[0],
        FREE: disk[2],
    }
    lines = itertools.chain.from_iterable(_lines(it, values[it]) for it in METRICS)
    return "".join(f"{line}\n" for line in lines)


def _lines(metric: Metric, value: float | Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {metric.sample} {metric.description}"
    yield f"# TYPE {metric.sample} {metric.kind}"
    if isinstance(value, Mapping):
        for label, one in value.items():
            yield f'{metric.sample}{{{metric.label}="{label}"}} {_number(one)}'
    else:
        yield f"{metric.sample} {_number(value)}"


def _number(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(int(value))
