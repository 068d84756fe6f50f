# SPDX-License-Identifier: Apache-2.0
"""The flow diagrams match the flows, and none is missing."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("sphinx", reason="not installed: pip install -e '.[docs]'")

from taskflow.patterns import unordered_flow

from poppy.model.operations import Kind
from tests.unit.documentation.written import ROOT

EXTENSIONS = ROOT / "doc" / "source" / "_extensions"
ARCHITECTURE = ROOT / "doc" / "source" / "architecture.rst"


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    import flow_diagrams

    return flow_diagrams


def columns(extension, subject):
    """Return the texts of a diagram's boxes, column by column from left to right."""
    flow = extension.example(subject)
    svg = extension.svg_boxes.draw(extension.shape_of(flow), "title")
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    found = {}
    for box, text in zip(root.iter(f"{space}rect"), root.iter(f"{space}text"), strict=True):
        found.setdefault(float(box.get("x")), []).append(text.text)
    drawn = {name for names in found.values() for name in names}
    parts = [part if isinstance(part, unordered_flow.Flow) else [part] for part in flow]
    assert drawn == {task.name for part in parts for task in part}
    return [sorted(found[x]) for x in sorted(found)]


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("create", [["ensure at edge", "ensure at fastly"], ["ensure names in DNS"]]),
        (
            "update",
            [
                ["ensure at edge", "ensure at fastly"],
                ["ensure names in DNS"],
                ["remove from cloudfront"],
            ],
        ),
        ("delete", [["remove names from DNS"], ["remove from edge", "remove from fastly"]]),
        ("disable", [["switch names off in DNS"]]),
    ],
)
def test_a_diagram_shows_the_steps_in_their_order(extension, subject, shown):
    assert columns(extension, subject) == shown


def test_every_kind_of_operation_can_be_drawn(extension):
    assert set(extension.SUBJECTS) >= set(map(str, Kind))
    for subject in extension.SUBJECTS:
        assert columns(extension, subject)


def test_boxes_do_not_overlap(extension):
    boxes = extension.svg_boxes
    nested = boxes.InTurn(
        [
            boxes.Step("a", "dns"),
            boxes.SideBySide(
                [
                    boxes.Step("longer than the others", "provider"),
                    boxes.InTurn([boxes.Step("b & c", "dns"), boxes.Step("d", "provider")]),
                ]
            ),
            boxes.Step("e", "dns"),
        ]
    )
    root = ElementTree.fromstring(boxes.draw(nested, "<title>"))
    rects = [
        tuple(float(rect.get(name)) for name in ("x", "y", "width", "height"))
        for rect in root.iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert len(rects) == 5
    for index, (x, y, width, height) in enumerate(rects):
        assert x >= 0 and x + width <= float(root.get("width"))
        for other_x, other_y, other_width, other_height in rects[:index]:
            apart = x >= other_x + other_width or other_x >= x + width
            assert apart or y >= other_y + other_height or other_y >= y + height


def test_the_table_of_operations_has_every_kind():
    table = ARCHITECTURE.read_text().split("operation       steps\n")[1].split("\n\n")[0]
    first = " ".join(line[:14] for line in table.splitlines())
    assert {kind for kind in Kind if not re.search(rf"\b{kind}\b", first)} == set()
