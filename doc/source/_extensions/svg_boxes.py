# SPDX-License-Identifier: Apache-2.0
"""Steps in turn and side by side, drawn as boxes and arrows in an SVG; needs nothing else."""

from dataclasses import dataclass
from html import escape

_HEIGHT = 34
_CHARACTER = 7.4  # a little more than the average of the font at this size
_PADDING = 14
_GAP = 34
_BETWEEN = 12
_END = 7
_COLOURS = {
    "provider": ("#e8f0fe", "#3367d6"),
    "dns": ("#e6f4ea", "#188038"),
}
_LINE = "#5f6368"


@dataclass(frozen=True)
class Step:
    """A box; its kind is its colour."""

    name: str
    kind: str


@dataclass(frozen=True)
class InTurn:
    """From left to right, with arrows between."""

    parts: "list[Shape]"


@dataclass(frozen=True)
class SideBySide:
    """One above the other; what comes next waits for all."""

    parts: "list[Shape]"


Shape = Step | InTurn | SideBySide


def draw(shape: Shape, title: str) -> str:
    """The SVG element, from where it begins to where all is done."""
    width, height = _size(shape)
    lead = 2 * _END + _GAP
    whole, middle = width + 2 * lead, height / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{whole:g}" '
        f'height="{height + 8:g}" viewBox="0 -4 {whole:g} {height + 8:g}" '
        'style="max-width: 100%; height: auto" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<circle cx="{_END}" cy="{middle:g}" r="{_END - 1}" fill="{_LINE}"/>',
        *_arrow(2 * _END, middle, lead, middle),
        *_drawn(shape, lead, 0.0, height),
        *_arrow(lead + width, middle, lead + width + _GAP, middle),
        f'<circle cx="{whole - _END:g}" cy="{middle:g}" r="{_END - 1}" fill="none" '
        f'stroke="{_LINE}" stroke-width="2"/>',
        "</svg>",
    ]
    return "\n".join(lines)


def tell(shape: Shape) -> str:
    """The same in words."""
    if isinstance(shape, Step):
        return shape.name
    if isinstance(shape, InTurn):
        return ", then ".join(map(tell, shape.parts))
    return " and ".join(map(tell, shape.parts)) + " side by side"


def _size(shape: Shape) -> tuple[float, float]:
    if isinstance(shape, Step):
        return len(shape.name) * _CHARACTER + 2 * _PADDING, _HEIGHT
    sizes = [_size(part) for part in shape.parts]
    widths, heights = [it[0] for it in sizes], [it[1] for it in sizes]
    if isinstance(shape, InTurn):
        return sum(widths) + _GAP * (len(sizes) - 1), max(heights)
    return max(widths) + 2 * _GAP, sum(heights) + _BETWEEN * (len(sizes) - 1)


def _drawn(shape: Shape, x: float, y: float, height: float) -> list[str]:
    """A shape with its left edge at ``x``, centered between ``y`` and ``y + height``."""
    width, own = _size(shape)
    y += (height - own) / 2
    if isinstance(shape, Step):
        return _box(shape, x, y, width)
    if isinstance(shape, InTurn):
        return _in_turn(shape, x, y, own)
    return _side_by_side(shape, x, y, width, own)


def _in_turn(shape: InTurn, x: float, y: float, height: float) -> list[str]:
    lines: list[str] = []
    for index, part in enumerate(shape.parts):
        if index:
            lines += _arrow(x, y + height / 2, x + _GAP, y + height / 2)
            x += _GAP
        lines += _drawn(part, x, y, height)
        x += _size(part)[0]
    return lines


def _side_by_side(shape: SideBySide, x: float, y: float, width: float, height: float) -> list[str]:
    lines: list[str] = []
    middle, right = y + height / 2, x + width
    left = x + _GAP
    for part in shape.parts:
        part_width, part_height = _size(part)
        centre = y + part_height / 2
        lines += _curve(x, middle, left, centre)
        if isinstance(part, Step):
            part_width = width - 2 * _GAP
            lines += _box(part, left, y, part_width)
        else:
            lines += _drawn(part, left, y, part_height)
        lines += _curve(left + part_width, centre, right, middle, head=False)
        y += part_height + _BETWEEN
    return lines


def _box(step: Step, x: float, y: float, width: float) -> list[str]:
    fill, line = _COLOURS[step.kind]
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{_HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="{line}"/>',
        f'<text x="{x + width / 2:g}" y="{y + _HEIGHT / 2:g}" text-anchor="middle" '
        f'dominant-baseline="central" fill="#202124">{escape(step.name)}</text>',
    ]


def _arrow(x: float, y: float, to_x: float, to_y: float) -> list[str]:
    return [
        f'<path d="M{x:g},{y:g} L{to_x - 6:g},{to_y:g}" stroke="{_LINE}" fill="none" '
        'stroke-width="1.5"/>',
        _head(to_x, to_y),
    ]


def _curve(x: float, y: float, to_x: float, to_y: float, head: bool = True) -> list[str]:
    end = to_x - 6 if head else to_x
    bend = (x + end) / 2
    path = (
        f'<path d="M{x:g},{y:g} C{bend:g},{y:g} {bend:g},{to_y:g} {end:g},{to_y:g}" '
        f'stroke="{_LINE}" fill="none" stroke-width="1.5"/>'
    )
    return [path, _head(to_x, to_y)] if head else [path]


def _head(x: float, y: float) -> str:
    points = f"{x:g},{y:g} {x - 7:g},{y - 4:g} {x - 7:g},{y + 4:g}"
    return f'<polygon points="{points}" fill="{_LINE}"/>'
