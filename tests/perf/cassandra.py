# SPDX-License-Identifier: Apache-2.0
"""Reads from Cassandra, compared with a bare handler and between sizes of the store.

The bare handler is a Pecan application that executes the same prepared statement with a session
of the same configuration and returns the row's JSON. Growth compares keyspaces of one server
with services of one project, which differ only in the number of services.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pecan

from poppy.model import ids
from poppy.model.services import Service
from poppy.storage.cassandra import codec, partition, projections
from poppy.storage.cassandra.session import Call, Database
from tests.perf import growth, seed
from tests.perf.backbone import Backbone, backbone
from tests.perf.common import (
    PROJECT,
    Application,
    Effort,
    Poppy,
    alternate,
    call,
    poppy,
    rate,
)
from tests.perf.results import Goal, Report, Result

SMALL = 100
_COLUMNS = (
    "project_id, service_id, operation_id, writer, clock, queue, claims, spec, provider_details, "
    "disabled, revision, service_created_at, service_updated_at, slot, "
    f"{codec.OPERATION_COLUMNS}"
)
_PUT = (
    f"INSERT INTO services ({_COLUMNS}) "
    f"VALUES ({', '.join(f':{name}' for name in _COLUMNS.split(', '))})"
)
_CHUNK = 500


def run(effort: Effort) -> list[Report]:
    """Measure requests per second, and milliseconds."""
    with backbone() as servers:
        return [_get(servers, effort), *_growth(servers, effort)]


def _get(servers: Backbone, effort: Effort) -> Result:
    requests = effort.pick(300, 100)
    with poppy(servers.options()) as made:
        service_id = _seed(made, SMALL)[SMALL // 2]
        other = _bare(_database(made))
        path, other_path = f"/v1.0/services/{service_id}", f"/services/{service_id}"
        ours, theirs = call(made.application, "GET", path), call(other, "GET", other_path)
        if json.loads(ours)["domains"] != json.loads(theirs)["domains"]:
            raise RuntimeError(f"They answer differently: {ours!r} and {theirs!r}")
        a, b = alternate(
            effort.pick(15, 5),
            lambda: rate(lambda: call(made.application, "GET", path), requests),
            lambda: rate(lambda: call(other, "GET", other_path), requests),
        )
    return Result("get, Cassandra", "req/s", ("Poppy", a), ("bare Pecan", b), Goal(">=", 0.75))


def _bare(database: Database) -> Application:
    session = database._session()
    statement = session.prepare(partition.READ)
    statement.consistency_level = database.levels.plain

    class Root:
        @pecan.expose("json")  # type: ignore[untyped-decorator]
        def services(self, service_id: str) -> dict[str, Any]:
            project = pecan.request.environ["HTTP_X_PROJECT_ID"]
            key = {"project_id": project, "service_id": service_id}
            row = session.execute(statement, key).one()
            if row is None:
                pecan.abort(404)
            spec, details = json.loads(row[5]), json.loads(row[6])
            return {"id": service_id, "project_id": project, **spec, "providers": details}

    application: Application = pecan.make_app(Root())
    return application


def _growth(servers: Backbone, effort: Effort) -> list[Report]:
    sizes = growth.SIZES[: effort.pick(4, 2)]
    with contextlib.ExitStack() as stack:
        asks = {}
        for size in sizes:
            made = stack.enter_context(poppy(servers.options()))
            asks[size] = growth.asks_of(made, _seed(made, size))
        return growth.compared("Cassandra", asks, effort)


def _database(made: Poppy) -> Database:
    store: Any = made.boot.storage
    database: Database = store._database
    return database


def _seed(made: Poppy, count: int) -> list[str]:
    """Write deployed services in the form that the store uses; return their ids."""
    database, template = _database(made), seed.template()
    found = [ids.new() for _ in range(count)]
    for start in range(0, count, _CHUNK):
        chunk = found[start : start + _CHUNK]
        services = [seed.service(PROJECT, template, service_id) for service_id in chunk]
        database.write(write for service in services for write in _writes(service))
    return found


def _writes(service: Service) -> Iterator[Call]:
    clock = codec.now()
    key = {"project_id": service.project_id, "service_id": service.service_id}
    operation = seed.operation(service)
    claims = {name: str(uuid.uuid4()) for name in service.spec.domain_names}
    yield (
        _PUT,
        {
            **key,
            "operation_id": operation.operation_id,
            "writer": uuid.uuid4(),
            "clock": clock,
            "queue": "{}",
            "claims": codec.to_text(claims),
            **codec.service_columns(service),
            **codec.operation_columns(operation, None),
        },
    )
    row = {**key, "document": codec.document_of(service)}
    yield projections.PROJECTS.add(row, clock)
