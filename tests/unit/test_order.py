# SPDX-License-Identifier: Apache-2.0
"""The order of the tests, and their distribution to processes."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest

ROOT = Path(conftest.__file__).parent


def item(file, nightly=False):
    marker = object() if nightly else None
    return SimpleNamespace(path=ROOT / file, get_closest_marker=lambda _name: marker)


def test_the_longest_files_exist():
    assert [it for it in conftest.LONGEST if not (ROOT / it).is_file()] == []


def test_long_files_come_first():
    files = [
        item("unit/test_a.py"),
        item("api/test_b.py"),
        item("integration/test_c.py"),
        item("integration/test_d.py", nightly=True),
        item(conftest.LONGEST[1]),
        item(conftest.LONGEST[0]),
    ]
    wanted = files[::-1]
    conftest.pytest_collection_modifyitems(files)
    assert files == wanted


@pytest.mark.parametrize(
    ("file", "unit"),
    [
        ("tests/chaos/test_kills.py", "tests/chaos"),
        ("tests/chaos/test_outages.py", "tests/chaos"),
        ("tests/chaos/test_random.py", "tests/chaos/test_random.py"),
        ("tests/unit/test_order.py", "tests/unit/test_order.py"),
    ],
)
def test_chaos_tests_share_a_process(file, unit):
    assert conftest.unit_of(file) == unit
