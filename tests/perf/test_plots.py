# SPDX-License-Identifier: Apache-2.0
"""The table and charts of the documentation page on performance."""

import json
import xml.etree.ElementTree as ET

import pytest

from tests.perf import plots, svg
from tests.perf.results import Curve, Goal, Result

SVG = "{http://www.w3.org/2000/svg}"
SIZES = Curve("SQLite & more", "services", "ms", {"get": [(100, 1.0), (10_000, 3.0)]})
TIME = Curve("memory", "requests", "MB", {"server": [(50, 90.0), (100, 90.0)]}, from_zero=True)


def circles(curve):
    found = ET.fromstring(svg.chart(curve)).iter(f"{SVG}circle")
    return [(float(it.get("cx")), float(it.get("cy"))) for it in found]


def test_larger_values_are_drawn_higher_and_further_right():
    (x, y), (other_x, other_y) = circles(SIZES)
    assert x < other_x < svg.WIDTH
    assert svg.HEIGHT > y > other_y > 0


def test_constant_values_are_drawn_as_a_level_line():
    (x, y), (other_x, other_y) = circles(TIME)
    assert x < other_x
    assert y == other_y


@pytest.mark.parametrize("curve", [SIZES, TIME], ids=lambda it: it.what)
def test_chart_has_a_title_and_labels(curve):
    texts = [it.text for it in ET.fromstring(svg.chart(curve)).iter(f"{SVG}text")]
    assert f"{curve.what} ({curve.y})" in texts
    assert {curve.x, *curve.series} <= set(texts)


def test_page_has_all_figures_and_old_charts_are_removed(tmp_path):
    results = [
        Result("get", "ms", ("many", [3.0, 2.0]), ("few", [2.0, 2.0]), Goal("<=", 1.2)),
        Result("start", "s", ("standalone", [1.5])),
    ]
    (tmp_path / "old.svg").write_text("")
    document = {
        "date": "2026-01-31",
        "machine": "Cores: 2.",
        "results": [it.to_dict() for it in results],
        "curves": [SIZES.to_dict(), TIME.to_dict()],
    }
    # Pass the document through JSON, as if read from a file.
    plots.write(json.loads(json.dumps(document)), tmp_path)
    page = (tmp_path / "results.inc").read_text()
    assert "Measured on 2026-01-31. Cores: 2." in page
    for cell in ("get", "many: 2.50 ms", "1.25", "1.00 to 1.50", "<= 1.2", "**no**", "1.50 s"):
        assert f"- {cell}\n" in page
    assert sorted(it.name for it in tmp_path.iterdir()) == [
        "memory.svg",
        "results.inc",
        "results.json",
        "sqlite-more.svg",
    ]
    assert (tmp_path / "memory.svg").read_text() == svg.chart(TIME)
