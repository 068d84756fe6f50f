# SPDX-License-Identifier: Apache-2.0
"""Print the Debian packages that tests need: ``python3 tools/packages.py ARGUMENT ...``.

Arguments are those of pytest; without a path, all tests are meant. A test needs what the modules
of ``tests.real`` need that it imports or names in a string, directly or through other modules.
This runs before the virtual environment exists, so it uses only the standard library.
"""

import ast
import functools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

PACKAGES = {
    "tests.integration.test_alerts": ("prometheus",),
    "tests.integration.test_dns_tools": ("bind9-dnsutils",),
    "tests.real.bind": ("bind9",),
    "tests.real.browser": ("chromium", "chromium-driver"),
    "tests.real.edge_node": ("haproxy", "varnish", "varnish-modules", "gcc"),
    "tests.real.edge_origins": ("haproxy",),
    "tests.real.jars": ("openjdk-17-jre-headless", "maven"),
    "tests.real.jvm": ("openssl",),
    "tests.real.knot": ("knot",),
    "tests.real.mariadb": ("mariadb-server",),
    "tests.real.nginx": ("nginx-light",),
    "tests.real.node": ("nodejs",),
    "tests.real.npm": ("nodejs", "npm"),
    "tests.real.postgresql": ("postgresql",),
    "tests.real.powerdns": ("pdns-server", "pdns-backend-sqlite3", "pdns-backend-geoip"),
    "tests.real.varnish": ("varnish", "gcc"),
    "tools.demo_edge": ("haproxy", "varnish", "varnish-modules", "gcc"),
}
"""The packages of servers and tools by the module that starts them."""

#: The fixtures start three servers of the lab, which they name themselves.
_NOT_FOLLOWED = {("tests.real.fixtures", "tests.real.lab")}


def packages(arguments: Sequence[str]) -> list[str]:
    """Return the packages that the tests selected by pytest's arguments need, sorted."""
    paths = [ROOT / argument.partition("::")[0] for argument in arguments if argument[0] != "-"]
    paths = [path for path in paths if path.exists() and path.is_relative_to(ROOT / "tests")]
    todo = {_module(file) for path in paths or [ROOT / "tests"] for file in _files(path)}
    # These modules name servers without starting them.
    seen = {"tools.edge_table", "tools.packages"}
    while todo:
        module = todo.pop()
        seen.add(module)
        todo |= {it for it in _used(module) if (module, it) not in _NOT_FOLLOWED} - seen
    return sorted({package for module in seen for package in PACKAGES.get(module, ())})


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of tests, and each conftest.py that pytest reads for them."""
    yield from path.rglob("*.py") if path.is_dir() else [path]
    yield from (it for parent in path.parents if (it := parent / "conftest.py").exists())


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


@functools.cache
def _used(module: str) -> set[str]:
    """Return the modules of tests and tools that a module imports, or names in a string."""
    names = set()
    for node in ast.walk(ast.parse(_path(module).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= {node.value, f"{node.value}.__main__"}
    ours = {name for name in names if re.fullmatch(r"(tests|tools)(\.\w+)+", name)}
    return {name for name in ours if _path(name).exists()}


def _path(module: str) -> Path:
    return (ROOT / module.replace(".", "/")).with_suffix(".py")


if __name__ == "__main__":
    print(*packages(sys.argv[1:]))
