# SPDX-License-Identifier: Apache-2.0
"""Metrics as Prometheus sees them: daemons run as processes, and are scraped over HTTP."""

import os
import pathlib
import signal

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.real.poppy import Installation, free_port, wait

SERVICES = 4


class Site:
    """A server and a worker with two processes each, and metrics."""

    def __init__(self, directory, **options):
        self.asked = 0
        self.ports = {"server": free_port(), "worker": free_port()}
        self.installation = Installation(
            directory,
            {
                "metrics": {
                    **{f"{name}_port": port for name, port in self.ports.items()},
                    "refresh": 0.2,
                },
                "drivers:transport:pecan": {"workers": 2},
                "drivers:distributed_task:taskflow": {
                    "workers": 2,
                    "concurrency": 3,
                    "heartbeat_interval": 0.2,
                },
                **options,
            },
        )
        self.installation.sync()

    def scrape(self, daemon):
        """Return all values by sample name and labels."""
        answer = requests.get(f"http://127.0.0.1:{self.ports[daemon]}/metrics", timeout=10)
        assert answer.status_code == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def value(self, daemon, name, **labels):
        """Return the value of a sample, or None."""
        return self.scrape(daemon).get((name, frozenset(labels.items())))

    def ask(self, url):
        """Send a GET without a project on a new connection; return whether it is refused."""
        self.asked += 1
        return requests.get(url, timeout=10).status_code == 400

    def recorders(self, daemon):
        """Return how many processes of a daemon have recorded timings."""
        directory = self.installation.directory / "metrics" / str(self.ports[daemon])
        return len(list(directory.glob("histogram_*.db")))

    def sees(self, daemon, expected, name, **labels):
        """Wait until a sample has a value. The daemon may still be starting."""

        def has_value():
            try:
                return self.value(daemon, name, **labels) == expected
            except requests.ConnectionError:
                return False

        wait(has_value, 60)


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.installation.session.close()


def test_metrics_cover_all_processes(site):
    installation = site.installation
    with installation.daemon("poppy-server"), installation.daemon("poppy-worker"):
        installation.wait_until_up()
        installation.create_flavor()
        urls = [installation.create_service(f"www{n}.example.com") for n in range(SERVICES)]
        for url in urls:
            installation.wait_for(url, "deployed")
        # Either process may get a connection; wait until both have counted.
        wait(lambda: site.ask(urls[0]) and site.recorders("server") == 2, 20)

        requests_total = "poppy_http_request_duration_seconds_count"
        created = {"method": "POST", "route": "/v1.0/services", "status": "2xx"}
        site.sees("server", SERVICES, requests_total, **created)
        site.sees(
            "server",
            site.asked,
            requests_total,
            method="GET",
            route="/v1.0/services/{service_id}",
            status="4xx",
        )
        requests.request("PROPFIND", f"{installation.base}/coffee", timeout=10)
        site.sees("server", 1, requests_total, method="other", route="none", status="4xx")
        requests.request("BREW", f"{installation.base}/coffee", timeout=10)
        site.sees("server", 1, "poppy_http_invalid_requests_total", status="501")

        site.sees(
            "worker",
            SERVICES,
            "poppy_operation_age_seconds_count",
            kind="create",
            state="succeeded",
            provider="mock",
        )
        for driver in ("provider:mock", "dns:mock"):
            site.sees(
                "worker",
                SERVICES,
                "poppy_driver_call_duration_seconds_count",
                driver=driver,
                verb="ensure",
                outcome="done",
            )
        for url in urls:
            installation.session.delete(url, timeout=10)
        for url in urls:
            installation.wait_for(url, "gone")
        site.sees(
            "worker",
            SERVICES,
            "poppy_operation_age_seconds_count",
            kind="delete",
            state="succeeded",
            provider="mock",
        )
        site.sees("worker", 6, "poppy_worker_slots")
        site.sees("worker", 0, "poppy_worker_slots_busy")
        for daemon in site.ports:
            site.sees(daemon, 2, "poppy_workers_alive")
            site.sees(daemon, 1, "poppy_breaker_state", driver="provider:mock", state="closed")
            site.sees(daemon, 1, "poppy_storage_up")
            site.sees(daemon, 1, "poppy_board_up")
            site.sees(daemon, 0, "poppy_queue_due_operations")
        other = requests.get(f"http://127.0.0.1:{site.ports['server']}/v1.0", timeout=10)
        assert other.status_code == 404
        assert requests.get(f"{installation.base}/metrics", timeout=10).status_code == 404


