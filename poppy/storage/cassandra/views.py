# SPDX-License-Identifier: Apache-2.0
"""Views: tables that say where to look, and follow from the service's partition.

A view is declared once; its writes, checks and repairs derive from that. Each row is written and
deleted with the clock of the partition as its timestamp (see :mod:`.partition`).
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from poppy.model.services import Service
from poppy.storage.cassandra.partition import ServicePartition
from poppy.storage.cassandra.session import Call

Columns = Mapping[str, Any]


def _no_rows(_service: Service) -> Iterable[Columns]:
    return ()


@dataclass(frozen=True)
class View:
    """A view.

    Attributes:
        table: its table.
        partition: the columns of its partition key.
        clustering: its clustering columns.
        values: its other columns. ``written_at`` is the clock unless a row has another value.
        rows: the rows of a service that exists, if they follow from the service alone.
        expires: whether rows have a time to live, ``ttl``.
    """

    table: str
    partition: tuple[str, ...]
    clustering: tuple[str, ...]
    values: tuple[str, ...]
    rows: Callable[[Service], Iterable[Columns]] = _no_rows
    expires: bool = False

    @functools.cached_property
    def put(self) -> str:
        """The statement that writes a row."""
        names = (*self._key, *self.values)
        columns, markers = ", ".join(names), ", ".join(f":{name}" for name in names)
        ttl = " AND TTL :ttl" if self.expires else ""
        return (
            f"INSERT INTO {self.table} ({columns}) VALUES ({markers}) USING TIMESTAMP :clock{ttl}"
        )

    @functools.cached_property
    def delete(self) -> str:
        """The statement that deletes a row."""
        where = " AND ".join(f"{name} = :{name}" for name in self._key)
        return f"DELETE FROM {self.table} USING TIMESTAMP :clock WHERE {where}"

    def add(self, row: Columns, clock: int) -> Call:
        """Return the write of a row."""
        names = (*self._key, *self.values, *(("ttl",) if self.expires else ()))
        known = {"written_at": clock, **row}
        return self.put, {**{name: known[name] for name in names}, "clock": clock}

    def drop(self, row: Columns, clock: int) -> Call:
        """Return the deletion of a row, unless it was written after ``clock``."""
        return self.delete, {**{name: row[name] for name in self._key}, "clock": clock}

    def writes(self, found: ServicePartition, before: ServicePartition | None) -> Iterator[Call]:
        """Return the writes that bring the view in line with a partition.

        Args:
            before: the partition that it replaced, if known.
        """
        current = self._rows(found.alive)
        known = {**self._rows(before.service if before else None), **self._rows(found.service)}
        for key, row in known.items():
            if key not in current:
                yield self.drop(row, found.clock)
        for row in current.values():
            yield self.add(row, found.clock)

    def shows(self, row: Columns, service: Service) -> bool:
        """Whether a service that exists has this row."""
        return self._identify(row) in self._rows(service)

    @property
    def _key(self) -> tuple[str, ...]:
        return self.partition + self.clustering

    def _identify(self, row: Columns) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._key)

    def _rows(self, service: Service | None) -> dict[tuple[Any, ...], Columns]:
        found = () if service is None else self.rows(service)
        return {self._identify(row): row for row in found}
