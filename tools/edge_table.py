# SPDX-License-Identifier: Apache-2.0
"""Compare providers by results of the edge contract; see ``tools/edge-table``."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from poppy.testing.edge import GROUPS, PROMISES, DataPlane, Promise
from poppy.testing.edge.contract import KEPT, NOT_KEPT
from tests.real.akamai_plane import AkamaiPlane
from tests.real.cloudfront_plane import CloudFrontPlane
from tests.real.edge_plane import EdgePlane
from tests.real.fastly_plane import FastlyPlane

PLANES: tuple[type[DataPlane], ...] = (
    AkamaiPlane,
    CloudFrontPlane,
    EdgePlane,
    FastlyPlane,
)
PAGE = Path(__file__).parent.parent / "doc/source/drivers/promises.inc"
TESTS = "tests/integration/test_edge_contract.py"

#: The state of each promise (by id) at each provider.
States = Mapping[tuple[str, str], str]


class Recorder:
    """A plugin of pytest that collects results.

    Attributes:
        states: with several data planes of a provider, a promise is kept if all of them keep it.
    """

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for provider, promise, state in (it for _, it in report.user_properties):
                known = self.states.get((provider, promise), KEPT)
                self.states[provider, promise] = state if known == KEPT else known


def declared() -> States:
    """Return what the data planes declare."""
    return {
        (plane.provider, promise.id): plane.declared(promise)[0]
        for plane in PLANES
        for promise in PROMISES
    }


def render(states: States) -> str:
    """Return the page's tables, one for each group, in reStructuredText."""
    lines = []
    for group, promises in GROUPS.items():
        notes: list[str] = []
        lines += [group, "-" * len(group), ""]
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 40 15 15 15 15", ""]
        lines += _row(["promise", *(plane.provider for plane in PLANES)])
        for promise in promises:
            cells = [_cell(plane, promise, states, notes) for plane in PLANES]
            lines += _row([promise.text.replace("*", "\\*"), *cells])
        lines.append("")
        lines += [f"{number}. {note}".replace("*", "\\*") for number, note in enumerate(notes, 1)]
        lines += [""] if notes else []
    return "\n".join(lines)


def _row(cells: list[str]) -> list[str]:
    return [f"   {'  ' if number else '* '}- {cell}" for number, cell in enumerate(cells)]


def _cell(plane: type[DataPlane], promise: Promise, states: States, notes: list[str]) -> str:
    state = states[plane.provider, promise.id]
    if state == KEPT:
        return state
    reason = plane.declared(promise)[1]
    if reason not in notes:
        notes.append(reason)
    shown = f"**{state}**" if state == NOT_KEPT else state
    return f"{shown} ({notes.index(reason) + 1})"


def main() -> int:
    """Run the contract and write the page; return 1 if a promise has no result."""
    recorder = Recorder()
    failed = pytest.main(["-q", TESTS], plugins=[recorder])
    missing = declared().keys() - recorder.states.keys()
    if failed or missing:
        print(f"Nothing is written: {len(missing)} promises have no result", file=sys.stderr)
        return 1
    PAGE.write_text(render(recorder.states), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
