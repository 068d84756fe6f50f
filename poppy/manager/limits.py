# SPDX-License-Identifier: Apache-2.0
"""Limits on the number of services per project."""

from poppy.model import admin_schemas, validation
from poppy.storage.base import Storage


class LimitsManager:
    """Read and set the limits of projects.

    Attributes:
        default: the limit of projects without their own.
    """

    def __init__(self, storage: Storage, default: int) -> None:
        self._storage = storage
        self.default = default

    def get(self, project_id: str) -> int:
        """Return the limit that applies to a project."""
        limit = self._storage.projects.get_limit(project_id)
        return self.default if limit is None else limit

    def set(self, project_id: str, document: object) -> None:
        """Set the limit of a project; existing services above it stay.

        Raises:
            InvalidRequest: the document is invalid.
        """
        body = validation.validate(admin_schemas.LIMIT, document)
        self._storage.projects.set_limit(project_id, int(body["limit"]))
