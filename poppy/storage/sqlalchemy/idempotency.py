# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys in SQL. All functions run in the caller's transaction."""

import datetime

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.common import errors
from poppy.model.services import Service
from poppy.storage.services import IdempotencyKey
from poppy.storage.sqlalchemy import schema

_K = schema.IDEMPOTENCY_KEYS.c

_FIND = sa.select(_K.service_id, _K.fingerprint).where(
    _K.project_id == sa.bindparam("project"),
    _K.value == sa.bindparam("key"),
    _K.expires_at > sa.bindparam("now"),
)
_ADD = sa.insert(schema.IDEMPOTENCY_KEYS)
_FORGET = sa.delete(schema.IDEMPOTENCY_KEYS).where(
    _K.project_id == sa.bindparam("project"), _K.expires_at <= sa.bindparam("now")
)


def find(
    conn: sa.Connection, project_id: str, key: IdempotencyKey, now: datetime.datetime
) -> str | None:
    """Implement :meth:`ServiceStore.created_by`. A key that has expired by ``now`` is ignored."""
    row = conn.execute(_FIND, {"project": project_id, "key": key.value, "now": now}).first()
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise errors.KeyReused
    service_id: str = row.service_id
    return service_id


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
    try:
        with conn.begin_nested():
            conn.execute(_ADD, row)
    except sa_exc.IntegrityError as exc:
        known = find(conn, service.project_id, key, now)
        if known is None:
            raise errors.Unavailable("The request is being repeated too fast") from exc
        raise errors.Repeated(known) from exc
