# SPDX-License-Identifier: Apache-2.0
"""The demo of the own edge, which checks each of its own steps and fails at the first error."""

import os
import re
import shutil
import tempfile

import pytest

from tests.real import demo, pebble, unavailable

pytestmark = pytest.mark.real


def test_a_service_lives_on_two_nodes_with_a_certificate() -> None:
    pebble.program("pebble")
    path = f"{os.environ['PATH']}:/usr/sbin"
    for program in ("haproxy", "varnishd", "nginx"):
        if shutil.which(program, path=path) is None:
            unavailable(f"there is no {program}", "apt-get install haproxy varnish nginx-light")
    with tempfile.TemporaryDirectory(prefix="poppy-demo-test-") as scratch:
        told = demo.output("tools.demo_service", scratch)
    served = re.findall(r"(\w+)-1: GET https://www.example.com/ → 200 .* (MISS|HIT)", told)
    assert {("north", "MISS"), ("south", "MISS"), ("south", "HIT")} <= set(served)
    # The last answers are those of a node that serves from its files while Poppy is away.
    away = told[told.index("stopped: Poppy") : told.index("Poppy is back")]
    assert "north-1: GET https://www.example.com/ → 200" in away
    assert "GET http://www.example.com/ → 301 https://www.example.com/" in told
    assert told.count("refused: no certificate") == 2
    assert "film.txt → 403" in told
    assert re.search(r"film.txt\?token=... → 200 'A film for members.' HIT", told)
    assert "/assets?tag=news → 202" in told
