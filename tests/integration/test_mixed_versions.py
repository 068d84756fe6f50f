# SPDX-License-Identifier: Apache-2.0
"""Servers and workers of two versions on one schema, as during an upgrade and after a rollback.

The next version is a copy of this one with another migration. The earlier one is a commit of the
past, if the repository has it: it can't start on a newer schema, but keeps running on one.
"""

import contextlib
import io
import os
import shutil
import subprocess
import tarfile

import pytest

from poppy.storage.sqlalchemy import schema
from tests.real.pages import ROOT
from tests.real.poppy import Installation, wait

#: The last commit with the schema 0009.
EARLIER = "45a2cda^"
NEXT = "9001"
MIGRATION = f'''"""A column, an index and a table that this version does not know."""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{schema.HEAD}"


def upgrade() -> None:
    op.add_column("operations", sa.Column("unknown", sa.String(64), nullable=True))
    op.create_index("ix_operations_unknown", "operations", ["unknown"])
    op.create_table("unknown", sa.Column("name", sa.String(64), primary_key=True))
'''


@pytest.fixture(scope="module")
def following(tmp_path_factory):
    """The tree of the next version."""
    tree = tmp_path_factory.mktemp("next")
    shutil.copytree(ROOT / "poppy", tree / "poppy", ignore=shutil.ignore_patterns("__pycache__"))
    storage = tree / "poppy" / "storage" / "sqlalchemy"
    (storage / "migrations" / "versions" / f"{NEXT}_unknown.py").write_text(MIGRATION)
    text = (storage / "schema.py").read_text()
    line = "HEAD = REVISIONS[-1]"
    assert line in text
    (storage / "schema.py").write_text(text.replace(line, f'REVISIONS += ("{NEXT}",)\n{line}'))
    return tree


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The tree of an earlier version."""
    command = ["git", "-C", str(ROOT), "archive", EARLIER, "poppy"]
    archive = subprocess.run(command, capture_output=True, timeout=60)
    if archive.returncode:
        pytest.skip(f"this clone has no commit {EARLIER}")
    tree = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")
    return tree


class Cluster:
    """Daemons of several versions with one configuration and database."""

    def __init__(self, directory):
        self._directory = directory
        self._port = None

    def version(self, tree):
        """Return the installation of a version, given its tree."""
        path = os.pathsep.join((str(tree), os.environ.get("PYTHONPATH", "")))
        made = Installation(
            self._directory, environment={"PYTHONPATH": path.rstrip(os.pathsep)}, port=self._port
        )
        self._port = int(made.base.rpartition(":")[2])
        return made

    @contextlib.contextmanager
    def running(self, server, worker):
        """Run a server and a worker of these versions."""
        with server.daemon("poppy-server"), worker.daemon("poppy-worker"):
            server.wait_until_up()
            yield
        server.session.close()


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def sync(version):
    done = version.manage("db", "sync")
    assert done.returncode == 0, done.stderr


def stored(version):
    return version.manage("db", "version", "-f", "json").stdout


def use(version, domain):
    """Create, change, purge and delete a service."""
    service = version.create_service(domain)
    version.wait_for(service, "deployed")
    change = [{"op": "replace", "path": "/name", "value": "changed"}]
    answer = version.session.patch(service, json=change, timeout=10)
    assert answer.status_code == 202, answer.text
    version.wait_for(service, "deployed")
    assert version.session.get(service, timeout=10).json()["name"] == "changed"
    assert version.session.delete(f"{service}/assets?all=true", timeout=10).status_code == 202
    wait(lambda: not unfinished(version, service), 30)
    assert version.session.delete(service, timeout=10).status_code == 202
    version.wait_for(service, "gone")
    assert list(version.objects.glob("*.json")) == []


def unfinished(version, service):
    found = version.session.get(f"{service}/operations", timeout=10).json()["operations"]
    assert {it["state"] for it in found} <= {"queued", "running", "succeeded"}
    return [it for it in found if it["state"] != "succeeded"]


def test_this_version_and_the_next_work_together(cluster, following):
    now, then = cluster.version(ROOT), cluster.version(following)
    sync(now)
    with cluster.running(now, now):
        now.create_flavor()
        use(now, "before.example.com")
        sync(then)
        use(now, "synced.example.com")
    with cluster.running(now, then):
        use(now, "worker.example.com")
    with cluster.running(then, now):
        use(then, "server.example.com")


def test_a_rollback_keeps_the_schema_of_the_next_version(cluster, following):
    now, then = cluster.version(ROOT), cluster.version(following)
    sync(then)
    with cluster.running(then, then):
        then.create_flavor()
        kept = then.create_service("kept.example.com")
        then.wait_for(kept, "deployed")
    sync(now)
    assert NEXT in stored(now)
    with cluster.running(now, now):
        assert now.status(kept) == "deployed"
        assert now.session.delete(kept, timeout=10).status_code == 202
        now.wait_for(kept, "gone")
        use(now, "after.example.com")
    assert f"newer schema ({NEXT})" in (now.directory / "poppy.log").read_text()


def test_an_earlier_version_keeps_running_while_this_one_takes_over(cluster, earlier):
    before, now = cluster.version(earlier), cluster.version(ROOT)
    sync(before)
    with cluster.running(before, before):
        before.create_flavor()
        use(before, "before.example.com")
        sync(now)
        use(before, "synced.example.com")
        with now.daemon("poppy-worker"):
            use(before, "both.example.com")
    with cluster.running(now, now):
        use(now, "now.example.com")
