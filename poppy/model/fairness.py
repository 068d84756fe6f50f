# SPDX-License-Identifier: Apache-2.0
"""In which order waiting work is done: the one rule that storage and job boards share.

* Projects take turns, however much each of them has waiting.
* Within a project purges come first, then the longest due.
* Bulk work follows behind everything else, with turns of its own. One of :data:`SHARE` is bulk
  all the same, or it would never end while tenants are busy.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from poppy.model.operations import Priority

T = TypeVar("T")

SHARE = 8
"""One operation in this many is bulk work, if any is waiting."""


class Place(NamedTuple):
    """What the order of a piece of work depends on."""

    project_id: str
    priority: Priority


def ordered(
    items: Iterable[T],
    place: Callable[[T], Place],
    had: Mapping[str, int] | None = None,
    ahead: int = SHARE - 1,
) -> Iterator[T]:
    """Return all items in the order in which to process them.

    Args:
        items: the longest due first.
        had: how many turns each project has had already.
        ahead: how many to process before the first bulk work.
    """
    front: dict[str, list[tuple[Priority, int, T]]] = defaultdict(list)
    bulk: dict[str, list[tuple[Priority, int, T]]] = defaultdict(list)
    for number, item in enumerate(items):
        project_id, priority = place(item)
        queues = bulk if priority is Priority.BULK else front
        queues[project_id].append((priority, number, item))
    turns = had or {}
    return woven(_sorted(front, turns), _sorted(bulk, turns), ahead)


def in_turns(queues: Sequence[tuple[int, Iterator[T]]]) -> Iterator[T]:
    """Return one item of each queue, then the second of each, and so on; lazily.

    Args:
        queues: each with the number of turns that it has had already.
    """
    later = sorted(queues, key=lambda it: it[0])
    waiting: list[Iterator[T]] = []
    turn = 0
    while waiting or later:
        if not waiting:
            turn = max(turn, later[0][0])
        while later and later[0][0] <= turn:
            waiting.append(later.pop(0)[1])
        turn += 1
        left = []
        for queue in waiting:
            for item in queue:
                yield item
                left.append(queue)
                break
        waiting = left


def woven(front: Iterator[T], bulk: Iterator[T], ahead: int = SHARE - 1) -> Iterator[T]:
    """Bulk work behind everything else, but for its share; both are read as they are needed."""
    while True:
        urgent = list(itertools.islice(front, ahead))
        yield from urgent
        if len(urgent) < ahead:
            yield from bulk
            return
        yield from itertools.islice(bulk, 1)
        ahead = SHARE - 1


def _sorted(
    queues: Mapping[str, list[tuple[Priority, int, T]]], had: Mapping[str, int]
) -> Iterator[T]:
    turns = [
        (turn, priority, number, item)
        for project_id, queue in queues.items()
        for turn, (priority, number, item) in enumerate(
            sorted(queue, key=lambda it: it[:2]), had.get(project_id, 0)
        )
    ]
    turns.sort(key=lambda it: it[:3])
    return (item for _turn, _priority, _number, item in turns)
