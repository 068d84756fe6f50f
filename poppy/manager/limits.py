# SPDX-License-Identifier: Apache-2.0
"""Limits on the number of services per project."""

import datetime
from typing import NamedTuple

from poppy.model import admin_schemas, validation
from poppy.storage.base import Storage

#: Unfinished operations are counted up to this number if there is no limit.
MANY_OPEN = 500


class Usage(NamedTuple):
    """A limit, and how much of it is used; the limit is None if there is none."""

    limit: int | None
    used: int


class Quota(NamedTuple):
    """The limits of a project: its services, and its unfinished operations."""

    services: Usage
    operations: Usage


class LimitsManager:
    """Read and set the limits of projects.

    Attributes:
        default: the limit of projects without their own.
        max_open: the limit of unfinished operations of each project; 0 for no limit.
    """

    def __init__(self, storage: Storage, default: int, max_open: int) -> None:
        self._storage = storage
        self.default = default
        self.max_open = max_open

    def get(self, project_id: str) -> int:
        """Return the limit that applies to a project."""
        limit = self._storage.projects.get_limit(project_id)
        return self.default if limit is None else limit

    def quota(self, project_id: str) -> Quota:
        """Return the limits of a project, and what it uses."""
        unfinished = self._storage.operations.count_open(
            project_id, self.max_open or MANY_OPEN, datetime.datetime.now(datetime.UTC)
        )
        return Quota(
            Usage(self.get(project_id), self._storage.projects.count(project_id)),
            Usage(self.max_open or None, unfinished.total),
        )

    def set(self, project_id: str, document: object) -> None:
        """Set the limit of a project; existing services above it stay.

        Raises:
            InvalidRequest: the document is invalid.
        """
        body = validation.validate(admin_schemas.LIMIT, document)
        self._storage.projects.set_limit(project_id, int(body["limit"]))
