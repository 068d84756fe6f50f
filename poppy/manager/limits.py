# SPDX-License-Identifier: Apache-2.0
"""How many services a project may have."""

from poppy.model import admin_schemas, validation
from poppy.storage.base import Storage


class LimitsManager:
    """Limits of projects.

    Attributes:
        default: of projects that have no limit of their own.
    """

    def __init__(self, storage: Storage, default: int) -> None:
        self._storage = storage
        self.default = default

    def get(self, project_id: str) -> int:
        """What counts for a project."""
        limit = self._storage.projects.get_limit(project_id)
        return self.default if limit is None else limit

    def set(self, project_id: str, document: object) -> None:
        """Give a project a limit of its own; services that it has beyond that stay.

        Raises:
            InvalidRequest: the document is invalid.
        """
        body = validation.keeping_to(admin_schemas.LIMIT, document)
        self._storage.projects.set_limit(project_id, int(body["limit"]))
