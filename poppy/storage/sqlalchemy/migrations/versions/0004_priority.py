# SPDX-License-Identifier: Apache-2.0
"""The priority of operations, and an index of each project's waiting operations."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_UNFINISHED = sa.text("next_attempt_at IS NOT NULL")


def upgrade() -> None:
    """Add the column and the index. Operations of earlier versions get tenants' priority."""
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
