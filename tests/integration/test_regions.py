# SPDX-License-Identifier: Apache-2.0
"""The demo of two regions, which checks each of its own steps and fails at the first error."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("cassandra")

from tests.real import demo, unavailable
from tests.real.jars import jars, java

pytestmark = pytest.mark.real


def test_other_region_takes_over_when_one_is_lost():
    java()
    jars()
    if shutil.which("pdns_server", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        unavailable("there is no pdns_server", "apt-get install pdns-server pdns-backend-sqlite3")
    # Not in pytest's own directory: its name is too long for the servers' sockets.
    with tempfile.TemporaryDirectory(prefix="poppy-regions-") as scratch:
        told = demo.output("tools.demo_regions", scratch)
        assert _processes_of(scratch) == []
    addresses = dict(re.findall(r"(dc\d): Cassandra at \S+, the API will be at ([\d.]+):", told))
    for subnet, address, region in re.findall(r"subnet (\S+)/24: A (\S+) \((dc\d)\)", told):
        assert addresses[region] == address, subnet
    assert re.findall(r"subnet 198.51.100.7/24: A \S+ \((dc\d)\)", told) == ["dc1", "dc2"]
    assert told.index("dc2: 503") < told.index("Region dc1 no longer keeps data")


def _processes_of(scratch: str) -> list[bytes]:
    """Return the command lines of live processes with this directory for temporary files."""
    mark = f"TMPDIR={scratch}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    return found
