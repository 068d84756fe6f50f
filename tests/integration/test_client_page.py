# SPDX-License-Identifier: Apache-2.0
"""Run each command of the client's page and the tenants' guide, and compare their outputs."""

import importlib.metadata
import re
import shlex
import string

import pytest

from tests.real.client import run
from tests.real.pages import SOURCE, play
from tests.real.poppy import PROJECT, Installation

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip(
    "openstackclient", reason="not installed: pip install -e './client[openstack]'"
)

_ASSIGNMENT = re.compile(r"(?P<name>\w+)=\$\((?P<command>.*)\)")


class Session:
    """A shell with what the page needs: variables and our commands."""

    def __init__(self, installation, monkeypatch):
        self._endpoint = installation.base
        self._monkeypatch = monkeypatch
        self._variables = {}
        self.ran = []

    def do(self, line, exit_code):
        """Run a line and return its output."""
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
    """Break or repair the mock provider, which can't work without its directory."""
    aside = installation.objects.with_name("aside")
    if state == "down":
        installation.objects.rename(aside)
        installation.objects.write_text("no directory")
    else:
        installation.objects.unlink()
        aside.rename(installation.objects)


def test_commands_of_the_client_page(installation, monkeypatch):
    session = Session(installation, monkeypatch)

    def note(name, state):
        assert name == "provider"
        set_provider(installation, state)

    play(SOURCE / "client.rst", session, installation.directory, note)
    ours = [
        entry.name.removeprefix("cdn_").replace("_", " ")
        for entry in importlib.metadata.entry_points(group="openstack.cdn.v1")
    ]
    ran = f" {' '.join(session.ran)} "
    assert [name for name in ours if f" {name} " not in ran] == []
    assert list(installation.objects.glob("*.json")) == []


def test_commands_of_the_tenants_guide(installation, monkeypatch):
    installation.create_flavor()
    monkeypatch.setenv("POPPY_ENDPOINT", installation.base)
    monkeypatch.setenv("POPPY_PROJECT_ID", PROJECT)
    session = Session(installation, monkeypatch)
    play(SOURCE / "tenant-guide.rst", session, installation.directory, None)
    assert len(session.ran) == 8
    assert list(installation.objects.glob("*.json")) == []
