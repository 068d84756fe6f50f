# SPDX-License-Identifier: Apache-2.0
"""A minimal GET of a service: Pecan, a SELECT by primary key, JSON.

``python -m tests.perf.bare URL PORT`` serves it with Waitress.
"""

import sys
from typing import Any

import pecan
import sqlalchemy as sa
import waitress

from poppy.common import sql
from poppy.storage.sqlalchemy import schema
from tests.perf.common import Application

#: The same number as in poppy-server.
THREADS = 8

_S = schema.SERVICES.c
_GET = sa.select(schema.SERVICES).where(
    _S.project_id == sa.bindparam("project"), _S.service_id == sa.bindparam("service")
)


def make(url: str) -> Application:
    """Return the application with its own engine, configured like the store's."""
    engine = sql.make_engine(url)

    class Root:
        @pecan.expose("json")  # type: ignore[untyped-decorator]
        def services(self, service_id: str) -> dict[str, Any]:
            project = pecan.request.environ["HTTP_X_PROJECT_ID"]
            with engine.connect() as conn:
                row = conn.execute(_GET, {"project": project, "service": service_id}).first()
            if row is None:
                pecan.abort(404)
            return {
                "id": row.service_id,
                "project_id": row.project_id,
                "status": row.status,
                **row.spec,
                "providers": row.provider_details,
            }

    application: Application = pecan.make_app(Root())
    return application


def main(url: str, port: str) -> None:
    """Serve until killed."""
    waitress.serve(make(url), host="127.0.0.1", port=int(port), threads=THREADS)


if __name__ == "__main__":
    main(*sys.argv[1:])
