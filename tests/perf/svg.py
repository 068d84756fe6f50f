# SPDX-License-Identifier: Apache-2.0
"""Line charts as SVG 1.1, made without a library."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.perf.results import Curve, Point

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 90, 34, 46
#: Colors that color-blind people can distinguish (Okabe and Ito).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_GREY = "#888888"


def chart(curve: Curve) -> str:
    """Draw all series; the vertical axis begins at zero, so as not to exaggerate slopes."""
    points = [point for series in curve.series.values() for point in series]
    horizontal = _Axis([x for x, _ in points], curve.from_zero)
    highest = _nice(max(y for _, y in points))

    def place(point: Point) -> tuple[float, float]:
        share = horizontal(point[0])
        x = _LEFT + share * (WIDTH - _LEFT - _RIGHT)
        return x, HEIGHT - _BOTTOM - point[1] / highest * (HEIGHT - _TOP - _BOTTOM)

    parts = [_text(_LEFT, 18, f"{curve.what} ({curve.y})", weight="bold")]
    for number in range(5):
        value = highest * number / 4
        _, y = place((points[0][0], value))
        parts.append(_line([(_LEFT, y), (WIDTH - _RIGHT, y)], "#dddddd", 1))
        parts.append(_text(_LEFT - 8, y + 4, f"{value:g}", anchor="end"))
    for mark in _marks([x for x, _ in points], curve.from_zero):
        x, y = place((mark, 0))
        parts.append(_line([(x, y), (x, y + 4)], _GREY, 1))
        parts.append(_text(x, y + 18, f"{mark:,}", anchor="middle"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 8, curve.x, anchor="middle"))
    taken: list[float] = []
    for (name, series), colour in zip(curve.series.items(), _COLOURS, strict=False):
        places = [place(point) for point in series]
        parts.append(_line(places, colour, 2))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        x, y = places[-1]
        while any(abs(y - other) < 14 for other in taken):
            y -= 14
        taken.append(y)
        parts.append(_text(x + 8, y + 4, name, colour=colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


class _Axis:
    """The linear or logarithmic position of a number on an axis, from 0 to 1."""

    def __init__(self, numbers: Sequence[int], from_zero: bool) -> None:
        self._measure = float if from_zero else math.log10
        self._least = 0.0 if from_zero else math.log10(min(numbers))
        self._span = (self._measure(max(numbers)) - self._least) or 1.0

    def __call__(self, number: float) -> float:
        return (self._measure(number) - self._least) / self._span


def _marks(numbers: Sequence[int], from_zero: bool) -> list[int]:
    if from_zero:
        return [max(numbers) * number // 4 for number in range(5)]
    return sorted(set(numbers))


def _nice(value: float) -> float:
    """Round up to 1, 2, 4 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


def _line(places: Sequence[tuple[float, float]], colour: str, width: int) -> str:
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str = "start",
    colour: str = "#333333",
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
