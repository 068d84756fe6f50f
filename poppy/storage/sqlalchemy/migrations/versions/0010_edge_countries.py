# SPDX-License-Identifier: Apache-2.0
"""What the nodes of the operator's own edge count by country."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
_COUNTS = (*(f"responses_{number}xx" for number in range(1, 6)), "hits", "sent")


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "edge_countries",
        sa.Column("source", _text(64), primary_key=True),
        sa.Column("service_id", _text(64), primary_key=True),
        sa.Column("domain", _text(255), primary_key=True),
        sa.Column("country", _text(2), primary_key=True),
        sa.Column("hour", sa.BigInteger, nullable=False),
        sa.Column("node", _text(255), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTS),
        **_MYSQL,
    )
    op.create_index("ix_edge_countries_domain", "edge_countries", ["service_id", "domain", "hour"])
    op.create_index("ix_edge_countries_hour", "edge_countries", ["hour"])
