# SPDX-License-Identifier: Apache-2.0
"""The SQL job board on a real PostgreSQL."""

import unittest
from collections.abc import Iterator

import pytest

from tests.integration import sql_board
from tests.real.postgresql import PostgreSQL
from tests.unit.distributed_task.board import boards

pytestmark = [pytest.mark.real, pytest.mark.nightly]


@pytest.fixture(scope="module")
def connection() -> Iterator[str]:
    with PostgreSQL() as server:
        yield server.url


class TestPostgreSQL(sql_board.ServerTests):
    pass


class TestContract(boards.BoardContract, unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _use(self, connection):
        self.connection = connection


class TestPoppyContract(sql_board.PoppyContract):
    pass
