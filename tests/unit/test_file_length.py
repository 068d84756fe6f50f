# SPDX-License-Identifier: Apache-2.0
"""No file of the product is so long that a reader loses their way in it."""

from pathlib import Path

import poppy

MOST = 400
"""The maximum number of lines of a file."""


def test_no_file_is_too_long():
    root = Path(poppy.__file__).parent
    lengths = {
        path.relative_to(root).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in root.rglob("*.py")
    }
    assert len(lengths) > 100
    assert {name: length for name, length in lengths.items() if length > MOST} == {}
