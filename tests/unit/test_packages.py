# SPDX-License-Identifier: Apache-2.0
"""``tools/test PATH`` installs what the selected tests need."""

import re

import pytest

from tools.packages import PACKAGES, ROOT, packages

JAVA = ["maven", "openjdk-17-jre-headless", "openssl"]


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["tests/unit", "-k", "varnish"], []),
        (["tests/functional", "tests/api"], []),
        (["tests/integration/test_fastly_vcl.py::test_x"], ["gcc", "varnish"]),
        (["tests/integration/test_zookeeper_board.py"], JAVA),
        (["tests/chaos/test_kills.py"], JAVA),
    ],
)
def test_selected_tests_need_the_packages_of_their_servers(arguments, needed):
    assert packages(arguments) == needed


@pytest.mark.parametrize("arguments", [[], ["-k", "board"]])
def test_all_tests_need_all_packages(arguments):
    assert packages(arguments) == sorted({name for names in PACKAGES.values() for name in names})


def test_servers_started_by_a_command_count():
    assert {"pdns-server", "maven"} <= set(packages(["tests/integration/test_regions.py"]))
    assert {"varnish", "haproxy"} <= set(packages(["tests/integration/test_demo.py"]))


def test_each_package_that_a_skipped_test_names_is_listed():
    found = {}
    for file in (ROOT / "tests" / "real").glob("*.py"):
        for names in re.findall(
            r'(?:apt-get install|PACKAGE =) "?([a-z0-9 -]+)"', file.read_text()
        ):
            found.setdefault(f"tests.real.{file.stem}", set()).update(names.split())
    assert len(found) > 8
    for module, names in found.items():
        assert names <= set(PACKAGES.get(module, ())), module
