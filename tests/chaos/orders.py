# SPDX-License-Identifier: Apache-2.0
"""Orders that make the double fail."""

import enum
import random
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass


class Action(enum.StrEnum):
    """A fault of a call."""

    #: 429 with a Retry-After of ``value`` seconds; no effect.
    LIMIT = "limit"
    #: 500; no effect.
    FAIL = "fail"
    #: 400; no effect.
    REFUSE = "refuse"
    #: No effect and no answer; the connection is closed after ``value`` seconds.
    HANG = "hang"
    #: The effect, but no answer; the connection is closed.
    LOSE = "lose"
    #: The effect and half of the answer.
    CUT = "cut"
    #: The effect, finished after ``value`` polls.
    SLOW = "slow"
    #: The call waits for its release before its effect.
    HOLD_BEFORE = "hold_before"
    #: The call waits for its release between its effect and the answer.
    HOLD_AFTER = "hold_after"


@dataclass(slots=True)
class Order:
    """A fault and the calls to which it applies.

    Attributes:
        operation: the operation of the calls: ``find``, ``create``, ``replace``, ``delete`` or
            ``purge`` at the provider; ``resolve``, ``set`` or ``unset`` in the zone; or ``*``.
        subject: a service id, a name in the zone, or None for any.
        times: the number of calls, or None for no limit.
        probability: the probability that it applies to a matching call.
        value: see :class:`Action`.
    """

    action: Action
    operation: str = "*"
    subject: str | None = None
    times: int | None = 1
    probability: float = 1.0
    value: float = 1.0

    def __post_init__(self) -> None:
        self.action = Action(self.action)


class Orders:
    """The active orders; the first that matches a call applies.

    Random choices depend on the seed and the number of the call of its operation, so that the
    result of the tenth ``create``, for example, does not depend on other calls.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._standing: list[Order] = []
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def give(self, order: Order) -> None:
        """Add an order after the active ones."""
        with self._lock:
            self._standing.append(order)

    def clear(self) -> None:
        """Remove all orders."""
        with self._lock:
            self._standing.clear()

    def next(self, operation: str, subjects: Collection[str]) -> Order | None:
        """Return the order for this call, or None."""
        with self._lock:
            self._calls[operation] += 1
            chance = random.Random(f"{self._seed} {operation} {self._calls[operation]}")
            for order in self._standing:
                fits = order.operation in ("*", operation)
                meant = order.subject is None or order.subject in subjects
                if fits and meant and chance.random() < order.probability:
                    self._count(order)
                    return order
            return None

    def _count(self, order: Order) -> None:
        if order.times is not None:
            order.times -= 1
            if order.times <= 0:
                self._standing.remove(order)
