# SPDX-License-Identifier: Apache-2.0
"""``poppy --help``."""

import importlib.metadata

import pytest

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")
pytest.importorskip("osc_lib")

from tests.real.client import run  # noqa: E402


def test_help_fits_on_a_screen_and_names_every_command():
    shown = run("--help")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) < 80
    words = " ".join(lines).replace(",", "").split()
    commands = importlib.metadata.entry_points(group="openstack.cdn.v1")
    assert len(commands) > 20
    for command in commands:
        assert set(command.name.removeprefix("cdn_").split("_")) <= set(words)
    tenants, operators = " ".join(lines).split("Commands for operators:")
    assert "limit" in operators
    assert "limit" not in tenants


def test_help_of_a_command_has_its_options():
    assert "--idempotency-key" in run("service", "create", "--help").out
