# SPDX-License-Identifier: Apache-2.0
"""The page about documents lists all capabilities."""

import re

from poppy.model.capabilities import Capability
from tests.unit.documentation.written import ROOT


def test_every_capability_is_documented():
    page = (ROOT / "doc/source/document.rst").read_text("utf-8")
    table = page.partition("\nCapabilities\n")[2].partition("\nLimits\n")[0]
    found = re.findall(r"^``(\w+)``", table, re.MULTILINE)
    assert found == sorted(it.key for it in Capability)
