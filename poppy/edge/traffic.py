# SPDX-License-Identifier: Apache-2.0
"""What a node has counted and not reported yet: files that survive the agent and HAProxy.

Each file has the sums of an hour so far, and the counters of HAProxy that they go up to. It is
replaced as a whole, so wherever the agent is killed, each response is in the sums or still above
those counters. What HAProxy counts between the last sample and its own end is lost.
"""

import datetime
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from oslo_log import log

from poppy.common.clock import now_utc
from poppy.edge import files
from poppy.model.edge_traffic import (
    MAX_ROWS,
    TOTAL,
    UNKNOWN,
    Batch,
    Counts,
    Domain,
    hour_of,
)

LOG = log.getLogger(__name__)

#: Hours to keep while the API does not take them.
MAX_HOURS = 72
#: HAProxy's counters have 32 bits; that of bytes has 64.
_WRAP = 2**32
#: The countries that are reported: all codes but :data:`UNKNOWN`.
_CODE = re.compile(rf"(?!{UNKNOWN})[A-Z]{{2}}")


class Sample(NamedTuple):
    """The counters of HAProxy.

    Attributes:
        process: identifies the process, which counts from zero.
        counts: by domain and country as the geography database has it, which may be no code;
            :data:`UNKNOWN` if it does not have the client.
    """

    process: str
    counts: Mapping[Domain, Counts]


@dataclass(slots=True)
class _Hour:
    """The sums of an hour: a file.

    Attributes:
        process, seen: the last sample.
        sums: by domain and country.
        taken: what the API has of domains in all countries, since the agent's start.
    """

    source: str
    hour: datetime.datetime
    sequence: int
    process: str
    seen: Mapping[Domain, Counts]
    sums: Mapping[Domain, Counts]
    taken: dict[Domain, Counts] = field(default_factory=dict)

    def pending(self) -> Iterator[Mapping[Domain, Counts]]:
        """Yield the sums of each domain that the API does not have, in all and by country.

        Sums only grow, so a domain has new ones in a country if it has new ones in all.
        """
        domains: dict[Domain, dict[Domain, Counts]] = {}
        for domain, counts in self.sums.items():
            whole = domain.everywhere
            rows = domains.setdefault(whole, {whole: Counts()})
            rows[whole] = rows[whole].plus(counts)
            if _CODE.fullmatch(domain.country):
                rows[domain] = counts
        return (rows for whole, rows in domains.items() if self.taken.get(whole) != rows[whole])


