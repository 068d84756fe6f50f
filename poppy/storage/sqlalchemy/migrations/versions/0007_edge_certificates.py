# SPDX-License-Identifier: Apache-2.0
"""Accounts at certificate authorities, orders of certificates, and their events."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_ID = _text(64)
_DOCUMENT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Add three tables."""
    op.create_table(
        "edge_accounts",
        sa.Column("directory", _ID, primary_key=True),
        sa.Column("account", _DOCUMENT, nullable=False),
        **_MYSQL,
    )
    op.create_table(
        "edge_orders",
        sa.Column("service_id", _ID, primary_key=True),
        sa.Column("order_id", _ID, primary_key=True),
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("content", _DOCUMENT, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        **_MYSQL,
    )
    op.create_index("ix_edge_orders_due", "edge_orders", ["due_at"])
    op.create_table(
        "edge_events",
        sa.Column("event_id", _ID, primary_key=True),
        sa.Column("key", _ID, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        **_MYSQL,
    )
    op.create_index("ix_edge_events_key", "edge_events", ["key", "at"])
    op.create_index("ix_edge_events_at", "edge_events", ["at"])
