# SPDX-License-Identifier: Apache-2.0
"""When a task of the agent is repeated."""

from poppy.edge.agent.schedule import Schedule
from tests.unit.edge.agent_parts import Clock


def waits(schedule: Schedule, clock: Clock, count: int, at_least: float = 0.0) -> list[float]:
    found = []
    for _ in range(count):
        schedule.failed(at_least)
        found.append(schedule.next - clock.now)
    return found


def test_waits_after_failures_double_up_to_the_ceiling() -> None:
    clock = Clock()
    schedule = Schedule(clock, 30.0)
    assert schedule.due
    found = waits(schedule, clock, 200)
    for wait, longest in zip(found, [1, 2, 4, 8, 16, *[30] * 195], strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(found)) > 100, "nodes do not return together"
    schedule.succeeded(1.0)
    assert not schedule.failing
    assert 0.9 <= schedule.next - clock.now <= 1.1
    assert waits(schedule, clock, 1)[0] <= 1


def test_a_longer_wait_is_kept_up_to_the_ceiling() -> None:
    clock = Clock()
    assert waits(Schedule(clock, 30.0), clock, 1, at_least=7.0) == [7.0]
    assert waits(Schedule(clock, 30.0), clock, 1, at_least=86400.0) == [30.0]
