# SPDX-License-Identifier: Apache-2.0
"""Run migrations on the connection that the caller opened, inside its transaction and lock."""

from alembic import context

from poppy.storage.sqlalchemy import schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=schema.METADATA
)
with context.begin_transaction():
    context.run_migrations()
