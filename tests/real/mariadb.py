# SPDX-License-Identifier: Apache-2.0
"""A MariaDB server for the duration of a test."""

import importlib.util
import os
import pwd
import subprocess
from collections.abc import Sequence

from tests.real import unavailable
from tests.real.process import ServerProcess


class MariaDB(ServerProcess):
    """A MariaDB in a temporary directory, reachable only by a Unix socket there.

    It has an empty database and does not sync to disk, so its data is for tests only.
    """

    PROGRAM = "mariadbd"
    PACKAGE = "mariadb-server"

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return f"mysql+pymysql://root@localhost/poppy?unix_socket={self._socket}"

    @property
    def _socket(self) -> str:
        return str(self.directory / "socket")

    def prepare(self) -> None:
        """Create the system tables; the account root has no password."""
        if importlib.util.find_spec("pymysql") is None:
            unavailable("Python has no PyMySQL", "pip install PyMySQL")
        make = ["mariadb-install-db", *self._options(), "--skip-test-db"]
        make.append("--auth-root-authentication-method=normal")
        done = subprocess.run(make, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"mariadb-install-db failed: {done.stdout}{done.stderr}")

    def command(self, program: str) -> Sequence[str]:
        """Return the command line; Debian's configuration files are ignored."""
        options = ("--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0")
        return [program, *self._options(), f"--socket={self._socket}", *options]

    def answers(self) -> bool:
        """Create the database on the first connection."""
        import pymysql

        # PyMySQL does not close the socket if it can't connect it.
        if not os.path.exists(self._socket):
            return False
        try:
            with pymysql.connect(unix_socket=self._socket, user="root") as conn:
                conn.cursor().execute("CREATE DATABASE IF NOT EXISTS poppy")
        except pymysql.MySQLError:
            return False
        return True

    def _options(self) -> Sequence[str]:
        user = pwd.getpwuid(os.geteuid()).pw_name
        return ["--no-defaults", f"--user={user}", f"--datadir={self.directory / 'data'}"]
