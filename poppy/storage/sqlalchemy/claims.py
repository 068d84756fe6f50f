# SPDX-License-Identifier: Apache-2.0
"""Claims of services: domains, and places within their project's limit.

All functions run in the caller's transaction.
"""

import datetime
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.common import errors
from poppy.common.domains import Policy
from poppy.model.services import Service
from poppy.storage import domains
from poppy.storage.sqlalchemy import rows, schema

_P = schema.PROJECTS.c
_D = schema.DOMAINS.c

_THIS_PROJECT = _P.project_id == sa.bindparam("project")
_LIMIT = sa.func.coalesce(_P.service_limit, sa.bindparam("default_limit", type_=sa.Integer))
_COUNT_UP = (
    sa.update(schema.PROJECTS)
    .where(_THIS_PROJECT, _P.services < _LIMIT)
    .values(services=_P.services + 1)
)
_COUNT_DOWN = (
    sa.update(schema.PROJECTS)
    .where(_THIS_PROJECT, _P.services > 0)
    .values(services=_P.services - 1)
)
_READ_LIMIT = sa.select(_LIMIT).where(_THIS_PROJECT)

_ITS_DOMAINS = sa.and_(
    _D.service_id == sa.bindparam("service"), _D.project_id == sa.bindparam("project")
)
_CLAIM = sa.insert(schema.DOMAINS)
_CLAIMED = sa.select(_D.domain).where(_ITS_DOMAINS)
_KNOWN = sa.select(schema.DOMAINS).where(_D.domain.in_(sa.bindparam("wanted", expanding=True)))
_RELEASED = ""
"""The ``service_id`` of a released domain."""
_TAKE = sa.update(schema.DOMAINS).where(
    _D.domain == sa.bindparam("its_name"),
    _D.service_id == _RELEASED,
    _D.released_at == sa.bindparam("as_read"),
)
_OTHERS = _D.domain.not_in(sa.bindparam("kept", expanding=True))
_FORGET = sa.delete(schema.DOMAINS).where(_ITS_DOMAINS)
_FORGET_PENDING = _FORGET.where(_D.pending == sa.true())
_RELEASE = (
    sa.update(schema.DOMAINS)
    .where(_ITS_DOMAINS)
    .values(service_id=_RELEASED, released_at=sa.bindparam("at"))
)


def count_up(conn: sa.Connection, project_id: str, default_limit: int) -> None:
    """Take one of the project's places for services.

    The project's row stays locked until the transaction ends, so that a concurrent create waits
    for the outcome.

    Raises:
        LimitReached: no place is left.
    """
    parameters = {"project": project_id, "default_limit": default_limit}
    if conn.execute(_COUNT_UP, parameters).rowcount == 1:
        return
    if conn.execute(_READ_LIMIT, parameters).scalar() is None:
        add_project(conn, project_id)
    # Retry even if the project exists: another transaction may have just added it.
    if conn.execute(_COUNT_UP, parameters).rowcount == 1:
        return
    limit = conn.execute(_READ_LIMIT, parameters).scalar()
    raise errors.LimitReached(project_id, limit if limit is not None else default_limit)


def count_down(conn: sa.Connection, project_id: str) -> None:
    """Release a place."""
    conn.execute(_COUNT_DOWN, {"project": project_id})


def claim(conn: sa.Connection, service: Service, policy: Policy, at: datetime.datetime) -> None:
    """Claim the domains of the service's document that it has not claimed yet.

    Args:
        at: when the claim was requested.

    Raises:
        DomainTaken: another service has claimed one. (A concurrent transaction that claims it is
            waited for.)
        DomainReleased: one is in quarantine for another project.
    """
    _insert(conn, service, service.claims - _claimed(conn, service), policy, at)


def claim_first(
    conn: sa.Connection, service: Service, policy: Policy, at: datetime.datetime
) -> None:
    """Claim the domains of a service that has none yet; see :func:`claim`."""
    _insert(conn, service, service.claims, policy, at)


def release_unused(
    conn: sa.Connection, service: Service, policy: Policy, at: datetime.datetime
) -> None:
    """Release the domains that the service's document no longer names."""
    parameters = {**rows.identify(service), "kept": sorted(service.claims), "at": at}
    if domains.is_kept(policy, service.project_id):
        conn.execute(_FORGET_PENDING.where(_OTHERS), parameters)
        conn.execute(_RELEASE.where(_OTHERS), parameters)
    else:
        conn.execute(_FORGET.where(_OTHERS), parameters)


def release_all(
    conn: sa.Connection, service: Service, policy: Policy, at: datetime.datetime
) -> None:
    """Release all domains of the service."""
    parameters = {**rows.identify(service), "at": at}
    if domains.is_kept(policy, service.project_id):
        conn.execute(_FORGET_PENDING, parameters)
        conn.execute(_RELEASE, parameters)
    else:
        conn.execute(_FORGET, parameters)


def to_claim(row: sa.Row[Any]) -> domains.Claim:
    """Convert a row of ``domains``."""
    return domains.Claim(
        row.domain,
        row.project_id,
        None if row.service_id == _RELEASED else row.service_id,
        row.pending,
        row.released_at,
    )


def _claimed(conn: sa.Connection, service: Service) -> frozenset[str]:
    return frozenset(conn.execute(_CLAIMED, rows.identify(service)).scalars())


def _insert(
    conn: sa.Connection,
    service: Service,
    wanted: Iterable[str],
    policy: Policy,
    at: datetime.datetime,
) -> None:
    # One statement per domain, so that a failure names it; in sorted order, see rows.py.
    names = sorted(wanted)
    if not names:
        return
    known = {row.domain: to_claim(row) for row in conn.execute(_KNOWN, {"wanted": names})}
    for name in names:
        row = {
            "project_id": service.project_id,
            "service_id": service.service_id,
            "pending": domains.awaits_proof(policy, service, name),
        }
        if name in known:
            _take(conn, known[name], row, policy, at)
            continue
        try:
            conn.execute(_CLAIM, {"domain": name, **row})
        except sa_exc.IntegrityError as exc:
            raise errors.DomainTaken(name) from exc


def _take(
    conn: sa.Connection,
    known: domains.Claim,
    row: dict[str, Any],
    policy: Policy,
    at: datetime.datetime,
) -> None:
    """Claim a domain that has a row, held or released."""
    if known.released_at is None:
        raise errors.DomainTaken(known.domain)
    if policy.free_at(known.released_at) > at:
        if known.project_id != row["project_id"]:
            raise errors.DomainReleased(known.domain, policy.free_at(known.released_at))
        # An earlier proof remains valid.
        row = {**row, "pending": False}
    parameters = {"its_name": known.domain, "as_read": known.released_at}
    if conn.execute(_TAKE.values(released_at=None, **row), parameters).rowcount != 1:
        raise errors.DomainTaken(known.domain)


def add_project(conn: sa.Connection, project_id: str) -> None:
    """Add a project's row unless it exists."""
    rows.insert_missing(conn, schema.PROJECTS, {"project_id": project_id, "services": 0})
