# SPDX-License-Identifier: Apache-2.0
"""The alerts of nodes of the own edge, as Prometheus's promtool evaluates them."""

import json
import pathlib
import shutil
import subprocess

import pytest

from tests.real import unavailable

pytestmark = pytest.mark.real

RULES = pathlib.Path(__file__).parents[2] / "etc" / "monitoring" / "poppy-alerts.yaml"
#: A node that is well, as series of one value a minute.
WELL = {
    "poppy_edge_agent_timestamp_seconds": "0+60x30",
    "poppy_edge_api_timestamp_seconds": "0+60x30",
    "poppy_edge_ready": "1+0x30",
    "poppy_edge_drained": "0+0x30",
    "poppy_edge_failures": "0+0x30",
    'poppy_edge_process_up{process="haproxy"}': "1+0x30",
    "poppy_edge_disk_bytes": "100+0x30",
    "poppy_edge_disk_free_bytes": "50+0x30",
}
#: What differs, and the alerts after half an hour.
CASES = (
    ({}, []),
    ({"poppy_edge_ready": "0+0x30", "poppy_edge_drained": "1+0x30"}, []),
    ({"poppy_edge_ready": "0+0x30"}, ["PoppyEdgeNotReady"]),
    # The agent is down, so that nothing is known of the API.
    (
        {
            "poppy_edge_agent_timestamp_seconds": "0+60x15 900+0x15",
            "poppy_edge_api_timestamp_seconds": "0+60x15 900+0x15",
        },
        ["PoppyEdgeAgentDown"],
    ),
    ({"poppy_edge_api_timestamp_seconds": "0+60x15 900+0x15"}, ["PoppyEdgeCutOff"]),
    ({'poppy_edge_process_up{process="haproxy"}': "0+0x30"}, ["PoppyEdgeProcessDown"]),
    ({"poppy_edge_failures": "2+0x30"}, ["PoppyEdgeRefuses"]),
    ({"poppy_edge_disk_free_bytes": "4+0x30"}, ["PoppyEdgeDiskFull"]),
)
ALERTS = sorted({name for _, names in CASES for name in names})


def test_alerts_of_edge_nodes_fire_for_what_they_name_alone(tmp_path: pathlib.Path) -> None:
    if shutil.which("promtool") is None:
        unavailable("there is no promtool", "apt-get install prometheus")
    tests = []
    for changes, firing in CASES:
        series = [
            {"series": _at_node(name), "values": values}
            for name, values in {**WELL, **changes}.items()
        ]
        promql = [
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                "eval_time": "30m",
                "exp_samples": [{"labels": "{}", "value": int(name in firing)}],
            }
            for name in ALERTS
        ]
        tests.append({"interval": "1m", "input_series": series, "promql_expr_test": promql})
    file = tmp_path / "tests.yaml"
    # JSON is YAML.
    file.write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _at_node(series: str) -> str:
    name, _, labels = series.rstrip("}").partition("{")
    return f'{name}{{instance="n1"{", " if labels else ""}{labels}}}'
