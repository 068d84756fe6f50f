# SPDX-License-Identifier: Apache-2.0
"""The complete API in one process: application, manager and SQLite store are real.

No worker runs by default, so accepted operations stay queued.
"""

import contextlib
import sqlite3

import pytest

from tests.api.contract import CheckedApp
from tests.functional.harness import PROJECT, Harness


class Api:
    """A client of one project, with access to the database."""

    def __init__(self, directory, groups=None, **options):
        self.harness = Harness(directory, groups, **options)
        # This query creates the tables of the job board.
        assert self.harness.boot.distributed_task.is_alive()
        self._database = directory / "poppy.sqlite3"
        self.app = CheckedApp(self.harness.boot.transport.application)
        self.headers = {"X-Project-ID": PROJECT}

    def call(self, method, path, body=None, project=None, **headers):
        """Send JSON and return the response with any status."""
        headers = {**self.headers, **headers}
        if project is not None:
            headers["X-Project-ID"] = project
        options = {"headers": headers, "expect_errors": True}
        if body is None:
            return self.app.request(path, method=method, **options)
        return getattr(self.app, f"{method.lower()}_json")(path, body, **options)

    def post(self, document, **options):
        return self.call("POST", "/v1.0/services", document, **options)

    def document(self, domain="www.example.com", **changes):
        return self.harness.document(domain, **changes)

    def create(self, domain="www.example.com", project=None, **changes):
        """POST a service and return its path."""
        answer = self.post(self.document(domain, **changes), project=project)
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"].removeprefix("http://localhost")

    def deploy(self, path, project=PROJECT):
        """Let a worker finish all operations of the service."""
        with self.harness.working():
            return self.harness.settle(path.rpartition("/")[2], project)

    def rows(self):
        """Return the number of rows in each table."""
        tables = ("services", "domains", "operations", "poppy_jobs")
        with contextlib.closing(sqlite3.connect(self._database)) as db:
            return {
                table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in tables
            }

    def forget(self):
        """Empty all tables and create the two flavors again."""
        with contextlib.closing(sqlite3.connect(self._database)) as db:
            tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
            for (table,) in db.execute(tables).fetchall():
                if table != "alembic_version":
                    db.execute(f"DELETE FROM {table}")  # noqa: S608
            db.commit()
        self.harness.create_flavors()

    def close(self):
        self.harness.close()


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory):
    """One API for tests that clean up."""
    made = Api(tmp_path_factory.mktemp("api"))
    yield made
    made.close()


@pytest.fixture
def api(tmp_path):
    made = Api(tmp_path)
    yield made
    made.close()
