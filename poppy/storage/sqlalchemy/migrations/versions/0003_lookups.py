# SPDX-License-Identifier: Apache-2.0
"""Indexes by status and provider URL, idempotency keys, documents, and services' log URLs."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME = _text(255)
_ID = _text(36)
_DOCUMENT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Add columns, indexes and tables, and index the existing services."""
    op.add_column("services", sa.Column("log_url", _text(2048)))
    op.create_index("ix_services_status", "services", ["status", "service_id"])
    op.create_index(
        "ix_services_project_status", "services", ["project_id", "status", "service_id"]
    )
    urls = op.create_table(
        "provider_urls",
        sa.Column("provider_url", _NAME, primary_key=True),
        sa.Column("domain", _NAME, primary_key=True),
        sa.Column("service_id", _ID, primary_key=True),
        **_MYSQL,
    )
    op.create_index("ix_provider_urls_service_id", "provider_urls", ["service_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", _NAME, primary_key=True),
        sa.Column("value", _NAME, primary_key=True),
        sa.Column("fingerprint", _text(64), nullable=False),
        sa.Column("service_id", _ID, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        **_MYSQL,
    )
    op.create_table(
        "documents",
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("content", _DOCUMENT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        **_MYSQL,
    )
    _fill(urls)


def _fill(urls: sa.Table) -> None:
    conn = op.get_bind()
    services = conn.execute(sa.text("SELECT service_id, provider_details FROM services")).all()
    for service_id, details in services:
        found = {
            (entry["provider_url"], entry["domain"])
            for detail in json.loads(details).values()
            for entry in detail["access_urls"]
        }
        for provider_url, domain in sorted(found):
            row = {"provider_url": provider_url, "domain": domain, "service_id": service_id}
            conn.execute(urls.insert(), row)
