# SPDX-License-Identifier: Apache-2.0
"""The places that a project has for services.

Each project has one partition of ``places``, with the number of taken places and a row for each.
One conditional batch changes both, so the number always matches the rows, and a place is released
only once. A place of a service that was never stored, or is gone, is found when the project is
full.
"""

import uuid
from typing import Any, NamedTuple

from poppy.common import errors
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.partition import GRACE
from poppy.storage.cassandra.session import Call, Database

READ = (
    "SELECT service_id, services, service_limit, writer FROM places "
    "WHERE project_id = :project_id AND service_id IN ('', :service_id)"
)
READ_WRITER = (
    "SELECT service_id, writer FROM places WHERE project_id = :project_id AND service_id = ''"
)
TAKEN = "SELECT service_id, taken_at FROM places WHERE project_id = :project_id LIMIT 1000"
COUNT = (
    "UPDATE places SET services = :services, writer = :writer WHERE project_id = :project_id "
    "IF writer = :as_read"
)
TAKE = (
    "INSERT INTO places (project_id, service_id, taken_at) "
    "VALUES (:project_id, :service_id, :taken_at)"
)
GIVE_BACK = "DELETE FROM places WHERE project_id = :project_id AND service_id = :service_id"


class _Project(NamedTuple):
    project_id: str
    services: int = 0
    limit: int | None = None
    writer: uuid.UUID | None = None
    has_place: bool = False


class Quota:
    """Takes and releases places."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, project_id: str, service_id: str, default_limit: int) -> None:
        """Take a place for a service. Safe to repeat.

        Raises:
            LimitReached: no place is free.
        """
        searched = False
        for _ in partition.attempts():
            project = self._read(project_id, service_id)
            if project.has_place:
                return
            limit = default_limit if project.limit is None else project.limit
            if project.services >= limit:
                if searched or not self._find_orphans(project_id):
                    raise errors.LimitReached(project_id, limit)
                searched = True
                continue
            row = {"project_id": project_id, "service_id": service_id, "taken_at": codec.now()}
            calls: list[Call] = [(TAKE, row)]
            if project.writer is None:
                calls.append((TAKE, {**row, "service_id": ""}))
            if self._count(project, project.services + 1, calls):
                return

    def give_back(self, project_id: str, service_id: str) -> None:
        """Release the place of a service. Safe to repeat."""
        for _ in partition.attempts():
            project = self._read(project_id, service_id)
            if not project.has_place:
                return
            row = {"project_id": project_id, "service_id": service_id}
            if self._count(project, project.services - 1, [(GIVE_BACK, row)]):
                return

    def _read(self, project_id: str, service_id: str) -> _Project:
        parameters = {"project_id": project_id, "service_id": service_id}
        rows = self._database.read(READ, parameters, self._database.levels.wide)
        if not rows:
            return _Project(project_id)
        _, services, limit, writer = rows[0]
        present = any(row[0] == service_id for row in rows)
        return _Project(project_id, services or 0, limit, writer, present)

    def _count(self, project: _Project, services: int, rows: list[Call]) -> bool:
        writer = uuid.uuid4()
        parameters = {
            "project_id": project.project_id,
            "services": services,
            "writer": writer,
            "as_read": project.writer,
        }
        serial = self._database.levels.claims
        try:
            applied, found = self._database.cas([(COUNT, parameters), *rows], serial)
            return applied or (found is not None and found.get("writer") == writer)
        except Undecided:
            # After this read the write is either done or will never be; the caller finds out.
            key = {"project_id": project.project_id}
            self._database.read(READ_WRITER, key, serial)
            return False

    def _find_orphans(self, project_id: str) -> bool:
        """Release places without a service; return whether there were any.

        For projects with more than a thousand services, only those with the lowest ids are
        checked.
        """
        rows = self._database.read(TAKEN, {"project_id": project_id}, self._database.levels.wide)
        before = codec.now() - int(GRACE * 1_000_000)
        old = [service_id for service_id, taken_at in rows if service_id and taken_at < before]
        keys: list[dict[str, Any]] = [
            {"project_id": project_id, "service_id": service_id} for service_id in old
        ]
        states = self._database.read_each((partition.READ_STATE, key) for key in keys)
        gone = [
            service_id
            for service_id, state in zip(old, states, strict=True)
            if not (state and state[0][1] is None) and self._is_gone(project_id, service_id)
        ]
        for service_id in gone:
            self.give_back(project_id, service_id)
        return bool(gone)

    def _is_gone(self, project_id: str, service_id: str) -> bool:
        level = self._database.levels.claims
        found = partition.read(self._database, (project_id, service_id), level)
        if found.writer is None:
            return partition.fence(self._database, found)
        return found.removed_at is not None
