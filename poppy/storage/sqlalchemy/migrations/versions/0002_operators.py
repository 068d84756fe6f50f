# SPDX-License-Identifier: Apache-2.0
"""For operators: count lost runs, index operations by state, add workers and circuit breakers."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_DOCUMENT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Add a column, an index and two tables."""
    op.add_column(
        "operations", sa.Column("crashes", sa.Integer, nullable=False, server_default="0")
    )
    op.create_index("ix_operations_listing", "operations", ["state", "created_at", "operation_id"])
    op.create_table(
        "workers",
        sa.Column("worker_id", _text(36), primary_key=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("document", _DOCUMENT, nullable=False),
        **_MYSQL,
    )
    op.create_table(
        "breakers",
        sa.Column("driver", _text(255), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("document", _DOCUMENT, nullable=False),
        **_MYSQL,
    )
