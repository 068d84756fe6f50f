# SPDX-License-Identifier: Apache-2.0
"""The session of the client's page: each command is run, and shows what the page says."""

import doctest
import importlib.metadata
import pathlib
import re
import shlex
import string
import textwrap

import pytest

from tests.real.client import run
from tests.real.poppy import Installation

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip(
    "openstackclient", reason="not installed: pip install -e './client[openstack]'"
)

PAGE = pathlib.Path(__file__).parents[2] / "doc" / "source" / "client.rst"
_BLOCK = re.compile(
    r"^\.\. (?:provider: (?P<provider>up|down)"
    r"|code-block:: (?P<kind>console|yaml)\n(?P<options>(?:   :.*\n)*)\n"
    r"(?P<text>(?:   .*\n|\n)+))",
    re.MULTILINE,
)
_ASSIGNMENT = re.compile(r"(?P<name>\w+)=\$\((?P<command>.*)\)")


class Session:
    """A shell that knows what the page needs: variables, and our commands."""

    def __init__(self, installation, monkeypatch):
        self._endpoint = installation.base
        self._monkeypatch = monkeypatch
        self._variables = {}
        self.ran = []

    def do(self, line, exit_code):
        """What the line shows."""
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            value = value.replace("http://127.0.0.1:8888", self._endpoint)
            self._monkeypatch.setenv(name, value)
            return ""
        assignment = _ASSIGNMENT.fullmatch(line)
        if assignment:
            self._variables[assignment["name"]] = self.do(assignment["command"], exit_code).strip()
            return ""
        words = shlex.split(string.Template(line).substitute(self._variables))
        self.ran.append(" ".join(words))
        assert words[0] in ("poppy", "openstack")
        result = run(*(words[1:] if words[0] == "poppy" else words))
        assert result.code == exit_code, f"{line}\n{result.shown}"
        return result.shown


def commands(block):
    """The command lines of a block, each with what is shown after it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield line, shown


@pytest.fixture
def installation(tmp_path, monkeypatch):
    made = Installation(
        tmp_path,
        {"drivers:distributed_task:taskflow": {"retry_base": 3000, "retry_ceiling": 3000}},
    )
    monkeypatch.chdir(tmp_path)
    with made.daemon("poppy-standalone"):
        made.wait_until_up()
        yield made
    made.session.close()


def set_provider(installation, state):
    """The mock provider can't work without its directory."""
    aside = installation.objects.with_name("aside")
    if state == "down":
        installation.objects.rename(aside)
        installation.objects.write_text("no directory")
    else:
        installation.objects.unlink()
        aside.rename(installation.objects)


def test_every_command_of_the_page_does_what_it_says(installation, monkeypatch):
    session = Session(installation, monkeypatch)
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for block in _BLOCK.finditer(PAGE.read_text()):
        if block["provider"]:
            set_provider(installation, block["provider"])
            continue
        text = textwrap.dedent(block["text"]).strip("\n") + "\n"
        if block["kind"] == "yaml":
            name = re.search(r":caption: (\S+)", block["options"])[1]
            pathlib.Path(name).write_text(text)
            continue
        exit_code = 1 if "exit-1" in block["options"] else 0
        for line, expected in commands(text):
            shown = session.do(line, exit_code)
            assert checker.check_output(expected, shown, flags), (
                f"$ {line}\n{shown}\ninstead of\n{expected}"
            )
    ours = [
        entry.name.removeprefix("cdn_").replace("_", " ")
        for entry in importlib.metadata.entry_points(group="openstack.cdn.v1")
    ]
    ran = f" {' '.join(session.ran)} "
    assert [name for name in ours if f" {name} " not in ran] == []
    assert list(installation.objects.glob("*.json")) == []
