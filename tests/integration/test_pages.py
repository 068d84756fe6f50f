# SPDX-License-Identifier: Apache-2.0
"""Run each command of some documentation pages, and compare its output with the page."""

import re
import textwrap
import uuid

import pytest

from tests.real.pages import ROOT, SOURCE, Shell, play
from tests.real.poppy import Installation, free_port, wait


@pytest.fixture
def site(tmp_path):
    """A Poppy with its configuration in the home directory."""
    (tmp_path / ".poppy").mkdir()
    (tmp_path / "state").mkdir()
    # Retryable failures must not be retried during the test.
    patient = {"retry_base": 3000, "retry_ceiling": 3000}
    made = Installation(tmp_path / "state", {"drivers:distributed_task:taskflow": patient})
    (tmp_path / ".poppy" / "poppy.conf").write_text(made.config.read_text())
    made.session.headers["X-Project-ID"] = "42"
    with made.daemon("poppy-standalone"):
        made.wait_until_up()
        yield made
    made.session.close()


@pytest.fixture
def shell(tmp_path, site):
    made = Shell(tmp_path, {"POPPY_ENDPOINT": site.base, "POPPY_PROJECT_ID": "42"})
    yield made
    made.close()


#: Third-party programs that the runbook uses.
FOREIGN = ("dig", "dmesg", "journalctl", "nodetool", "systemctl")


def test_poppy_manage(site, shell, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new.conf").write_text(
        site.config.read_text().replace(str(tmp_path / "state"), str(tmp_path / "new"))
    )

    made = []

    def note(name, value):
        assert name == "service"
        if value == "create":
            origins = [{"origin": "origin.example.com"}]
            made.append(site.create_service(name="my web site", origins=origins))
            site.wait_for(made[0], "deployed")
        else:
            site.session.delete(made[0], timeout=10)
            wait(lambda: site.session.get(made[0], timeout=10).status_code == 404, 60)

    ran = play(SOURCE / "manage.rst", shell, tmp_path, note)
    assert len(ran) > 15


def test_readme(tmp_path):
    """Its commands are accepted, but its edge does not exist, so nothing is deployed."""
    text, port = (ROOT / "README.rst").read_text(), free_port()
    found = re.findall(r"::\n\n((?:    .*\n|\n)+)", text)
    parts = {part.split()[0]: part for part in map(textwrap.dedent, found)}
    flavor, service = [textwrap.dedent(part) for part in found if part.startswith("    curl")]
    (tmp_path / "poppy.conf").write_text(
        parts["[DEFAULT]"].replace("/var/lib/poppy", str(tmp_path / "state"))
        + f"\n[drivers:transport:pecan]\nport = {port}\n"
    )
    (tmp_path / "service.yaml").write_text(
        service.split("'")[-2].replace("www.example.com", "img.example.com")
    )
    shell = Shell(tmp_path)
    try:
        shell.do(f"{parts['poppy-standalone'].strip()} > log 2>&1 &", 0)
        base = f"http://127.0.0.1:{port}"
        shell.do(f"curl -s --retry 30 --retry-connrefused --retry-delay 1 {base}/v1.0/ping", 0)
        for command, status in ((flavor, "201 Created"), (service, "202 Accepted")):
            assert status in shell.do(command.replace("http://127.0.0.1:8888", base), 0)
        (added,) = (it for it in found if "edge nodes add" in it)
        assert len(shell.do(added.strip(), 0).splitlines()[-1]) > 20
        export, plan, create = parts["export"].strip().splitlines()
        shell.do(export.replace("http://127.0.0.1:8888", base), 0)
        assert "A service would be created: 'my web site'" in shell.do(plan, 0)
        assert create == "poppy service create -f service.yaml --wait"
    finally:
        shell.close()


def test_quickstart_from_an_empty_home(tmp_path):
    """Skip the installation, which would replace this environment."""
    port = free_port()
    (tmp_path / "poppy-quickstart").mkdir()
    shell = Shell(tmp_path)

    def change(text):
        if text.startswith(("python3 -m venv ", ". ~/poppy-quickstart/bin/activate")):
            return "true"
        if text.startswith("pip install "):
            assert all((ROOT / path / "setup.cfg").exists() for path in text.split()[2:])
            return "true"
        if text.startswith("[DEFAULT]"):
            text += f"\n[drivers:transport:pecan]\nport = {port}\n"
        return text.replace(":8888", f":{port}")

    try:
        ran = play(SOURCE / "quickstart.rst", shell, tmp_path / "poppy-quickstart", None, change)
    finally:
        shell.close()
    assert ran[:4] == [
        "python3 -m venv ~/poppy-quickstart",
        ". ~/poppy-quickstart/bin/activate",
        "pip install . ./client",
        "cd ~/poppy-quickstart",
    ]


class Once:
    """A session that runs each command only once, since starting a program takes a second."""

    def __init__(self, shell):
        self._shell = shell
        self._done = set()

    def do(self, line, exit_code):
        if line in self._done:
            return ""
        if "$" not in line:  # a variable may have another value by now
            self._done.add(line)
        return self._shell.do(line, exit_code)


def test_runbook(site, shell, tmp_path):
    """Its commands work with an operation in the state that they are for."""

    def note(name, state):
        assert name == "operation"
        url = site.create_service(f"{uuid.uuid4().hex}.example.com")
        service = url.rpartition("/")[2]
        wait(lambda: listed(service)[0]["state"] == "waiting", 30)
        operation = listed(service)[0]["id"]
        if state == "failed":
            shell.do(f"poppy-manage operations cancel 42 {service} {operation}", 0)
        shell.do(f"PROJECT=42 SERVICE={service} OPERATION={operation}", 0)

    def listed(service):
        answer = site.session.get(f"{site.base}/v1.0/services/{service}/operations", timeout=10)
        return answer.json()["operations"] or [{"state": None}]

    site.create_flavor()
    shown = site.create_service("www.example.com")
    site.wait_for(shown, "deployed")
    # From here on, the provider can't work.
    site.objects.rename(site.objects.with_name("aside"))
    site.objects.write_text("no directory")
    ran = play(
        SOURCE / "runbook.rst",
        Once(shell),
        tmp_path,
        note,
        lambda text: text.replace("http://127.0.0.1:8888", site.base),
        FOREIGN,
    )
    assert {line.split()[0] for line in ran} == {"curl", "df", "poppy-manage", "poppy-status"}
