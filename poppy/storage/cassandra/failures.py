# SPDX-License-Identifier: Apache-2.0
"""Which operations have failed: hints, by day, written before the truth that they are about.

As with the hints of what is due, nothing is decided by them: the reader looks at the truth. A hint
that no truth goes with is passed over; it goes when its time to live is over.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from poppy.model.operations import Operation, OperationKey, State
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.session import Database

DAY = 86_400_000_000
_PAGE = 200

PUT = (
    "INSERT INTO failed_operations (day, failed_at, project_id, service_id, operation_id) "
    "VALUES (:day, :failed_at, :project_id, :service_id, :operation_id) USING TTL :ttl"
)
PUT_DAY = "INSERT INTO failed_days (shelf, day) VALUES (0, :day) USING TTL :ttl"
DAYS = "SELECT day FROM failed_days WHERE shelf = 0"
HINTS = (
    "SELECT failed_at, project_id, service_id, operation_id FROM failed_operations "
    "WHERE day = :day AND (failed_at, project_id, service_id, operation_id) > "
    "(:failed_at, :project_id, :service_id, :operation_id) LIMIT :page"
)


class Failure(NamedTuple):
    """A hint as it was read."""

    failed_at: int
    key: OperationKey

    def is_about(self, operation: Operation) -> bool:
        """Whether that is how the operation ended, as it is stored now."""
        moment = codec.to_number(operation.updated_at)
        return operation.state is State.FAILED and moment == self.failed_at


class Failures:
    """Writes and reads hints of failures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, operations: Iterable[Operation]) -> None:
        """Write hints of those that have failed, before the truth is written."""
        failed = [it for it in operations if it.state is State.FAILED]
        ttl = self._database.retention
        # First the index, in which no day may be missing.
        self._database.write((PUT_DAY, {"day": _key(it)["day"], "ttl": ttl}) for it in failed)
        self._database.write((PUT, {**_key(it), "ttl": ttl}) for it in failed)

    def pages(self) -> Iterator[list[Failure]]:
        """All hints, a piece at a time."""
        for (day,) in self._database.read(DAYS, {}):
            last = Failure(0, OperationKey("", "", ""))
            while True:
                after = {"failed_at": last.failed_at, **last.key._asdict()}
                rows = self._database.read(HINTS, {"day": day, "page": _PAGE, **after})
                found = [Failure(failed_at, OperationKey(*key)) for failed_at, *key in rows]
                yield found
                if len(found) < _PAGE:
                    break
                last = found[-1]


def _key(operation: Operation) -> dict[str, object]:
    failed_at = codec.to_number(operation.updated_at)
    return {
        "day": failed_at - failed_at % DAY,
        "failed_at": failed_at,
        **operation.key._asdict(),
    }
