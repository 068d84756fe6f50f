# SPDX-License-Identifier: Apache-2.0
"""The container files match the repository; ``tools/container-check`` builds and runs them."""

import re
import shlex
import textwrap

import pytest
import yaml

from tests.unit.documentation import programs, written
from tests.unit.documentation.written import ROOT

CONTAINER = ROOT / "etc" / "container"
FILE = (CONTAINER / "Containerfile").read_text()
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
OURS = {name: it for name, it in COMPOSE["services"].items() if "build" in it}


def test_the_image_has_the_extras_of_all_drivers():
    setup = (ROOT / "setup.cfg").read_text()
    extras = setup.split("[options.extras_require]")[1].split("\n[")[0]
    known = set(re.findall(r"^(\w+) =", extras, re.MULTILINE)) - {"docs", "test"}
    built = re.search(r"^ARG EXTRAS=(.*)$", FILE, re.MULTILINE)[1]
    assert set(built.split(",")) == known
    page = (ROOT / "doc" / "source" / "install.rst").read_text()
    assert [extra for extra in known if f"``{extra}``" not in page] == []


def test_the_last_stage_has_no_build_tools_and_no_root():
    last = FILE.split("\nFROM ")[-1]
    assert "COPY --from=build" in last
    assert not re.search(r"\b(pip|git|venv|gcc)\b", last)
    user = re.search(r"^USER (\w+)$", last, re.MULTILINE)[1]
    assert f"--create-home {user}" in last


@pytest.mark.parametrize("name", OURS)
def test_programs_accept_their_command_lines(name):
    programs.check(OURS[name]["command"], True)


def test_the_default_command_of_the_image_is_valid():
    command = re.search(r"^CMD (.*)$", FILE, re.MULTILINE)[1]
    programs.check(shlex.split(command.strip("[]").replace(",", " ")), True)


def test_mounted_files_and_build_contexts_exist():
    for service in OURS.values():
        build = service["build"]
        context = (CONTAINER / build["context"]).resolve()
        assert context == ROOT and (context / build["dockerfile"]).is_file()
        for mount in service["volumes"]:
            assert (CONTAINER / mount.split(":")[0]).is_file()


def test_dependencies_have_a_health_check_or_restart_on_failure():
    services = COMPOSE["services"]
    for service in services.values():
        for name, need in service.get("depends_on", {}).items():
            if need["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"][0] == "CMD"
            else:
                assert need["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "on-failure"
    for name in set(OURS) - {"sync"}:
        assert "healthcheck" in services[name]


def test_ports_and_hosts_match_the_configuration():
    text = (CONTAINER / "poppy.conf").read_text()
    values = dict(re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE))
    assert {values["cluster"], values["jobboard_backend_host"]} <= set(COMPOSE["services"])
    exposed = set(re.search(r"^EXPOSE (.*)$", FILE, re.MULTILINE)[1].split())
    assert {values["server_port"], values["worker_port"]} <= exposed
    checks = [str(OURS[name]["healthcheck"]["test"]) for name in ("server", "worker")]
    assert ":8888/v1.0/ping" in checks[0] and f":{values['worker_port']}/metrics" in checks[1]
    # Without authentication, only this machine may connect.
    assert OURS["server"]["ports"] == ["127.0.0.1:8888:8888"]


def test_options_of_the_configuration_exist(known_settings):
    text = textwrap.indent((CONTAINER / "poppy.conf").read_text(), "   ")
    found = written.settings_of("poppy.conf", text)
    assert len(found) > 8
    assert [it for it in found if it.name not in known_settings.get(it.group, ())] == []
