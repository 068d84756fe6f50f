# SPDX-License-Identifier: Apache-2.0
"""What services take up: domains, and places within their project's limit.

All of these are parts of a caller's transaction.
"""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.common import errors
from poppy.model.services import Service
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
_ADD_PROJECT = sa.insert(schema.PROJECTS).values(services=0)

_ITS_DOMAINS = sa.and_(
    _D.service_id == sa.bindparam("service"), _D.project_id == sa.bindparam("project")
)
_CLAIM = sa.insert(schema.DOMAINS)
_CLAIMED = sa.select(_D.domain).where(_ITS_DOMAINS)
_RELEASE_OTHERS = sa.delete(schema.DOMAINS).where(
    _ITS_DOMAINS, _D.domain.not_in(sa.bindparam("kept", expanding=True))
)
_RELEASE_ALL = sa.delete(schema.DOMAINS).where(_ITS_DOMAINS)


def count_up(conn: sa.Connection, project_id: str, default_limit: int) -> None:
    """Take one of the places that the project has for services.

    The project's row stays locked until the transaction ends, so that another create waits for
    its outcome.

    Raises:
        LimitReached: there is none left.
    """
    parameters = {"project": project_id, "default_limit": default_limit}
    if conn.execute(_COUNT_UP, parameters).rowcount == 1:
        return
    if conn.execute(_READ_LIMIT, parameters).scalar() is None:
        add_project(conn, project_id)
    # Also when the project is there: another transaction may have just brought it.
    if conn.execute(_COUNT_UP, parameters).rowcount == 1:
        return
    limit = conn.execute(_READ_LIMIT, parameters).scalar()
    raise errors.LimitReached(project_id, limit if limit is not None else default_limit)


def count_down(conn: sa.Connection, project_id: str) -> None:
    """Give a place back."""
    conn.execute(_COUNT_DOWN, {"project": project_id})


def claim(conn: sa.Connection, service: Service) -> None:
    """Claim the domains of the service's document that it does not have yet.

    Raises:
        DomainTaken: one is another service's. (Another transaction that claims it at the same
            time is waited for.)
    """
    _insert(conn, service, service.claims - _claimed(conn, service))


def claim_first(conn: sa.Connection, service: Service) -> None:
    """As :func:`claim`, for a service that has no domains yet."""
    _insert(conn, service, service.claims)


def release_unused(conn: sa.Connection, service: Service) -> None:
    """Let go of the domains that the service's document does not name."""
    kept = sorted(service.claims)
    conn.execute(_RELEASE_OTHERS, {**rows.identify(service), "kept": kept})


def release_all(conn: sa.Connection, service: Service) -> None:
    """Let go of every domain of the service."""
    conn.execute(_RELEASE_ALL, rows.identify(service))


def _claimed(conn: sa.Connection, service: Service) -> frozenset[str]:
    return frozenset(conn.execute(_CLAIMED, rows.identify(service)).scalars())


def _insert(conn: sa.Connection, service: Service, domains: Iterable[str]) -> None:
    # One statement for each, so that a failure says which one; in order, see rows.py.
    for domain in sorted(domains):
        try:
            conn.execute(
                _CLAIM,
                {
                    "domain": domain,
                    "project_id": service.project_id,
                    "service_id": service.service_id,
                },
            )
        except sa_exc.IntegrityError as exc:
            raise errors.DomainTaken(domain) from exc


def add_project(conn: sa.Connection, project_id: str) -> None:
    """Make the row of a project, unless it is there."""
    try:
        with conn.begin_nested():
            conn.execute(_ADD_PROJECT, {"project_id": project_id})
    except sa_exc.IntegrityError:
        return  # Another create added it meanwhile, and has committed: it is there now.
