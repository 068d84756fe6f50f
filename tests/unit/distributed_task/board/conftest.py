# SPDX-License-Identifier: Apache-2.0
"""A SQLite file and a job board in it."""

import pytest

from tests.unit.distributed_task.board.boards import open_board


@pytest.fixture
def connection(tmp_path):
    return f"sqlite:///{tmp_path}/board.db"


@pytest.fixture
def board(connection):
    with open_board(connection) as board:
        yield board
