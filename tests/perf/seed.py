# SPDX-License-Identifier: Apache-2.0
"""Write many deployed services to SQLite at once, in the form that the store uses."""

import datetime
from typing import Any

import sqlalchemy as sa

from poppy.common import sql
from poppy.model import ids, validation
from poppy.model.operations import Kind, Operation, State
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.storage.sqlalchemy import rows, schema
from tests.perf.common import document


def services(url: str, projects: dict[str, int]) -> dict[str, list[str]]:
    """Add projects with services and return the ids of the services in order.

    Each project's services are adjacent in the tables, so that pages of large and small projects
    have the same locality.
    """
    engine = sql.make_engine(url)
    spec = template()
    made: dict[str, list[str]] = {}
    try:
        with sql.write(engine) as conn:
            for project, count in projects.items():
                made[project] = _project(conn, project, count, spec)
    finally:
        engine.dispose()
    return made


def template() -> dict[str, Any]:
    """Return the document of every service, except for its domain."""
    return validation.service(document("www.example.com"), 3600).to_dict()


def _project(conn: sa.Connection, project: str, count: int, spec: dict[str, Any]) -> list[str]:
    made = [service(project, spec, ids.new()) for _ in range(count)]
    conn.execute(sa.insert(schema.PROJECTS), {"project_id": project, "services": count})
    conn.execute(
        sa.insert(schema.SERVICES),
        [
            {
                "project_id": project,
                "service_id": it.service_id,
                "created_at": it.created_at,
                "revision": 3,
                **rows.changes_of(it),
            }
            for it in made
        ],
    )
    conn.execute(
        sa.insert(schema.DOMAINS),
        [
            {"domain": domain, "project_id": project, "service_id": it.service_id}
            for it in made
            for domain in it.spec.domain_names
        ],
    )
    for it in made:
        rows.add_operation(conn, operation(it))
    return [it.service_id for it in made]


def service(project: str, spec: dict[str, Any], service_id: str) -> Service:
    """Return a deployed service with its own domain."""
    now = datetime.datetime.now(datetime.UTC)
    domain = f"www.{service_id}.example.com"
    detail = ProviderDetail(
        status=ProviderStatus.DEPLOYED,
        provider_service_id=f"mock-{service_id}",
        access_urls=(AccessURL(domain, f"{domain}.mock.example.net", f"{domain}.cdn.example"),),
    )
    return Service(
        project_id=project,
        service_id=service_id,
        spec=ServiceSpec.from_dict({**spec, "domains": [{"domain": domain}]}),
        provider_details={"mock": detail},
        created_at=now,
        updated_at=now,
    )


def operation(deployed: Service) -> Operation:
    """Return the create operation of a service."""
    return Operation(
        project_id=deployed.project_id,
        service_id=deployed.service_id,
        operation_id=ids.new(),
        kind=Kind.CREATE,
        created_at=deployed.created_at,
        updated_at=deployed.updated_at,
        state=State.SUCCEEDED,
        attempt=1,
    )
