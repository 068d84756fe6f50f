# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/provider/akamai``: lists, settings and jobs of Akamai's driver."""

from http import HTTPStatus
from typing import ClassVar

from poppy.manager import akamai
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.request import Request, document
from poppy.transport.pecan.response import Response, reply


class Migration(Resource):
    """Moves of domains to other certificates."""

    @handler("cdn:admin_akamai:migrate")
    def post(self, request: Request, response: Response) -> Response:
        """Accepted."""
        body = document(request, self.settings.max_body_size)
        self.manager.akamai.migrate(body, request.request_id)
        return reply(status=HTTPStatus.ACCEPTED)


class BackgroundJob(Resource):
    """Jobs."""

    @handler("cdn:admin_akamai:run")
    def post(self, request: Request, response: Response) -> Response:
        """Accepted for what has been sent."""
        body = document(request, self.settings.max_body_size)
        sent, ignored = self.manager.akamai.run(body, request.request_id)
        return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


class _Queue(Resource):
    """A list; ``NAME`` is what the manager calls it."""

    NAME: ClassVar[str]

    @handler("cdn:admin_akamai:get_queue")
    def get(self, request: Request, response: Response) -> Response:
        """As it is."""
        return reply(self.manager.akamai.queue(self.NAME))

    @handler("cdn:admin_akamai:update_queue")
    def put(self, request: Request, response: Response) -> Response:
        """Another one in its place."""
        body = document(request, self.settings.max_body_size)
        queue, deleted = self.manager.akamai.put_queue(self.NAME, body)
        return reply({"queue": queue, "deleted": deleted})


class SanMapping(_Queue):
    """Domains whose certificate is to be looked at."""

    NAME = akamai.SAN_MAPPING


class RetryList(_Queue):
    """Domains whose certificate is to be ordered again."""

    NAME = akamai.RETRY_LIST

    @handler("cdn:admin_akamai:retry")
    def post(self, request: Request, response: Response) -> Response:
        """Order them again, as far as that is possible."""
        sent, ignored = self.manager.akamai.retry(request.request_id)
        return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


class _Config(Resource):
    """Settings of a certificate; ``CERT_TYPE`` says of which type."""

    CERT_TYPE: ClassVar[str]

    @handler("cdn:admin_akamai:get_config")
    def get(self, request: Request, response: Response, name: str) -> Response:
        """As they are."""
        return reply(self.manager.akamai.config(self.CERT_TYPE, name))

    @handler("cdn:admin_akamai:update_config")
    def post(self, request: Request, response: Response, name: str) -> Response:
        """Some of them changed."""
        body = document(request, self.settings.max_body_size)
        changed = self.manager.akamai.put_config(self.CERT_TYPE, name, body)
        return reply(changed, HTTPStatus.ACCEPTED)


class SanConfig(_Config):
    """Of a SAN certificate, or how many domains each may have."""

    CERT_TYPE = "san"


class SniConfig(_Config):
    """Of an SNI certificate."""

    CERT_TYPE = "sni"
