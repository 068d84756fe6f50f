# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/provider/akamai``: lists, settings and jobs of the Akamai driver."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from poppy.extensions.akamai.manager import RETRY_LIST, SAN_MAPPING, AkamaiManager
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.request import Request, document
from poppy.transport.pecan.response import Response, reply


class _Resource(Resource):
    @property
    def akamai(self) -> AkamaiManager:
        """The lists, settings and jobs."""
        found: AkamaiManager = self.manager.extensions["akamai"].manager
        return found


class Migration(_Resource):
    """Migration of domains to other certificates."""

    @handler("cdn:admin_akamai:migrate")
    def post(self, request: Request, response: Response) -> Response:
        """Move a domain to another certificate. 202."""
        body = document(request, self.settings.max_body_size)
        self.akamai.migrate(body, request.request_id)
        return reply(status=HTTPStatus.ACCEPTED)


class BackgroundJob(_Resource):
    """Background jobs."""

    @handler("cdn:admin_akamai:run")
    def post(self, request: Request, response: Response) -> Response:
        """Run a job. 202 with the domains that were sent and those that were ignored."""
        body = document(request, self.settings.max_body_size)
        sent, ignored = self.akamai.run(body, request.request_id)
        return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


class _Queue(_Resource):
    """A list of domains; ``NAME`` is its name in the manager."""

    NAME: ClassVar[str]

    @handler("cdn:admin_akamai:get_queue")
    def get(self, request: Request, response: Response) -> Response:
        """Return the list."""
        return reply(self.akamai.queue(self.NAME))

    @handler("cdn:admin_akamai:update_queue")
    def put(self, request: Request, response: Response) -> Response:
        """Replace the list, and return the new list and the removed entries."""
        body = document(request, self.settings.max_body_size)
        queue, deleted = self.akamai.put_queue(self.NAME, body)
        return reply({"queue": queue, "deleted": deleted})


class SanMapping(_Queue):
    """Domains with certificates to check."""

    NAME = SAN_MAPPING


class RetryList(_Queue):
    """Domains to reorder certificates for."""

    NAME = RETRY_LIST

    @handler("cdn:admin_akamai:retry")
    def post(self, request: Request, response: Response) -> Response:
        """Reorder the certificates. 202 with the domains that were sent and ignored."""
        sent, ignored = self.akamai.retry(request.request_id)
        return reply({"sent": sent, "ignored": ignored}, HTTPStatus.ACCEPTED)


class _Config(_Resource):
    """Settings of a certificate of type ``CERT_TYPE``."""

    CERT_TYPE: ClassVar[str]

    @handler("cdn:admin_akamai:get_config")
    def get(self, request: Request, response: Response, name: str) -> Response:
        """Return the settings."""
        return reply(self.akamai.config(self.CERT_TYPE, name))

    @handler("cdn:admin_akamai:update_config")
    def post(self, request: Request, response: Response, name: str) -> Response:
        """Change some of the settings. 202 with all settings."""
        body = document(request, self.settings.max_body_size)
        changed = self.akamai.put_config(self.CERT_TYPE, name, body)
        return reply(changed, HTTPStatus.ACCEPTED)


class SanConfig(_Config):
    """Settings of a SAN certificate, or the limit of domains per SAN certificate."""

    CERT_TYPE = "san"


class SniConfig(_Config):
    """Settings of an SNI certificate."""

    CERT_TYPE = "sni"


RESOURCES: Mapping[str, type[Resource]] = {
    "/service": Migration,
    "/background_job": BackgroundJob,
    "/background_job/san_mapping": SanMapping,
    "/ssl_certificate/retry_list": RetryList,
    "/ssl_certificate/config/{name}": SanConfig,
    "/ssl_certificate/sni_config/{name}": SniConfig,
}
