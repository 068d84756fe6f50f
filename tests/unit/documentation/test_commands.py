# SPDX-License-Identifier: Apache-2.0
"""Commands, options, settings and files in the documentation exist."""

import pytest

from tests.unit.documentation import programs, written
from tests.unit.documentation.written import PAGES, ROOT

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip(
    "openstackclient", reason="not installed: pip install -e './client[openstack]'"
)

#: Options of other software that pages mention without a command.
FOREIGN = {"--namespace"}  # oslopolicy-checker

each_page = pytest.mark.parametrize("page", PAGES, ids=written.name_of)


@each_page
def test_programs_accept_every_command_line(page):
    problems = []
    for command in written.commands(page):
        try:
            programs.check(command.words, command.whole)
        except programs.Refused as exc:
            problems.append(f"{' '.join(command.words)}: {exc}")
    assert problems == []


@each_page
def test_options_without_a_command_exist(page):
    known = programs.options() | FOREIGN
    unknown = {
        it for it in written.options(page) - known if f'"{it}"' not in programs.tool_texts()
    }
    assert unknown == set()


@each_page
def test_settings_exist(page, known_settings):
    unknown = [
        f"[{it.group}] {it.name}"
        for it in written.settings(page)
        if it.group in known_settings or it.group.startswith(("drivers", "DEFAULT"))
        if it.name not in known_settings.get(it.group, ())
    ]
    assert unknown == []


@each_page
def test_files_of_the_repository_exist(page):
    # Driver authors start from a copy of the example.
    places = (ROOT, ROOT / "doc" / "example-driver")
    missing = [
        path
        for path in written.paths(page)
        if not any(any(place.glob(path.rstrip("/"))) for place in places)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("poppy-manage services destroy", False),
        ("poppy-manage services list --colour", False),
        ("poppy-manage operations show --colour", False),
        ("poppy-manage operations show 42", True),
        ("poppy-manage flavors load", True),
        ("poppy-status upgrade chek", True),
        ("poppy-server --configfile poppy.conf", True),
        ("poppy service explode", False),
        ("poppy service set", True),
        ("poppy service create --colour", False),
        ("openstack cdn service list --colour", True),
        ("openstack --os-cdn-colour red cdn service list", True),
        ("tools/demo --colour", True),
        ("tools/lab up colour", True),
        ("tools/colour", True),
    ],
)
def test_invalid_command_lines_are_refused(line, whole):
    with pytest.raises(programs.Refused):
        programs.check(line.split(), whole)


def test_commands_are_found_anywhere_on_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(written, "ROOT", tmp_path)
    page = tmp_path / "page.rst"
    page.write_text(
        "Run ``poppy-manage db\nsync``, or ``--dry-run``::\n\n"
        "    poppy-manage flavors load \\\n        flavors.yaml > out\n"
        "    # runuser -u poppy -- /opt/bin/poppy-status upgrade check | less\n\n"
        "   $ id=$(poppy service list -f value -c ID)\n"
        "   [drivers]\n   dns = mock\n\n"
        "Set ``[DEFAULT] state_path`` (``etc/poppy.conf.sample``).\n"
    )
    assert [(" ".join(it.words), it.whole) for it in written.commands(page)] == [
        ("poppy-manage flavors load flavors.yaml", True),
        ("poppy-status upgrade check", True),
        ("poppy service list -f value -c ID", True),
        ("poppy-manage db sync", False),
    ]
    assert written.options(page) == {"--dry-run"}
    assert [it[1:] for it in written.settings(page)] == [
        ("DEFAULT", "state_path"),
        ("drivers", "dns"),
    ]
    assert written.paths(page) == {"etc/poppy.conf.sample"}


def test_the_pages_have_commands():
    found = [command for page in PAGES for command in written.commands(page)]
    assert len(found) > 150
    assert {it.words[0] for it in found if it.whole} >= {
        *("poppy", "openstack", "poppy-manage", "poppy-status", "poppy-standalone"),
        *("tools/demo", "tools/test"),
    }