def test_counters_of_a_dead_process_are_kept_but_not_its_gauges(site, tmp_path):
    installation = site.installation
    with installation.daemon("poppy-server"), installation.daemon("poppy-worker") as worker:
        installation.wait_until_up()
        installation.create_flavor()
        installation.wait_for(installation.create_service(), "deployed")
        site.sees("worker", 6, "poppy_worker_slots")
        finished = {"kind": "create", "state": "succeeded", "provider": "mock"}
        site.sees("worker", 1, "poppy_operation_age_seconds_count", **finished)
        wait(lambda: len(gauges(site, tmp_path)) == 3, 20)
        killed = gauges(site, tmp_path)
        assert worker.pid not in killed
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait(lambda: len(gauges(site, tmp_path) - killed) == len(killed), 40)
        site.sees("worker", 6, "poppy_worker_slots")
        assert site.value("worker", "poppy_operation_age_seconds_count", **finished) == 1


def gauges(site, directory):
    """Return the processes that the worker daemon forked: two workers and the exporter."""
    files = (directory / "metrics" / str(site.ports["worker"])).glob("gauge_livesum_*.db")
    pids = {int(path.stem.rpartition("_")[2]) for path in files}
    return {pid for pid in pids if b"poppy-worker" in command_line(pid) and is_child(pid)}


def is_child(pid):
    """Return whether a daemon forked the process."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    parent = int(text.rpartition(")")[2].split()[1])
    return b"poppy-worker" in command_line(parent)


def command_line(pid):
    """Return the command line of a process; empty when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_failures_are_counted(tmp_path):
    nowhere = {"urls": f"http://127.0.0.1:{free_port()}", "api_key": "k", "breaker_failures": 1}
    site = Site(tmp_path, **{"drivers": {"dns": "powerdns"}, "drivers:dns:powerdns": nowhere})
    installation = site.installation
    with installation.daemon("poppy-server"), installation.daemon("poppy-worker"):
        installation.wait_until_up()
        installation.create_flavor()
        installation.create_service()
        call = {"driver": "dns:powerdns", "verb": "ensure"}
        site.sees("worker", 2, "poppy_driver_call_repeats_total", **call)
        count = "poppy_driver_call_duration_seconds_count"
        site.sees("worker", 1, count, **call, outcome="retryable")
        run = {"kind": "create", "outcome": "retried"}
        site.sees("worker", 1, "poppy_operation_run_duration_seconds_count", **run)
        for daemon in site.ports:
            breaker = {"driver": "dns:powerdns", "state": "open"}
            site.sees(daemon, 1, "poppy_breaker_state", **breaker)
        installation.create_service("second.example.com")
        site.sees("worker", 1, "poppy_driver_calls_deferred_total", driver="dns:powerdns")
    installation.session.close()


def test_metrics_are_off_by_default(tmp_path):
    installation = Installation(tmp_path)
    installation.sync()
    with installation.daemon("poppy-server"):
        installation.wait_until_up()
        assert not (tmp_path / "metrics").exists()
    installation.session.close()


def test_port_in_use_stops_the_start(site):
    with site.installation.daemon("poppy-server"):
        site.installation.wait_until_up()
        with site.installation.daemon("poppy-server") as second:
            output, _ = second.communicate(timeout=30)
            assert second.returncode == 1
            assert "[metrics] bind = 127.0.0.1, server_port = " in output
        assert site.value("server", "poppy_storage_up") in (None, 1)


def test_standalone_serves_all_metrics_at_one_port(site):
    installation = site.installation
    with installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        installation.create_flavor()
        installation.wait_for(installation.create_service(), "deployed")
        finished = {"kind": "create", "state": "succeeded", "provider": "mock"}
        site.sees("server", 1, "poppy_operation_age_seconds_count", **finished)
        posted = {"method": "POST", "route": "/v1.0/services", "status": "2xx"}
        site.sees("server", 1, "poppy_http_request_duration_seconds_count", **posted)
