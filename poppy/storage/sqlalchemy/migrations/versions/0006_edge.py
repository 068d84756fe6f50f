# SPDX-License-Identifier: Apache-2.0
"""The log of changes and the nodes of the operator's own edge."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME = _text(255)
_DOCUMENT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Add three tables."""
    op.create_table(
        "edge_log",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        **_MYSQL,
    )
    op.create_table(
        "edge_changes",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("service_id", _text(64), nullable=False),
        sa.Column("reference", _NAME, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("prunable", sa.Boolean, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("content", _DOCUMENT),
        sa.Column("hard", sa.Boolean, nullable=False),
        sa.UniqueConstraint("service_id", "reference", name="uq_edge_changes_reference"),
        **_MYSQL,
    )
    op.create_index("ix_edge_changes_prunable", "edge_changes", ["prunable", "at"])
    op.create_table(
        "edge_nodes",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("pool", _NAME, nullable=False),
        sa.Column("drained", sa.Boolean, nullable=False),
        sa.Column("token", _text(64)),
        sa.Column("join_token", _text(64)),
        sa.Column("join_until", sa.BigInteger),
        sa.Column("seen_at", sa.BigInteger),
        sa.Column("instance", _NAME),
        sa.Column("report", _DOCUMENT, nullable=False),
        sa.UniqueConstraint("token", name="uq_edge_nodes_token"),
        **_MYSQL,
    )
