# SPDX-License-Identifier: Apache-2.0
"""Quarantine of released domains, and claims that await a proof."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add two columns. Existing claims need no proof."""
    op.add_column("domains", sa.Column("released_at", sa.BigInteger()))
    op.add_column(
        "domains", sa.Column("pending", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_index("ix_domains_released_at", "domains", ["released_at"])
