# SPDX-License-Identifier: Apache-2.0
"""Many deployed services at once, written as the store itself would have written them."""

import datetime
from typing import Any

import sqlalchemy as sa

from poppy.common import sql
from poppy.model import ids, validation
from poppy.model.operations import Kind, Operation, State
from poppy.model.services import AccessURL, ProviderDetail, ProviderStatus, Service, ServiceSpec
from poppy.storage.sqlalchemy import rows, schema
from tests.perf.common import document


def services(url: str, projects: dict[str, int]) -> dict[str, list[str]]:
    """Add projects with so many services each; gives the ids of the services, in order.

    Each project's services lie together in the tables, so that pages of large and of small
    projects have as good a locality.
    """
    engine = sql.make_engine(url)
    spec = validation.service(document("www.example.com"), 3600).to_dict()
    made: dict[str, list[str]] = {}
    try:
        with sql.write(engine) as conn:
            for project, count in projects.items():
                made[project] = _project(conn, project, count, spec)
    finally:
        engine.dispose()
    return made


def _project(conn: sa.Connection, project: str, count: int, spec: dict[str, Any]) -> list[str]:
    now = datetime.datetime.now(datetime.UTC)
    made = [_service(project, spec, now) for _ in range(count)]
    conn.execute(sa.insert(schema.PROJECTS), {"project_id": project, "services": count})
    conn.execute(
        sa.insert(schema.SERVICES),
        [
            {
                "project_id": project,
                "service_id": service.service_id,
                "created_at": now,
                "revision": 3,
                **rows.changes_of(service),
            }
            for service in made
        ],
    )
    conn.execute(
        sa.insert(schema.DOMAINS),
        [
            {"domain": domain, "project_id": project, "service_id": service.service_id}
            for service in made
            for domain in service.spec.domain_names
        ],
    )
    for service in made:
        rows.add_operation(conn, _operation(service))
    return [service.service_id for service in made]


def _service(project: str, spec: dict[str, Any], now: datetime.datetime) -> Service:
    service_id = ids.new()
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


def _operation(service: Service) -> Operation:
    return Operation(
        project_id=service.project_id,
        service_id=service.service_id,
        operation_id=ids.new(),
        kind=Kind.CREATE,
        created_at=service.created_at,
        updated_at=service.updated_at,
        state=State.SUCCEEDED,
        attempt=1,
    )
