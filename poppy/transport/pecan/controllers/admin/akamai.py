# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/provider/akamai``: lists, settings and jobs of the Akamai driver."""

from http import HTTPStatus
from typing import ClassVar

from poppy.manager import akamai
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.request import Request, document
from poppy.transport.pecan.response import Response, reply


class Migration(Resource):
    """Migration of domains to other certificates."""

    @handler("cdn:admin_akamai:migrate")
    def post(self, request: Request, response: Response) -> Response:
        """Move a domain to another certificate. 202."""
        body = document(request, self.settings.max_body_size)
        self.manager.akamai.migrate(body, request.request_id)
        return reply(status=HTTPStatus.ACCEPTED)


class BackgroundJob(Resource):
    """Background jobs."""

    @handler("cdn:admin_akamai:run")
    def post(self, request: Request, response: Response) -> Response:
        """Run a job. 202 with the domains that were sent and those that were ignored."""
        body = document(request, self.settings.max_body_size)
        sent, ignored = self.manager.akamai.run(body, request.request_id)
        return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


class _Queue(Resource):
    """A list of domains; ``NAME`` is its name in the manager."""

    NAME: ClassVar[str]

    @handler("cdn:admin_akamai:get_queue")
    def get(self, request: Request, response: Response) -> Response:
        """Return the list."""
        return reply(self.manager.akamai.queue(self.NAME))

    @handler("cdn:admin_akamai:update_queue")
    def put(self, request: Request, response: Response) -> Response:
        """Replace the list, and return the new list and the removed entries."""
        body = document(request, self.settings.max_body_size)
        queue, deleted = self.manager.akamai.put_queue(self.NAME, body)
        return reply({"queue": queue, "deleted": deleted})


class SanMapping(_Queue):
    """Domains with certificates to check."""

    NAME = akamai.SAN_MAPPING


class RetryList(_Queue):
    """Domains to reorder certificates for."""

    NAME = akamai.RETRY_LIST

    @handler("cdn:admin_akamai:retry")
    def post(self, request: Request, response: Response) -> Response:
        """Reorder the certificates. 202 with the domains that were sent and ignored."""
        sent, ignored = self.manager.akamai.retry(request.request_id)
        return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


class _Config(Resource):
    """Settings of a certificate of type ``CERT_TYPE``."""

    CERT_TYPE: ClassVar[str]

    @handler("cdn:admin_akamai:get_config")
    def get(self, request: Request, response: Response, name: str) -> Response:
        """Return the settings."""
        return reply(self.manager.akamai.config(self.CERT_TYPE, name))

    @handler("cdn:admin_akamai:update_config")
    def post(self, request: Request, response: Response, name: str) -> Response:
        """Change some of the settings. 202 with all settings."""
        body = document(request, self.settings.max_body_size)
        changed = self.manager.akamai.put_config(self.CERT_TYPE, name, body)
        return reply(changed, HTTPStatus.ACCEPTED)


class SanConfig(_Config):
    """Settings of a SAN certificate, or the limit of domains per SAN certificate."""

    CERT_TYPE = "san"


class SniConfig(_Config):
    """Settings of an SNI certificate."""

    CERT_TYPE = "sni"