class Ledger:
    """The sums of a node by hour. One agent writes it.

    Attributes:
        lost: the responses in dropped hours, since the agent's start.
    """

    def __init__(self, directory: Path, clock: Callable[[], datetime.datetime] = now_utc) -> None:
        self._directory = directory
        self._clock = clock
        self._is_damaged = False
        self._hours = sorted(self._load(), key=lambda it: it.sequence)
        self.lost = 0

    @property
    def waiting(self) -> int:
        """The number of hours with sums that the API does not have."""
        return sum(any(hour.pending()) for hour in self._hours)

    def add(self, sample: Sample) -> Counts:
        """Add what was counted since the last sample; return the sum over all domains.

        It is on disk when this returns. The first sample of a node has nothing to compare with,
        nor has one after a file was damaged, so it counts as zero.

        Raises:
            OSError: nothing was added; the next sample has it too.
        """
        last = self._hours[-1] if self._hours else None
        new: dict[Domain, Counts] = {}
        if last is not None and not self._is_damaged:
            seen = last.seen if last.process == sample.process else {}
            for domain, counts in sample.counts.items():
                increase = _increase(seen.get(domain, Counts()), counts)
                if any(increase):
                    new[domain] = increase
            if not new:
                # Without entries that HAProxy has deleted.
                last.process, last.seen = sample
                return Counts()
        self._store(last, sample, new)
        self._is_damaged = False
        return _total(new)

    def batch(self) -> Batch | None:
        """Return sums for the API, oldest first; None if it has all."""
        for hour in self._hours:
            counts: dict[Domain, Counts] = {}
            for rows in hour.pending():
                if counts and len(counts) + len(rows) > MAX_ROWS:
                    break
                counts |= rows
            if counts:
                counts[TOTAL] = _total(hour.sums)
                return Batch(hour.source, hour.hour, hour.sequence, counts)
        return None

    def taken(self, batch: Batch, *, stored: bool = True) -> None:
        """Note that the API has a batch, or does not want its hour; delete what is done.

        Raises:
            OSError: a file can't be deleted.
        """
        for hour in self._hours:
            if hour.source == batch.source:
                found: Iterable[Mapping[Domain, Counts]] = [batch.counts]
                if not stored:
                    self._lose(hour)
                    found = list(hour.pending())
                for counts in found:
                    hour.taken |= {it: counts[it] for it in counts if not it.country}
                hour.taken.pop(TOTAL, None)
        for hour in [it for it in self._hours[:-1] if not any(it.pending())]:
            self._drop(hour)

    def _store(self, last: _Hour | None, sample: Sample, new: Mapping[Domain, Counts]) -> None:
        start = hour_of(self._clock())
        sequence = last.sequence + 1 if last else 1
        if last is not None and last.hour == start:
            sums = dict(last.sums)
            for domain, increase in new.items():
                sums[domain] = sums.get(domain, Counts()).plus(increase)
            hour = _Hour(
                last.source, start, sequence, sample.process, sample.counts, sums, last.taken
            )
            self._write(hour)
            self._hours[-1] = hour
        else:
            hour = _Hour(uuid.uuid4().hex, start, sequence, sample.process, sample.counts, new)
            self._write(hour)
            self._hours.append(hour)
        while len(self._hours) > MAX_HOURS:
            self._lose(self._hours[0])
            self._drop(self._hours[0])

    def _lose(self, hour: _Hour) -> None:
        lost = _total(hour.sums).requests - _total(hour.taken).requests
        self.lost += lost
        LOG.error("Dropping the count of %s responses of %s", lost, hour.hour.isoformat())

    def _drop(self, hour: _Hour) -> None:
        self._path(hour.source).unlink(missing_ok=True)
        self._hours.remove(hour)

    def _path(self, source: str) -> Path:
        return self._directory / f"{source}.json"

    def _write(self, hour: _Hour) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {
            "hour": hour.hour.isoformat(),
            "sequence": hour.sequence,
            "process": hour.process,
            "seen": _rows(hour.seen),
            "sums": _rows(hour.sums),
        }
        files.replace(self._path(hour.source), json.dumps(document))

    def _load(self) -> Iterator[_Hour]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                document = json.loads(path.read_bytes())
                yield _Hour(
                    path.stem,
                    datetime.datetime.fromisoformat(document["hour"]),
                    int(document["sequence"]),
                    str(document["process"]),
                    _counts(document["seen"]),
                    _counts(document["sums"]),
                )
            except (KeyError, TypeError, ValueError) as exc:
                LOG.error("Deleting %s, which is damaged: %s", path, exc)
                self._is_damaged = True
                path.unlink()


def _increase(seen: Counts, now: Counts) -> Counts:
    counters = [(b - a) % _WRAP for a, b in zip(seen[:-1], now[:-1], strict=True)]
    if now.sent < seen.sent or max(counters) > _WRAP // 2:
        # HAProxy has deleted the entry, and begun another one.
        return now
    return Counts(*(*counters, now.sent - seen.sent))


def _total(counts: Mapping[Domain, Counts]) -> Counts:
    return Counts(*(sum(column) for column in zip(*counts.values(), strict=True)))


def _rows(counts: Mapping[Domain, Counts]) -> list[list[Any]]:
    return [[*domain, *found] for domain, found in counts.items()]


def _counts(rows: list[list[Any]]) -> dict[Domain, Counts]:
    found = {}
    for service_id, name, *more in rows:
        # Files of earlier releases have no countries.
        country, *counts = more if len(more) > len(Counts._fields) else (UNKNOWN, *more)
        domain = Domain(str(service_id), str(name), str(country))
        found[domain] = Counts(*(int(it) for it in counts))
    return found
