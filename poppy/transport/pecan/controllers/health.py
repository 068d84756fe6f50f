# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/health``: the health of storage, DNS, the job board and the providers."""

from http import HTTPStatus
from typing import ClassVar

from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import PUBLIC, Resource, handler
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply


class Health(Resource):
    """All components."""

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """Return the report; 503 if any component is offline."""
        report = self.manager.health.report()
        online = all(all(parts.values()) for parts in report.values())
        status = HTTPStatus.OK if online else HTTPStatus.SERVICE_UNAVAILABLE
        return reply(views.health(report, request.base_url), status)


class _PartHealth(Resource):
    """One component; ``KIND`` is its kind in the manager's report."""

    KIND: ClassVar[str]

    @handler(PUBLIC)
    def get(self, request: Request, response: Response, name: str) -> Response:
        """Return whether the component is online, with 200 in either case."""
        return reply(views.online(self.manager.health.check(self.KIND, name)))


class StorageHealth(_PartHealth):
    """A storage driver."""

    KIND = "storage"


class DNSHealth(_PartHealth):
    """A DNS driver."""

    KIND = "dns"


class DistributedTaskHealth(_PartHealth):
    """A distributed task driver."""

    KIND = "distributed_task"


class ProviderHealth(_PartHealth):
    """A provider driver."""

    KIND = "provider"
