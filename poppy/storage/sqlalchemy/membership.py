# SPDX-License-Identifier: Apache-2.0
"""Workers and circuit breakers in SQL."""

import datetime
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.model.membership import Breaker, Worker
from poppy.storage import membership
from poppy.storage.sqlalchemy import schema
from poppy.storage.sqlalchemy.database import Database

_W = schema.WORKERS.c
_B = schema.BREAKERS.c

_THIS_WORKER = _W.worker_id == sa.bindparam("worker")
_BEAT = sa.update(schema.WORKERS).where(_THIS_WORKER)
_ENTER = sa.insert(schema.WORKERS)
_LEAVE = sa.delete(schema.WORKERS).where(_THIS_WORKER)
_FORGET = sa.delete(schema.WORKERS).where(_W.seen_at < sa.bindparam("before"))
_WORKERS = sa.select(_W.document).where(_W.seen_at >= sa.bindparam("since"))
_BREAKERS = sa.select(schema.BREAKERS).order_by(_B.driver)
_ADD = sa.insert(schema.BREAKERS)
_SWAP = sa.update(schema.BREAKERS).where(
    _B.driver == sa.bindparam("this_driver"), _B.version == sa.bindparam("as_read")
)


class MembershipStore(membership.MembershipStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, worker: Worker) -> None:
        """Update the row; the first time, insert it and delete forgotten workers."""
        row: dict[str, Any] = {"seen_at": worker.seen_at, "document": worker.to_dict()}
        forgotten = worker.seen_at - datetime.timedelta(days=membership.FORGOTTEN)

        def work(conn: sa.Connection) -> None:
            if conn.execute(_BEAT, {**row, "worker": worker.worker_id}).rowcount == 0:
                conn.execute(_ENTER, {**row, "worker_id": worker.worker_id})
                conn.execute(_FORGET, {"before": forgotten})

        self._database.write(work)

    def leave(self, worker_id: str) -> None:
        """Delete a row."""
        self._database.write(lambda conn: conn.execute(_LEAVE, {"worker": worker_id}))

    def workers(self, since: datetime.datetime) -> Sequence[Worker]:
        """Read all recent rows of a small table."""
        with self._database.read() as conn:
            found = [
                Worker.from_dict(document)
                for document in conn.execute(_WORKERS, {"since": since}).scalars()
            ]
        return sorted(found, key=lambda worker: (worker.host, worker.pid))

    def breakers(self) -> Sequence[Breaker]:
        """Read all rows of a small table."""
        with self._database.read() as conn:
            return [
                Breaker.from_dict(row.driver, row.version, row.document)
                for row in conn.execute(_BREAKERS)
            ]

    def swap(self, breaker: Breaker) -> bool:
        """Run one conditional update, or for the first version an insert."""
        row = {"version": breaker.version, "document": breaker.to_dict()}
        as_read = breaker.version - 1
        if as_read:
            this = {"this_driver": breaker.driver, "as_read": as_read}
            return self._database.write(
                lambda conn: conn.execute(_SWAP, {**row, **this}).rowcount == 1
            )
        try:
            self._database.write(
                lambda conn: conn.execute(_ADD, {**row, "driver": breaker.driver})
            )
        except sa_exc.IntegrityError:
            return False
        return True
