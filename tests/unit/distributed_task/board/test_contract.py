# SPDX-License-Identifier: Apache-2.0
"""The board contract on SQLite."""

import functools

import pytest

from poppy.distributed_task.board.sql import SQLJobBoard
from poppy.testing.board import BoardContract


def make(connection, lease, name, path):
    conf = {"connection": connection, "lease": lease, "path": path, "poll_interval": 0.05}
    return SQLJobBoard(name, conf)


class TestContract(BoardContract):
    LEASE = 1.0

    @pytest.fixture
    def factory(self, connection):
        return functools.partial(make, connection, self.LEASE)
