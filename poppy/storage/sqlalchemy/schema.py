# SPDX-License-Identifier: Apache-2.0
"""The tables, as this version of Poppy uses them.

A change here needs a migration (``migrations/versions``) and its revision in :data:`REVISIONS`. A
test compares both with the result of the migrations.
"""

import datetime
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator

from poppy.model.edge_traffic import Counts

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
"""All migrations, oldest first. Listed here so that a start need not import Alembic."""

HEAD = REVISIONS[-1]

OLDEST = "0010"
"""The oldest revision whose code works on this schema (:mod:`poppy.storage.compatibility`)."""

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class Instant(TypeDecorator[datetime.datetime]):
    """A point in time, as microseconds since 1970 in UTC.

    The databases' date types differ in precision and in their treatment of time zones. An integer
    compares and rounds the same everywhere.
    """

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: sa.Dialect) -> Any:
        """Convert to the stored number. A datetime without a time zone raises TypeError."""
        return None if value is None else (value - EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime.datetime | None:
        """Convert from the stored number, to UTC."""
        return None if value is None else EPOCH + datetime.timedelta(microseconds=value)


class Document(TypeDecorator[dict[str, Any]]):
    """A JSON document as text, opaque to SQL.

    All non-ASCII characters are escaped, so that neither the database's character set nor a lone
    surrogate from a client can make a write fail.
    """

    impl = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: sa.Dialect) -> str:
        """Serialize the document."""
        return json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Parse the document."""
        return json.loads(value)


def _text(length: int) -> sa.types.TypeEngine[str]:
    # Compared byte by byte, on PostgreSQL by this collation and on MySQL by the table's: the order
    # of ids and the identity of domains must be the same everywhere.
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAME = _text(255)
_URL = _text(2048)
_ID = _text(36)
_WORD = _text(32)
_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}

METADATA = sa.MetaData()

FLAVORS = sa.Table(
    "flavors",
    METADATA,
    sa.Column("flavor_id", _NAME, primary_key=True),
    sa.Column("document", Document, nullable=False),
    **_MYSQL,
)

PROJECTS = sa.Table(
    "projects",
    METADATA,
    sa.Column("project_id", _NAME, primary_key=True),
    sa.Column("services", sa.Integer, nullable=False),
    sa.Column("service_limit", sa.Integer),
    **_MYSQL,
)
"""How many services a project has, and its own limit, if it does not use the default."""

SERVICES = sa.Table(
    "services",
    METADATA,
    sa.Column("project_id", _NAME, primary_key=True),
    sa.Column("service_id", _ID, primary_key=True),
    sa.Column("spec", Document, nullable=False),
    sa.Column("provider_details", Document, nullable=False),
    sa.Column("status", _WORD, nullable=False),
    sa.Column(
        "flavor_id",
        _NAME,
        sa.ForeignKey("flavors.flavor_id", name="fk_services_flavor", ondelete="RESTRICT"),
        nullable=False,
        index=True,
    ),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Column("log_url", _URL),
    sa.Index("ix_services_status", "status", "service_id"),
    sa.Index("ix_services_project_status", "project_id", "status", "service_id"),
    **_MYSQL,
)

DOMAINS = sa.Table(
    "domains",
    METADATA,
    sa.Column("domain", _NAME, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    # Empty for a released domain that is kept for its former project.
    sa.Column("service_id", _ID, nullable=False, index=True),
    sa.Column("released_at", Instant, index=True),
    sa.Column("pending", sa.Boolean, nullable=False, server_default=sa.false()),
    **_MYSQL,
)

OPERATIONS = sa.Table(
    "operations",
    METADATA,
    sa.Column("service_id", _ID, primary_key=True),
    sa.Column("operation_id", _ID, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("kind", _WORD, nullable=False),
    sa.Column("state", _WORD, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("priority", sa.SmallInteger, nullable=False, server_default="1"),
    sa.Column("next_attempt_at", Instant),
    sa.Column("runner", _NAME),
    sa.Column("progress", Document, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    # To find a service's unfinished operations, however many it has had.
    sa.Index("ix_operations_state", "service_id", "state"),
    # To find all services' operations with a state, however many there are.
    sa.Index("ix_operations_listing", "state", "created_at", "operation_id"),
    **_MYSQL,
)
sa.Index(
    "ix_operations_due",
    OPERATIONS.c.next_attempt_at,
    OPERATIONS.c.operation_id,
    # Excludes finished operations, on databases with partial indexes.
    sqlite_where=OPERATIONS.c.next_attempt_at.is_not(None),
    postgresql_where=OPERATIONS.c.next_attempt_at.is_not(None),
)
# To find each project's waiting operations, however many others have.
sa.Index(
    "ix_operations_turns",
    OPERATIONS.c.project_id,
    OPERATIONS.c.priority,
    OPERATIONS.c.next_attempt_at,
    OPERATIONS.c.operation_id,
    sqlite_where=OPERATIONS.c.next_attempt_at.is_not(None),
    postgresql_where=OPERATIONS.c.next_attempt_at.is_not(None),
)

WORKERS = sa.Table(
    "workers",
    METADATA,
    sa.Column("worker_id", _ID, primary_key=True),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("document", Document, nullable=False),
    **_MYSQL,
)

BREAKERS = sa.Table(
    "breakers",
    METADATA,
    sa.Column("driver", _NAME, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("document", Document, nullable=False),
    **_MYSQL,
)

ARCHIVE = sa.Table(
    "services_archive",
    METADATA,
    sa.Column("project_id", _NAME, primary_key=True),
    sa.Column("service_id", _ID, primary_key=True),
    sa.Column("document", Document, nullable=False),
    sa.Column("deleted_at", Instant, nullable=False),
    **_MYSQL,
)

PROVIDER_URLS = sa.Table(
    "provider_urls",
    METADATA,
    sa.Column("provider_url", _NAME, primary_key=True),
    sa.Column("domain", _NAME, primary_key=True),
    sa.Column("service_id", _ID, primary_key=True, index=True),
    **_MYSQL,
)
"""The domains that each provider name serves, derived from ``provider_details``."""

IDEMPOTENCY_KEYS = sa.Table(
    "idempotency_keys",
    METADATA,
    sa.Column("project_id", _NAME, primary_key=True),
    sa.Column("value", _NAME, primary_key=True),
    sa.Column("fingerprint", _text(64), nullable=False),
    sa.Column("service_id", _ID, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    **_MYSQL,
)

DOCUMENTS = sa.Table(
    "documents",
    METADATA,
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("content", Document, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    **_MYSQL,
)

EDGE_LOG = sa.Table(
    "edge_log",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("head", sa.BigInteger, nullable=False),
    sa.Column("floor", sa.BigInteger, nullable=False),
    **_MYSQL,
)
"""One row: the last revision, and the last one that was pruned. A writer locks it first."""

EDGE_CHANGES = sa.Table(
    "edge_changes",
    METADATA,
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("service_id", _text(64), nullable=False),
    # That of a purge; empty for the service's program.
    sa.Column("reference", _NAME, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("prunable", sa.Boolean, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    # The program, or a purge's URL; null for a withdrawal, or a purge of everything.
    sa.Column("content", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")),
    sa.Column("hard", sa.Boolean, nullable=False),
    sa.UniqueConstraint("service_id", "reference", name="uq_edge_changes_reference"),
    sa.Index("ix_edge_changes_prunable", "prunable", "at"),
    **_MYSQL,
)

EDGE_NODES = sa.Table(
    "edge_nodes",
    METADATA,
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("pool", _NAME, nullable=False),
    sa.Column("drained", sa.Boolean, nullable=False),
    sa.Column("token", _text(64)),
    sa.Column("join_token", _text(64)),
    sa.Column("join_until", Instant),
    sa.Column("seen_at", Instant),
    sa.Column("instance", _NAME),
    sa.Column("report", Document, nullable=False),
    # Separated by spaces; null in rows of earlier versions.
    sa.Column("addresses", sa.String(1000)),
    sa.UniqueConstraint("token", name="uq_edge_nodes_token"),
    **_MYSQL,
)

EDGE_ACCOUNTS = sa.Table(
    "edge_accounts",
    METADATA,
    # The SHA-256 of the URL of the authority's directory.
    sa.Column("directory", _text(64), primary_key=True),
    sa.Column("account", Document, nullable=False),
    **_MYSQL,
)

EDGE_ORDERS = sa.Table(
    "edge_orders",
    METADATA,
    sa.Column("service_id", _text(64), primary_key=True),
    sa.Column("order_id", _text(64), primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    # The state of an issuance, with the sealed private key and the certificate.
    sa.Column("content", Document, nullable=False),
    sa.Column("due_at", Instant),
    sa.Index("ix_edge_orders_due", "due_at"),
    **_MYSQL,
)

EDGE_EVENTS = sa.Table(
    "edge_events",
    METADATA,
    sa.Column("event_id", _text(64), primary_key=True),
    # The SHA-256 of what is limited: the orders at an authority, say.
    sa.Column("key", _text(64), nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Index("ix_edge_events_key", "key", "at"),
    sa.Index("ix_edge_events_at", "at"),
    **_MYSQL,
)

EDGE_TRAFFIC = sa.Table(
    "edge_traffic",
    METADATA,
    sa.Column("source", _text(64), primary_key=True),
    # Both are empty for all domains of the node.
    sa.Column("service_id", _text(64), primary_key=True),
    sa.Column("domain", _NAME, primary_key=True),
    sa.Column("hour", Instant, nullable=False),
    sa.Column("node", _NAME, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in Counts._fields),
    sa.Index("ix_edge_traffic_domain", "service_id", "domain", "hour"),
    sa.Index("ix_edge_traffic_hour", "hour"),
    **_MYSQL,
)
"""The sums of each node, hour and domain. Their columns have the names of Counts."""

EDGE_COUNTRIES = sa.Table(
    "edge_countries",
    METADATA,
    sa.Column("source", _text(64), primary_key=True),
    sa.Column("service_id", _text(64), primary_key=True),
    sa.Column("domain", _NAME, primary_key=True),
    sa.Column("country", _text(2), primary_key=True),
    sa.Column("hour", Instant, nullable=False),
    sa.Column("node", _NAME, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in Counts._fields),
    sa.Index("ix_edge_countries_domain", "service_id", "domain", "hour"),
    sa.Index("ix_edge_countries_hour", "hour"),
    **_MYSQL,
)
"""The parts of these sums by country."""
