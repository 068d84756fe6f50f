# SPDX-License-Identifier: Apache-2.0
"""Expected faults leave no traceback in the log or on stderr."""

import contextlib
import os
import pathlib
import sqlite3
import subprocess
from collections.abc import Iterator

import pytest

from tests.real.poppy import Installation, wait
from tests.real.zookeeper import ZooKeeper

CLAIM = "UPDATE poppy_jobs SET claim_token = 'another', owner = 'another'"


@contextlib.contextmanager
def small_disk(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Mount a file system of 2 MB."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(path)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("file systems can't be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def check_log(text: str) -> None:
    """Check that there is no traceback and no ERROR line."""
    assert "Traceback" not in text, text[max(0, text.index("Traceback") - 2000) :][:6000]
    errors = [line for line in text.splitlines() if " ERROR " in line]
    assert errors == []


@pytest.fixture
def slow(tmp_path: pathlib.Path) -> Installation:
    """An installation with slow provider calls, to disturb a job during one."""
    return Installation(tmp_path, {"drivers:provider:mock": {"latency": 2}})


def execute(database: pathlib.Path, statement: str) -> int:
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as db, db:
        return db.execute(statement).rowcount


@pytest.mark.parametrize("statement", [CLAIM, "DELETE FROM poppy_jobs"], ids=["lost", "wiped"])
def test_lost_claim(slow: Installation, statement: str) -> None:
    database = slow.directory / "poppy.sqlite3"
    with slow.daemon("poppy-standalone"):
        slow.wait_until_up()
        slow.create_flavor()
        url = slow.create_service()
        wait(lambda: execute(database, statement + " WHERE owner IS NOT NULL") > 0, 30)
        slow.wait_for(url, "deployed")
        slow.session.delete(url, timeout=30)
        slow.wait_for(url, "gone")
    text = (slow.directory / "poppy.log").read_text()
    check_log(text)
    assert "has lost its claim of job" in text


def test_full_disk(tmp_path: pathlib.Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        poppy = Installation(tmp_path, {"DEFAULT": {"state_path": disk}})
        with poppy.daemon("poppy-standalone") as daemon:
            poppy.wait_until_up()
            poppy.create_flavor()
            poppy.create_service()
            with contextlib.suppress(OSError), (disk / "ballast").open("wb") as ballast:
                while True:
                    ballast.write(os.urandom(4096))
                    ballast.flush()
            document = {
                "name": "x" * 250,
                "flavor_id": "standard",
                "origins": [{"origin": "o.example.net"}],
            }
            seen = set()

            def is_full() -> bool:
                number = len(seen)
                names = [{"domain": f"d{number}-{os.urandom(4).hex()}.example.com"}]
                answer = poppy.session.post(
                    poppy.base + "/v1.0/services", json={**document, "domains": names}, timeout=60
                )
                seen.add(answer.status_code)
                return answer.status_code == 503

            wait(is_full, 120)
            assert seen <= {202, 503}
            (disk / "ballast").unlink()
            wait(lambda: not is_full(), 120)
            url = poppy.create_service("after.example.com")
            poppy.wait_for(url, "deployed", 60)
        output = daemon.stdout.read() if daemon.stdout and not daemon.stdout.closed else ""
    check_log((tmp_path / "poppy.log").read_text() + output)


@pytest.mark.real
def test_wiped_zookeeper(tmp_path: pathlib.Path) -> None:
    with ZooKeeper() as zookeeper:
        host, _, port = zookeeper.hosts.partition(":")
        options = {
            "drivers:distributed_task:taskflow": {
                "jobboard_backend_type": "zookeeper",
                "jobboard_backend_host": host,
                "jobboard_backend_port": port,
                "redelivery": 2,
            },
            "drivers:provider:mock": {"latency": 4},
        }
        poppy = Installation(tmp_path, options)
        with poppy.daemon("poppy-standalone"):
            poppy.wait_until_up()
            poppy.create_flavor()
            url = poppy.create_service()
            log = tmp_path / "poppy.log"
            operations = f"{url}/operations"
            wait(
                lambda: (
                    poppy.session.get(operations, timeout=30).json()["operations"][0]["state"]
                    == "running"
                ),
                60,
            )
            zookeeper.stop()
            zookeeper.wipe()
            zookeeper.start()
            poppy.wait_for(url, "deployed", 120)
            other = poppy.create_service("other.example.com")
            poppy.wait_for(other, "deployed", 120)
        check_log(log.read_text())
