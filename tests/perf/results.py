# SPDX-License-Identifier: Apache-2.0
"""Results of benchmarks and their representations."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

HEADINGS = ("what", "A", "B", "A : B (min..max)", "goal", "met?")


class Goal(NamedTuple):
    """The required median: ``relation`` is ``>=``, ``<=`` or ``<``."""

    relation: str
    value: float
    unit: str = ""

    def met(self, value: float) -> bool:
        """Return whether a value meets the goal."""
        if self.relation == ">=":
            return value >= self.value
        return value < self.value or (self.relation == "<=" and value == self.value)

    def __str__(self) -> str:
        return f"{self.relation} {self.value:g}{self.unit}"


class Spread(NamedTuple):
    """The spread of the rounds of a measurement."""

    least: float
    median: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of values."""
    return Spread(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        what: the benchmark and its case.
        unit: the unit of the values.
        a: (the name of A, its value in each round).
        b: the same for B, or None; without B, the goal applies to the median of A.
        goal: the goal for the median of the ratios A : B, or None.
    """

    what: str
    unit: str
    a: tuple[str, Sequence[float]]
    b: tuple[str, Sequence[float]] | None = None
    goal: Goal | None = None

    @property
    def outcome(self) -> Spread:
        """Return the spread of the ratios of the rounds, or of the values without B."""
        if self.b is None:
            return spread(self.a[1])
        return spread([a / b for a, b in zip(self.a[1], self.b[1], strict=True)])

    @property
    def met(self) -> bool | None:
        """Return whether the goal is met, or None without a goal."""
        return None if self.goal is None else self.goal.met(self.outcome.median)

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a line of the table."""
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
        """Return the document for ``-f json``."""
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


#: A number of things and the measured value at that number.
Point = tuple[int, float]


@dataclass(frozen=True)
class Curve:
    """The growth of a value, drawn as a chart without a goal.

    Attributes:
        what: the benchmark and its case.
        x: the name of the counted things.
        y: the unit of the measured values.
        series: points by name.
        from_zero: whether ``x`` progresses from zero; otherwise ``x`` is a size, each ten times
            the previous one.
    """

    what: str
    x: str
    y: str
    series: Mapping[str, Sequence[Point]]
    from_zero: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a document for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Make a curve from a document of :meth:`to_dict`."""
        series = {name: [(x, y) for x, y in it] for name, it in document["series"].items()}
        return cls(**{**document, "series": series})


#: A result of a benchmark.
Report = Result | Curve


def table(results: Sequence[Result]) -> str:
    """Return all results as text."""
    lines = [HEADINGS, *(result.cells() for result in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
