# SPDX-License-Identifier: Apache-2.0
"""The table and charts of the documentation page on performance, from a run's JSON.

``python -m tests.perf.plots results.json doc/source/performance`` draws an earlier run again.
"""

import json
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from tests.perf import svg
from tests.perf.results import Curve

_COLUMNS = ("benchmark", "A", "B", "A : B, median", "least to most", "goal", "met")


def write(document: Mapping[str, Any], directory: pathlib.Path) -> None:
    """Write ``results.json``, ``results.inc``, and an SVG for each curve.

    This replaces all files of an earlier run, so that figures of two runs are not mixed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.svg"):
        old.unlink()
    (directory / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    page = [*_table(document), ""]
    for curve in map(Curve.from_dict, document["curves"]):
        name = re.sub(r"[^a-z0-9]+", "-", curve.what.lower()).strip("-") + ".svg"
        (directory / name).write_text(svg.chart(curve))
        page += [f".. image:: performance/{name}", f"   :alt: {curve.what}", ""]
    (directory / "results.inc").write_text("\n".join(page))


def _table(document: Mapping[str, Any]) -> list[str]:
    lines = [f"Measured on {document['date']}. {document['machine']}", ""]
    lines += [".. list-table::", "   :header-rows: 1", ""]
    for cells in (_COLUMNS, *(_cells(result) for result in document["results"])):
        lines += [f"   {'*' if n == 0 else ' '} - {cell}" for n, cell in enumerate(cells)]
    return lines


def _cells(result: Mapping[str, Any]) -> list[str]:
    told = result.get("ratio") or result["value"]
    unit = "" if "ratio" in result else f" {result['unit']}"
    return [
        result["what"],
        _side(result, "a"),
        _side(result, "b"),
        f"{told['median']:.2f}{unit}",
        f"{told['least']:.2f} to {told['most']:.2f}",
        result["goal"] or "none",
        {True: "yes", False: "**no**", None: "-"}[result["met"]],
    ]


def _side(result: Mapping[str, Any], letter: str) -> str:
    if letter not in result:
        return "-"
    value = result[letter]["median"]
    return f"{result[letter]['name']}: {value:,.{0 if value >= 100 else 2}f} {result['unit']}"


if __name__ == "__main__":
    write(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]))
