# SPDX-License-Identifier: Apache-2.0
"""Failed operations: hints by day, written before the partition of the operation.

As with the hints of due operations, hints decide nothing: the reader checks the service's
partition. A hint that matches no service partition is skipped, and expires with its time to live.
"""

from collections.abc import Iterable, Iterator, Sequence

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

LATEST = (
    "SELECT project_id, service_id, operation_id FROM failed_operations WHERE day = :day "
    "ORDER BY failed_at DESC, project_id DESC, service_id DESC, operation_id DESC LIMIT :page"
)


class FailedOperations:
    """Writes and reads hints of failed operations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, operations: Iterable[Operation]) -> None:
        """Write the hints of failed operations, before the service's partition is written."""
        failed = [it for it in operations if it.state is State.FAILED]
        ttl = self._database.retention
        # The index first: it must not miss a day.
        self._database.write((PUT_DAY, {"day": _key(it)["day"], "ttl": ttl}) for it in failed)
        self._database.write((PUT, {**_key(it), "ttl": ttl}) for it in failed)

    def keys(self) -> Iterator[OperationKey]:
        """Iterate over the keys of operations that have or had failed; some may be repeated."""
        for (day,) in self._database.read(DAYS, {}):
            failed_at, last = 0, OperationKey("", "", "")
            while True:
                after = {"failed_at": failed_at, **last._asdict()}
                rows = self._database.read(HINTS, {"day": day, "page": _PAGE, **after})
                for failed_at, *key in rows:  # noqa: B007 - goes on behind the last
                    last = OperationKey(*key)
                    yield last
                if len(rows) < _PAGE:
                    break

    def latest(self, limit: int) -> Sequence[OperationKey]:
        """Return at most ``limit`` keys without repetition, latest failure first."""
        keys: dict[OperationKey, None] = {}
        for day in sorted((row[0] for row in self._database.read(DAYS, {})), reverse=True):
            page = {"day": day, "page": limit - len(keys)}
            keys.update((OperationKey(*row), None) for row in self._database.read(LATEST, page))
            if len(keys) >= limit:
                break
        return list(keys)


def _key(operation: Operation) -> dict[str, object]:
    failed_at = codec.to_number(operation.updated_at)
    return {
        "day": failed_at - failed_at % DAY,
        "failed_at": failed_at,
        **operation.key._asdict(),
    }
