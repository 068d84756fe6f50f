# SPDX-License-Identifier: Apache-2.0
"""What needs a Python of its own: imports, global state, and what processes share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from poppy.common import sql
from poppy.testing.builders import make_flavor
from tests.databases import make_storage
from tests.forks import forked, sync_at_once
from tests.unit.provider.test_mock import make_provider

_IMPORTED = "import sys, poppy.cmd.edge; print(*{it.partition('.')[0] for it in sys.modules})"


def test_several_processes_can_sync_an_empty_database_concurrently(tmp_path):
    url = f"sqlite:///{tmp_path}/new.sqlite3"
    sync_at_once(lambda: make_storage(url))


def test_a_forked_child_opens_its_own_connection(tmp_path, monkeypatch):
    storage = make_storage(f"sqlite:///{tmp_path}/poppy.sqlite3")
    storage.sync()
    storage.flavors.create(make_flavor())
    made, make_engine = [], sql.make_engine
    monkeypatch.setattr(
        sql, "make_engine", lambda *a, **k: made.append(os.getpid()) or make_engine(*a, **k)
    )

    def read():
        assert storage.flavors.list() == [make_flavor()]
        storage.close()
        assert made == [os.getpid()]

    with forked(read):
        pass
    assert storage.flavors.list() == [make_flavor()]
    assert made == []
    storage.close()


def test_a_start_imports_only_what_it_needs(tmp_path):
    url = f"sqlite:///{tmp_path}/poppy.sqlite3"
    make_storage(url).sync()
    code = (
        "import sys\n"
        "from tests.databases import make_storage\n"
        f"storage = make_storage({url!r})\n"
        "storage.check()\n"
        "storage.sync()\n"
        "import poppy.cmd.manage, poppy.cmd.server, poppy.distributed_task.driver\n"
        "late = {'alembic', 'networkx', 'oslo_utils.strutils', 'taskflow.engines'}\n"
        "assert not late & set(sys.modules)\n"
        "poppy.distributed_task.driver.TaskFlowDriver.preload(None)\n"
        "assert 'taskflow.engines' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_disabled_tracing_does_not_import_the_sdk():
    program = """
import sys
for name in ("opentelemetry.sdk", "opentelemetry.exporter"):
    sys.modules[name] = None  # so that importing anything of it fails
import webtest
from poppy.common import config, tracing
from poppy.transport.pecan.driver import PecanTransport
from poppy.distributed_task import worker
from poppy.common import http
from poppy.vendors import aws
from tests.functional import fakes
conf = config.new(); conf([])
tracing.check(conf); tracing.start(conf, "poppy-server")
app = webtest.TestApp(PecanTransport(conf, "pecan", manager=fakes.FakeManager()).application)
app.get("/v1.0/services", headers={"X-Project-ID": "1"}, status=200)
tracing.stop()
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_new_log_file_is_private(tmp_path, umask):
    config_file, log_file = tmp_path / "poppy.conf", tmp_path / "poppy.log"
    config_file.write_text(f"[DEFAULT]\nlog_file = {log_file}\n")
    # Logging is global, so use a separate process.
    code = (
        "import os\n"
        "from poppy.common import config, logs\n"
        f"os.umask({umask})\n"
        f"logs.setup(config.load([], files=['{config_file}']))\n"
        f"assert os.umask(0) == {umask}, 'it is as it was'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert log_file.stat().st_mode & 0o777 == 0o640 & ~umask


def in_another_process(directory, code):
    """Run code in another process, because metrics can't be disabled again."""
    program = f"import pathlib; directory = pathlib.Path({str(directory)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


RECORD = """
import os
from poppy.common import metrics
metrics.enable(directory)
if os.fork() == 0:
    metrics.DEFERRED.add("a"); metrics.BUSY.set(5); os._exit(0)
os.wait()
metrics.DEFERRED.add("a"); metrics.DEFERRED.add("b"); metrics.BUSY.set(2)
metrics.prune_dead_pids(directory)
import prometheus_client, prometheus_client.multiprocess as multiprocess
registry = prometheus_client.CollectorRegistry()
multiprocess.MultiProcessCollector(registry, str(directory))
print(prometheus_client.generate_latest(registry).decode())
"""


def test_a_dead_process_keeps_its_counters_and_loses_its_gauges(tmp_path):
    (tmp_path / "metrics").mkdir()
    left = tmp_path / "metrics" / "counter_1.db"
    left.write_bytes(b"of another start")
    result = in_another_process(tmp_path / "metrics", RECORD)
    lines = result.stdout.splitlines()
    assert 'poppy_driver_calls_deferred_total{driver="a"} 2.0' in lines, result.stderr
    assert 'poppy_driver_calls_deferred_total{driver="b"} 1.0' in lines
    assert "poppy_worker_slots_busy 2.0" in lines
    assert not left.exists()


def test_a_directory_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    code = "from poppy.common import metrics; metrics.enable(directory)"
    result = in_another_process(tmp_path / "file" / "metrics", code)
    assert "ConfigError: [DEFAULT] state_path: " in result.stderr


def test_without_the_client_the_error_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from poppy.common import metrics; metrics.enable(directory)"
    )
    result = in_another_process(tmp_path / "metrics", code)
    assert "pip install 'poppy-cdn[metrics]'" in result.stderr


def test_a_killed_writer_leaves_complete_objects(tmp_path: Path) -> None:
    script = f"""
from tests.unit.provider.test_mock import make_provider, make_service
provider = make_provider(directory={str(tmp_path)!r})
for number in range(10**9):
    provider.ensure(make_service(service_id="s", domains=["www%d.example.com" % number]), None)
    if number == 0:
        print("written", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        reader = make_provider(directory=str(tmp_path))
        seen = [reader.find("s") for _ in range(300)]
        writer.kill()

    last = reader.find("s")
    assert last is not None
    assert last["updates"] >= max(found["updates"] for found in seen if found) >= 1


def test_a_second_connection_keeps_the_locks_of_the_first(tmp_path):
    """Otherwise another process takes itself for the last one and deletes the write-ahead log."""
    path = tmp_path / "poppy.sqlite3"
    read = "SELECT * FROM sqlite_master"
    engine = sql.make_engine(f"sqlite:///{path}")
    with engine.connect() as first:
        first.exec_driver_sql(read)
        with sql.write(engine) as writer:
            writer.exec_driver_sql("CREATE TABLE kept (id INTEGER)")
        with engine.connect() as second:
            second.exec_driver_sql(read)
            line = (
                "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()"
            )
            subprocess.run([sys.executable, "-c", line, str(path), read], check=True)
            assert (tmp_path / "poppy.sqlite3-wal").exists()
    engine.dispose()


def test_the_options_of_acme_need_no_library():
    code = (
        "import sys, poppy.provider.edge.acme_options;"
        "sys.exit(', '.join({'acme', 'josepy', 'cryptography'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_a_node_needs_few_packages():
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert "requests" in found
    server = {"cotyledon", "jsonschema", "opentelemetry", "pecan", "sqlalchemy", "taskflow"}
    assert not found & server
