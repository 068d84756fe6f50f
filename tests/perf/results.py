# SPDX-License-Identifier: Apache-2.0
"""What benchmarks give back, and how it is shown."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

HEADINGS = ("what", "A", "B", "A : B (min..max)", "goal", "met?")


class Goal(NamedTuple):
    """What a median has to be: ``relation`` is ``>=``, ``<=`` or ``<``."""

    relation: str
    value: float
    unit: str = ""

    def met(self, value: float) -> bool:
        """Whether a value will do."""
        if self.relation == ">=":
            return value >= self.value
        return value < self.value or (self.relation == "<=" and value == self.value)

    def __str__(self) -> str:
        return f"{self.relation} {self.value:g}{self.unit}"


class Spread(NamedTuple):
    """The rounds of one thing."""

    least: float
    median: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of some values."""
    return Spread(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        what: the benchmark, and which of its cases.
        unit: of the values.
        a: (what A is, its value in each round).
        b: likewise; None when A stands alone, whose own median is then held against the goal.
        goal: for the median of the rounds' ratios A : B; None for a figure that is only told.
    """

    what: str
    unit: str
    a: tuple[str, Sequence[float]]
    b: tuple[str, Sequence[float]] | None = None
    goal: Goal | None = None

    @property
    def outcome(self) -> Spread:
        """What the goal is about: the ratios of the rounds, or the values themselves."""
        if self.b is None:
            return spread(self.a[1])
        return spread([a / b for a, b in zip(self.a[1], self.b[1], strict=True)])

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.goal.met(self.outcome.median)

    def cells(self) -> tuple[str, ...]:
        """As a line of the table."""
        least, median, most = self.outcome
        told = f"{median:.2f} ({least:.2f}..{most:.2f})"
        return (
            self.what,
            self._side(self.a),
            self._side(self.b) if self.b else "",
            told if self.b else f"{told} {self.unit}",
            str(self.goal or "none"),
            {True: "yes", False: "NO", None: "-"}[self.met],
        )

    def _side(self, side: tuple[str, Sequence[float]]) -> str:
        value = spread(side[1]).median
        return f"{side[0]}: {value:,.{0 if value >= 100 else 2}f} {self.unit}"

    def to_dict(self) -> dict[str, Any]:
        """For ``-f json``."""
        document: dict[str, Any] = {"what": self.what, "unit": self.unit}
        for letter, side in (("a", self.a), ("b", self.b)):
            if side is not None:
                document[letter] = {"name": side[0], **spread(side[1])._asdict()}
        return document | {
            "rounds": len(self.a[1]),
            "ratio" if self.b else "value": self.outcome._asdict(),
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
        }


#: A number of things, and what was measured when there were so many.
Point = tuple[int, float]


@dataclass(frozen=True)
class Curve:
    """How something grows; drawn, not held against a goal.

    Attributes:
        what: the benchmark, and which of its cases.
        x: what there are so many of.
        y: the unit of what is measured.
        series: points by name.
        from_zero: whether it is about time that passes, from nothing; else ``x`` is a size, of
            which each is ten times the one before.
    """

    what: str
    x: str
    y: str
    series: Mapping[str, Sequence[Point]]
    from_zero: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From what :meth:`to_dict` gave."""
        series = {name: [(x, y) for x, y in it] for name, it in document["series"].items()}
        return cls(**{**document, "series": series})


#: What a benchmark gives back.
Report = Result | Curve


def table(results: Sequence[Result]) -> str:
    """All results as text."""
    lines = [HEADINGS, *(result.cells() for result in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
