# SPDX-License-Identifier: Apache-2.0
"""The addresses of the nodes of the operator's own edge."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add a column. Nodes of earlier versions have no addresses."""
    op.add_column("edge_nodes", sa.Column("addresses", sa.String(1000)))
