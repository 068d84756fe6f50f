# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/health``: which of the parts answer."""

from http import HTTPStatus
from typing import ClassVar

from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import PUBLIC, Resource, handler
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply


class Health(Resource):
    """All parts."""

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """The report; 503 when any part is down."""
        report = self.manager.health.report()
        online = all(all(parts.values()) for parts in report.values())
        status = HTTPStatus.OK if online else HTTPStatus.SERVICE_UNAVAILABLE
        return reply(views.health(report, request.base_url), status)


class _PartHealth(Resource):
    """One part; ``KIND`` is what the manager calls its kind."""

    KIND: ClassVar[str]

    @handler(PUBLIC)
    def get(self, request: Request, response: Response, name: str) -> Response:
        """Whether it answers: 200 in either case."""
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
