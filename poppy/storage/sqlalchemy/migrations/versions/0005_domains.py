# SPDX-License-Identifier: Apache-2.0
"""Released domains are kept for their former projects; claims may wait for a proof."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add two columns. What is claimed already needs no proof."""
    op.add_column("domains", sa.Column("released_at", sa.BigInteger()))
    op.add_column(
        "domains", sa.Column("pending", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_index("ix_domains_released_at", "domains", ["released_at"])
