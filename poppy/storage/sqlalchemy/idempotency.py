# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys in SQL. All functions run in the caller's transaction."""

import datetime
from typing import Any

import sqlalchemy as sa

from poppy.common import errors
from poppy.model.services import Service
from poppy.storage.services import IdempotencyKey
from poppy.storage.sqlalchemy import rows, schema

_K = schema.IDEMPOTENCY_KEYS.c

_GET = sa.select(_K.service_id, _K.fingerprint).where(
    _K.project_id == sa.bindparam("project"), _K.value == sa.bindparam("key")
)
_FIND = _GET.where(_K.expires_at > sa.bindparam("now"))
_FORGET = sa.delete(schema.IDEMPOTENCY_KEYS).where(
    _K.project_id == sa.bindparam("project"), _K.expires_at <= sa.bindparam("now")
)


def find(
    conn: sa.Connection, project_id: str, key: IdempotencyKey, now: datetime.datetime
) -> str | None:
    """Implement :meth:`ServiceStore.created_by`. A key that has expired by ``now`` is ignored."""
    row = conn.execute(_FIND, {"project": project_id, "key": key.value, "now": now}).first()
    return None if row is None else _service_of(row, key)


def add(
    conn: sa.Connection, service: Service, key: IdempotencyKey, now: datetime.datetime
) -> None:
    """Store the key of a create, and delete the project's expired keys.

    A concurrent transaction with the same key is waited for: the primary key admits one of them.

    Raises:
        Repeated: the key has already created a service.
        KeyReused: the key was used for a different request.
    """
    conn.execute(_FORGET, {"project": service.project_id, "now": now})
    row = {
        "project_id": service.project_id,
        "value": key.value,
        "fingerprint": key.fingerprint,
        "service_id": service.service_id,
        "expires_at": key.expires_at,
    }
    rows.insert_missing(conn, schema.IDEMPOTENCY_KEYS, row)
    stored = conn.execute(_GET, {"project": service.project_id, "key": key.value}).first()
    if stored is None:
        raise errors.Unavailable("The request is being repeated too fast")
    known = _service_of(stored, key)
    if known != service.service_id:
        raise errors.Repeated(known)


def _service_of(row: Any, key: IdempotencyKey) -> str:
    if row.fingerprint != key.fingerprint:
        raise errors.KeyReused
    service_id: str = row.service_id
    return service_id
