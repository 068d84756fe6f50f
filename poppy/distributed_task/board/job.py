# SPDX-License-Identifier: Apache-2.0
"""The jobs of the SQL job board."""

import datetime
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from oslo_log import log as logging
from taskflow import states
from taskflow.jobs import base

from poppy.distributed_task.board.schema import PRIORITIES

if TYPE_CHECKING:
    from poppy.distributed_task.board.sql import SQLJobBoard

LOG = logging.getLogger(__name__)


class SQLJob(base.Job):  # type: ignore[misc]
    """A job on a :class:`SQLJobBoard`. ``state`` and ``last_modified`` cost one query each."""

    def __init__(
        self,
        board: "SQLJobBoard",
        posting: Mapping[Any, Any],
        backend: Any = None,
        book: Any = None,
    ) -> None:
        """Describe a stored job; ``posting`` holds the columns of its row."""
        super().__init__(
            board,
            posting["name"],
            uuid=posting["uuid"],
            details=posting["details"],
            backend=backend,
            book=book,
            book_data=posting["book"],
        )
        self._posting = posting

    @property
    def sequence(self) -> int:
        """The job's position in the order of posting."""
        return int(self._posting["sequence"])

    @property
    def priority(self) -> base.JobPriority:
        """The priority with which the job was posted."""
        return PRIORITIES[self._posting["priority"]]

    @property
    def created_on(self) -> datetime.datetime:
        """When the job was posted: UTC, by the poster's clock."""
        return _to_datetime(self._posting["created_on"])

    @property
    def last_modified(self) -> datetime.datetime:
        """When the job was last posted, claimed or abandoned, UTC. May raise JobFailure."""
        row = self._board.look(self)
        return _to_datetime((self._posting if row is None else row)["last_modified"])

    @property
    def state(self) -> str:
        """The current state. Raises JobFailure if the board is closed or cannot be read."""
        row = self._board.look(self)
        if row is None:
            return str(states.COMPLETE)
        return str(states.UNCLAIMED if row["live_owner"] is None else states.CLAIMED)


class JobIterator(base.JobBoardIterator):  # type: ignore[misc]
    """Yields jobs as listed, without querying the state of each one again."""

    def __init__(
        self,
        board: "SQLJobBoard",
        only_unclaimed: bool = False,
        ensure_fresh: bool = False,
        jobs: Iterator[SQLJob] | None = None,
    ) -> None:
        super().__init__(board, LOG, only_unclaimed=only_unclaimed, ensure_fresh=ensure_fresh)
        self._listing = jobs

    def __next__(self) -> SQLJob:
        if self._listing is None:
            self._listing = self.board.list_jobs(self.only_unclaimed)
        return next(self._listing)


def _to_datetime(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
