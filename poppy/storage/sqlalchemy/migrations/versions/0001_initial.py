# SPDX-License-Identifier: Apache-2.0
"""The first schema: flavors, projects, services, domains, operations and the archive.

There is no downgrade: restore a backup to get an old schema back together with its data.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME = _text(255)
_ID = _text(36)
_WORD = _text(32)
_DOCUMENT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
_INSTANT = sa.BigInteger()


def upgrade() -> None:
    """Create all tables."""
    _table(
        "flavors",
        sa.Column("flavor_id", _NAME, primary_key=True),
        sa.Column("document", _DOCUMENT, nullable=False),
    )
    _table(
        "projects",
        sa.Column("project_id", _NAME, primary_key=True),
        sa.Column("services", sa.Integer, nullable=False),
        sa.Column("service_limit", sa.Integer),
    )
    _make_services()
    _make_operations()


def _make_services() -> None:
    _table(
        "services",
        sa.Column("project_id", _NAME, primary_key=True),
        sa.Column("service_id", _ID, primary_key=True),
        sa.Column("spec", _DOCUMENT, nullable=False),
        sa.Column("provider_details", _DOCUMENT, nullable=False),
        sa.Column("status", _WORD, nullable=False),
        sa.Column(
            "flavor_id",
            _NAME,
            sa.ForeignKey("flavors.flavor_id", name="fk_services_flavor", ondelete="RESTRICT"),
            nullable=False,
        ),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
    )
    op.create_index("ix_services_flavor_id", "services", ["flavor_id"])
    _table(
        "domains",
        sa.Column("domain", _NAME, primary_key=True),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("service_id", _ID, nullable=False),
    )
    op.create_index("ix_domains_service_id", "domains", ["service_id"])
    _table(
        "services_archive",
        sa.Column("project_id", _NAME, primary_key=True),
        sa.Column("service_id", _ID, primary_key=True),
        sa.Column("document", _DOCUMENT, nullable=False),
        sa.Column("deleted_at", _INSTANT, nullable=False),
    )


def _make_operations() -> None:
    _table(
        "operations",
        sa.Column("service_id", _ID, primary_key=True),
        sa.Column("operation_id", _ID, primary_key=True),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("kind", _WORD, nullable=False),
        sa.Column("state", _WORD, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _INSTANT),
        sa.Column("runner", _NAME),
        sa.Column("progress", _DOCUMENT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
    )
    op.create_index("ix_operations_state", "operations", ["service_id", "state"])
    unfinished = sa.text("next_attempt_at IS NOT NULL")
    op.create_index(
        "ix_operations_due",
        "operations",
        ["next_attempt_at", "operation_id"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )


def _table(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(name, *columns, **_MYSQL)
