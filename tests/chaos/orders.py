# SPDX-License-Identifier: Apache-2.0
"""How the double is told to misbehave."""

import enum
import random
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass


class Action(enum.StrEnum):
    """What becomes of a call."""

    #: 429 with a Retry-After of ``value`` seconds; no effect.
    LIMIT = "limit"
    #: 500; no effect.
    FAIL = "fail"
    #: 400; no effect.
    REFUSE = "refuse"
    #: No effect and no answer; the connection is closed after ``value`` seconds.
    HANG = "hang"
    #: The effect, but no answer: the connection is closed.
    LOSE = "lose"
    #: The effect, and half of the answer.
    CUT = "cut"
    #: The effect, which the provider takes ``value`` polls to finish.
    SLOW = "slow"
    #: The call waits to be released before it has its effect.
    HOLD_BEFORE = "hold_before"
    #: ... and before it is answered.
    HOLD_AFTER = "hold_after"


@dataclass(slots=True)
class Order:
    """Something to do to calls.

    Attributes:
        operation: of the calls it is about: ``find``, ``create``, ``replace``, ``delete`` or
            ``purge`` at the provider; ``resolve``, ``set`` or ``unset`` in the zone; or ``*``.
        subject: a service id, or a name in the zone; None for any.
        times: how often it is carried out; None for ever.
        probability: that it is carried out, at each call that it is about.
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
    """The orders that stand; the first that fits a call is carried out.

    Chance is drawn by the seed and the number of the call of its operation, so that what comes
    of, say, the tenth ``create`` does not depend on the calls between.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._standing: list[Order] = []
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def give(self, order: Order) -> None:
        """Add an order, behind those that stand."""
        with self._lock:
            self._standing.append(order)

    def clear(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._standing.clear()

    def next(self, operation: str, subjects: Collection[str]) -> Order | None:
        """What to do to this call; None to serve it well."""
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
