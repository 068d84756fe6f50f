# SPDX-License-Identifier: Apache-2.0
"""Contract: counting lost runs."""

from dataclasses import replace

from poppy.model.operations import State
from poppy.storage.base import Storage
from poppy.testing.builders import after
from poppy.testing.storage.case import StorageCase, add, begin, first_operation


class CrashContract(StorageCase):
    """The next run counts a run that began and never ended."""

    def test_first_run_has_no_crashes(self, stocked: Storage) -> None:
        assert begin(stocked, first_operation(stocked, add(stocked))).operation.crashes == 0

    def test_run_begun_again_by_its_job_counts_as_crash(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), "job-1")
        for crashes in (1, 2, 3):
            run = begin(stocked, run.operation, "job-1")
            assert run.operation.crashes == crashes
        assert stocked.operations.get(run.operation.key).crashes == 3

    def test_run_with_a_lapsed_lease_counts_as_crash(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), "job-1", until=after(30))
        again = begin(stocked, run.operation, "job-2", now=after(30), until=after(60))
        assert again.operation.crashes == 1

    def test_run_taken_by_a_dispatcher_counts_as_one_crash(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        assert stocked.operations.requeue(run.operation, after(90))
        assert stocked.operations.get(run.operation.key).crashes == 1
        assert begin(stocked, run.operation, "job-2").operation.crashes == 1

    def test_returned_run_does_not_count_as_crash(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), "job-1")
        back = replace(run.operation, state=State.QUEUED, next_attempt_at=after(1))
        stocked.operations.save(back, None)
        assert list(stocked.operations.due(after(1), 10)) == [back]
        for job in ("job-1", "job-2"):
            run = begin(stocked, back, job)
            assert run.operation.crashes == 0
            back = replace(run.operation, state=State.QUEUED, next_attempt_at=after(1))
            stocked.operations.save(back, None)

    def test_taken_waiting_operation_has_no_crash(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        parked = replace(run.operation, state=State.WAITING, next_attempt_at=after(5))
        stocked.operations.save(parked, None)
        assert stocked.operations.requeue(parked, after(90))
        assert begin(stocked, parked).operation.crashes == 0

    def test_run_can_set_the_number_of_crashes(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        run = begin(stocked, run.operation)
        stocked.operations.save(replace(run.operation, crashes=0), None)
        assert stocked.operations.get(run.operation.key).crashes == 0
