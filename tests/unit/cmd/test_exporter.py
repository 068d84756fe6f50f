# SPDX-License-Identifier: Apache-2.0
"""Scrapes while processes start and end."""

import pytest

pytest.importorskip("prometheus_client")

import prometheus_client

from poppy.cmd import exporter


def test_file_of_a_process_that_starts_does_not_break_a_scrape(tmp_path):
    (tmp_path / "counter_17.db").touch()
    (tmp_path / "histogram_18.db").symlink_to(tmp_path / "gone")
    registry = exporter._handler(tmp_path).registry
    assert prometheus_client.generate_latest(registry) == b""
