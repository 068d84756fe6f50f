# SPDX-License-Identifier: Apache-2.0
"""Limits, admin searches and documents in SQL."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.common import errors
from poppy.model.services import Service
from poppy.storage import queries
from poppy.storage.sqlalchemy import claims, rows, schema
from poppy.storage.sqlalchemy.database import Database

_P = schema.PROJECTS.c
_S = schema.SERVICES.c
_D = schema.DOMAINS.c
_U = schema.PROVIDER_URLS.c
_C = schema.DOCUMENTS.c

_GET_LIMIT = sa.select(_P.service_limit).where(_P.project_id == sa.bindparam("project"))
_COUNT_SERVICES = sa.select(_P.services).where(_P.project_id == sa.bindparam("project"))
_SET_LIMIT = (
    sa.update(schema.PROJECTS)
    .where(_P.project_id == sa.bindparam("project"))
    .values(service_limit=sa.bindparam("service_limit_now"))
)
_BY_STATUS = (
    sa.select(_S.project_id, _S.service_id)
    .where(_S.status == sa.bindparam("shelf"), _S.service_id > sa.bindparam("marker"))
    .order_by(_S.service_id)
    .limit(sa.bindparam("page"))
)
_COUNT = sa.select(sa.func.count()).select_from(
    sa.select(_S.service_id)
    .where(_S.status == sa.bindparam("shelf"))
    .limit(sa.bindparam("page"))
    .subquery()
)
_BY_CLAIM = (
    sa.select(schema.SERVICES)
    .join(schema.DOMAINS, sa.and_(_D.project_id == _S.project_id, _D.service_id == _S.service_id))
    .where(_D.domain == sa.bindparam("claim"))
)
_DOMAINS_AT = (
    sa.select(_U.domain)
    .distinct()
    .where(_U.provider_url == sa.bindparam("url"), _U.domain > sa.bindparam("marker"))
    .order_by(_U.domain)
    .limit(sa.bindparam("page"))
)
_URLS = sa.select(_U.provider_url, _U.domain).where(_U.service_id == sa.bindparam("service"))
_ADD_URL = sa.insert(schema.PROVIDER_URLS)
_DROP_URL = sa.delete(schema.PROVIDER_URLS).where(
    _U.provider_url == sa.bindparam("url"),
    _U.domain == sa.bindparam("its_domain"),
    _U.service_id == sa.bindparam("service"),
)
_GET_DOCUMENT = sa.select(_C.content, _C.version).where(_C.name == sa.bindparam("document"))
_ADD_DOCUMENT = sa.insert(schema.DOCUMENTS)
_PUT_DOCUMENT = (
    sa.update(schema.DOCUMENTS)
    .where(_C.name == sa.bindparam("document"), _C.version == sa.bindparam("as_read"))
    .values(content=sa.bindparam("content_now"), version=_C.version + 1)
)


class ProjectStore(queries.ProjectStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get_limit(self, project_id: str) -> int | None:
        """Read the project's row."""
        with self._database.read() as conn:
            found: int | None = conn.execute(_GET_LIMIT, {"project": project_id}).scalar()
        return found

    def count(self, project_id: str) -> int:
        """Read the project's row."""
        with self._database.read() as conn:
            found: int | None = conn.execute(_COUNT_SERVICES, {"project": project_id}).scalar()
        return found or 0

    def set_limit(self, project_id: str, limit: int) -> None:
        """Write the project's row, adding it if necessary."""
        parameters = {"project": project_id, "service_limit_now": limit}

        def work(conn: sa.Connection) -> None:
            if conn.execute(_SET_LIMIT, parameters).rowcount == 0:
                claims.add_project(conn, project_id)
                conn.execute(_SET_LIMIT, parameters)

        self._database.write(work)


class QueryStore(queries.QueryStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_status(
        self, status_bucket: str, marker: str | None, limit: int
    ) -> Sequence[queries.Found]:
        """Read a slice of the index by status and id."""
        parameters = {"shelf": status_bucket, "marker": marker or "", "page": limit}
        with self._database.read() as conn:
            return [queries.Found(*row) for row in conn.execute(_BY_STATUS, parameters)]

    def count(self, status_bucket: str, limit: int) -> int:
        """Count entries in the index by status, up to the limit."""
        with self._database.read() as conn:
            found: int = conn.execute(_COUNT, {"shelf": status_bucket, "page": limit}).scalar_one()
        return found

    def by_claim(self, claim: str) -> Service:
        """Read the claim and its service by their primary keys."""
        with self._database.read() as conn:
            row = conn.execute(_BY_CLAIM, {"claim": claim}).first()
        if row is None:
            raise errors.NotFound(f"No service claims {claim}")
        return rows.to_service(row)

    def domains_at(self, provider_url: str, marker: str | None, limit: int) -> Sequence[str]:
        """Read a slice of the primary key's index."""
        parameters = {"url": provider_url, "marker": marker or "", "page": limit}
        with self._database.read() as conn:
            return list(conn.execute(_DOMAINS_AT, parameters).scalars())


def put_urls(conn: sa.Connection, service: Service) -> None:
    """Index a service by its provider names, in the caller's transaction."""
    known = {tuple(row) for row in conn.execute(_URLS, rows.identify(service))}
    for url, domain in sorted(known - service.provider_urls):
        parameters = {"url": url, "its_domain": domain, "service": service.service_id}
        conn.execute(_DROP_URL, parameters)
    for url, domain in sorted(service.provider_urls - known):
        row = {"provider_url": url, "domain": domain, "service_id": service.service_id}
        conn.execute(_ADD_URL, row)


class DocumentStore(queries.DocumentStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> queries.Document:
        """Read a document by primary key."""
        with self._database.read() as conn:
            row = conn.execute(_GET_DOCUMENT, {"document": name}).first()
        return queries.Document(None, 0) if row is None else queries.Document(*row)

    def put(self, name: str, content: Any, version: int) -> None:
        """Run one conditional statement. The primary key decides between concurrent creates."""

        def work(conn: sa.Connection) -> None:
            if version == 0:
                try:
                    conn.execute(_ADD_DOCUMENT, {"name": name, "content": content, "version": 1})
                except sa_exc.IntegrityError as exc:
                    raise _changed(name) from exc
                return
            parameters = {"document": name, "as_read": version, "content_now": content}
            if conn.execute(_PUT_DOCUMENT, parameters).rowcount != 1:
                raise _changed(name)

        self._database.write(work)


def _changed(name: str) -> errors.Changed:
    return errors.Changed(f"{name} was changed by another request")
