# SPDX-License-Identifier: Apache-2.0
"""The alerts, as Prometheus's promtool evaluates them."""

import json
import pathlib
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence

import pytest
import yaml

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
    "poppy_edge_log_overdue_seconds": "3000+0x30",
    "poppy_edge_log_lost_lines_total": "5+0x30",
    "haproxy_process_dropped_logs_total": "5+0x30",
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
    ({"poppy_edge_log_overdue_seconds": "0+600x30"}, ["PoppyEdgeLogsNotDelivered"]),
    ({"poppy_edge_log_lost_lines_total": "0+1x30"}, ["PoppyEdgeLogsLost"]),
    ({"haproxy_process_dropped_logs_total": "0+1x30"}, ["PoppyEdgeLogsLost"]),
)
#: Daemons that are well, as series of one value a minute.
DAEMONS_WELL = {
    "poppy_storage_up": "1+0x120",
    "poppy_board_up": "1+0x120",
    "poppy_workers_alive": "2+0x120",
    "poppy_queue_oldest_due_seconds": "3+0x120",
    "poppy_worker_slots": "10+0x120",
    "poppy_worker_slots_busy": "5+0x120",
    "poppy_worker_hung_calls": "0+0x120",
    'poppy_http_request_duration_seconds_count{method="GET",status="2xx"}': "0+600x120",
    'poppy_http_request_duration_seconds_count{method="GET",status="5xx"}': "0+6x120",
    'poppy_http_request_duration_seconds_bucket{method="GET",le="0.5"}': "0+600x120",
    'poppy_http_request_duration_seconds_bucket{method="GET",le="5"}': "0+606x120",
    'poppy_http_request_duration_seconds_bucket{method="GET",le="+Inf"}': "0+606x120",
    'poppy_operation_age_seconds_count{state="succeeded",provider="fastly"}': "0+60x120",
    'poppy_operation_age_seconds_count{state="failed",provider="fastly"}': "0+1x120",
    'poppy_breaker_state{driver="provider:fastly",state="closed"}': "1+0x120",
    'poppy_breaker_openings{driver="provider:fastly"}': "1+0x120",
    'poppy_provider_quota_remaining{provider="fastly",limit="writes"}': "500+0x120",
    'poppy_provider_quota_limit{provider="fastly",limit="writes"}': "1000+0x120",
    'poppy_edge_pool_nodes{pool="north"}': "2+0x120",
    'poppy_edge_pool_nodes_in_dns{pool="north"}': "2+0x120",
    'poppy_edge_dns_state{state="current"}': "1+0x120",
    'poppy_edge_dns_state{state="failing"}': "0+0x120",
    "poppy_edge_certificates_expiring": "0+0x120",
    "poppy_audit_age_seconds": "3600+60x120",
    'poppy_audit_differences_total{source="fastly",action="repair"}': "3+0x120",
}
#: What differs, and the alerts after two hours. None removes a series.
DAEMON_CASES = (
    ({}, []),
    (dict.fromkeys(DAEMONS_WELL), ["PoppyNothingReports"]),
    ({"poppy_storage_up": "0+0x120"}, ["PoppyStorageDown"]),
    ({"poppy_board_up": "0+0x120"}, ["PoppyBoardDown"]),
    ({"poppy_workers_alive": "0+0x120"}, ["PoppyNoWorkers"]),
    ({"poppy_queue_oldest_due_seconds": "0+60x120"}, ["PoppyQueueStuck"]),
    ({"poppy_worker_slots_busy": "10+0x120"}, ["PoppyWorkersBusy"]),
    ({"poppy_worker_hung_calls": "1+0x120"}, ["PoppyHungCalls"]),
    (
        {'poppy_http_request_duration_seconds_count{method="GET",status="5xx"}': "0+60x120"},
        ["PoppyApiErrors"],
    ),
    (
        {'poppy_http_request_duration_seconds_bucket{method="GET",le="0.5"}': "0+300x120"},
        ["PoppyApiSlow"],
    ),
    (
        {'poppy_operation_age_seconds_count{state="failed",provider="fastly"}': "0+20x120"},
        ["PoppyOperationsFail"],
    ),
    (
        {'poppy_breaker_state{driver="provider:fastly",state="closed"}': "0+0x120"},
        ["PoppyBreakerOpen"],
    ),
    (
        {'poppy_breaker_openings{driver="provider:fastly"}': "10+0x120"},
        ["PoppyBreakerStaysOpen"],
    ),
    (
        {'poppy_provider_quota_remaining{provider="fastly",limit="writes"}': "90+0x120"},
        ["PoppyQuotaLow"],
    ),
    ({'poppy_edge_pool_nodes_in_dns{pool="north"}': "0+0x120"}, ["PoppyEdgePoolDown"]),
    (
        {
            'poppy_edge_dns_state{state="current"}': "0+0x120",
            'poppy_edge_dns_state{state="failing"}': "1+0x120",
        },
        ["PoppyEdgeDnsStuck"],
    ),
    ({"poppy_edge_certificates_expiring": "2+0x120"}, ["PoppyCertificatesExpire"]),
    ({"poppy_audit_age_seconds": "259200+60x120"}, ["PoppyAuditLate"]),
    (
        {'poppy_audit_differences_total{source="fastly",action="repair"}': "3+1x120"},
        ["PoppyDrift"],
    ),
)
ALERTS = {
    rule["alert"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    named = {name for _, names in (*CASES, *DAEMON_CASES) for name in names}
    assert named == ALERTS


def test_alerts_of_edge_nodes_fire_for_what_they_name_alone(tmp_path: pathlib.Path) -> None:
    cases = [
        ({_at_node(name): values for name, values in {**WELL, **changes}.items()}, firing)
        for changes, firing in CASES
    ]
    check(tmp_path, cases, "30m", {name for _, names in CASES for name in names})


def test_alerts_of_daemons_fire_for_what_they_name_alone(tmp_path: pathlib.Path) -> None:
    cases = []
    for changes, firing in DAEMON_CASES:
        series = {**DAEMONS_WELL, **changes}
        cases.append(({name: it for name, it in series.items() if it is not None}, firing))
    check(tmp_path, cases, "120m", {name for _, names in DAEMON_CASES for name in names})


def check(
    tmp_path: pathlib.Path,
    cases: Sequence[tuple[Mapping[str, str], Sequence[str]]],
    after: str,
    alerts: Collection[str],
) -> None:
    """Evaluate series of values, and check that exactly the alerts of each case fire."""
    if shutil.which("promtool") is None:
        unavailable("there is no promtool", "apt-get install prometheus")
    tests = []
    for series_of, firing in cases:
        series = [{"series": name, "values": values} for name, values in series_of.items()]
        promql = [
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                "eval_time": after,
                "exp_samples": [{"labels": "{}", "value": int(name in firing)}],
            }
            for name in sorted(alerts)
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
