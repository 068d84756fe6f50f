# SPDX-License-Identifier: Apache-2.0
"""Each driver and program imports only what its own extra installs."""

import ast
import configparser
import functools
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = configparser.ConfigParser(interpolation=None)
CONFIG.read(ROOT / "setup.cfg")
EXTRAS = CONFIG["options.extras_require"]
#: The extra of an entry point with another name.
EXTRA_OF = {"poppy-edge": "edge"}
GROUPS = ("console_scripts", "poppy.provider", "poppy.dns", "poppy.storage", "poppy.extension")
ENTRIES = [
    tuple(part.strip() for part in line.split("="))
    for group in GROUPS
    for line in CONFIG["entry_points"][group].strip().splitlines()
]


def distributions(text):
    """Return the names of the required distributions, normalized as in PEP 503."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("#")]
    return {normalized(re.split(r"[<>=~!\[; (]", line.strip())[0]) for line in lines}


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_with(names):
    """Return the distributions that pip installs with others, which include themselves."""
    found, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting |= distributions("\n".join(it for it in required if "extra ==" not in it)) - found
    return found


def module_file(name):
    path = ROOT.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.exists()), None)


@functools.cache
def imports(name):
    """Return the modules that a module of Poppy imports when it is loaded."""
    found = set()
    waiting = list(ast.parse(module_file(name).read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {it.name for it in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{it.name}" for it in node.names)}
        elif isinstance(node, ast.Try | ast.With):
            waiting += node.body
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            waiting += node.body + node.orelse
    return found


def third_party(module):
    """Return the top-level modules of others that a module imports, each with who imports it."""
    found, seen, waiting = {}, set(), [module]
    while waiting:
        name = waiting.pop()
        if name in seen or module_file(name) is None:
            continue
        seen.add(name)
        for each in imports(name):
            top = each.split(".")[0]
            if top == "poppy":
                parts = each.split(".")
                waiting += [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
            elif top not in sys.stdlib_module_names:
                found.setdefault(top, name)
    return found


@pytest.mark.parametrize(("name", "target"), ENTRIES, ids=[name for name, _ in ENTRIES])
def test_imports_are_installed(name, target):
    extra = EXTRAS.get(EXTRA_OF.get(name, name), "")
    installed = installed_with(
        distributions(CONFIG["options"]["install_requires"]) | distributions(extra)
    )
    of_module = importlib.metadata.packages_distributions()
    missing = {
        f"{module} (imported by {importer})"
        for module, importer in third_party(target.split(":")[0]).items()
        if not {normalized(it) for it in of_module.get(module, ())} & installed
    }
    assert not missing
