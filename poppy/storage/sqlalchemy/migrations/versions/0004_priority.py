# SPDX-License-Identifier: Apache-2.0
"""How urgent an operation is, and an index of what each project has waiting."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_UNFINISHED = sa.text("next_attempt_at IS NOT NULL")


def upgrade() -> None:
    """Operations of earlier versions count as what tenants asked for."""
    op.add_column(
        "operations", sa.Column("priority", sa.SmallInteger, nullable=False, server_default="1")
    )
    op.create_index(
        "ix_operations_turns",
        "operations",
        ["project_id", "priority", "next_attempt_at", "operation_id"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
