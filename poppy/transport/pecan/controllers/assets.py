# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services/{id}/assets``: the content that edges have cached."""

import re

from poppy.common import errors
from poppy.model.operations import Purge
from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.controllers.services import accepted
from poppy.transport.pecan.request import Request, boolean, parameter
from poppy.transport.pecan.response import Response

MAX_URL = 2048

_PATH = re.compile(r"[\x21-\x7e]+")
_SCHEME = re.compile(r"/*[A-Za-z][A-Za-z0-9+.-]*://")


class Assets(Resource):
    """The cached content of a service."""

    @handler("cdn:services:purge")
    def delete(self, request: Request, response: Response, service_id: str) -> Response:
        """Purge all of it or one path. 202 with the service's ``Location``."""
        service_id = uuid(service_id, "service id")
        lenient = self.settings.purge_without_query_is_all
        purge = Purge(url=_url(request, lenient), hard=boolean(request, "hard", default=True))
        self.manager.services.purge(request.project_id, service_id, purge, request.request_id)
        return accepted(request, service_id)


def _url(request: Request, nothing_is_all: bool) -> str | None:
    """Return the path to purge, or None to purge everything.

    Args:
        nothing_is_all: purge everything if the request has neither ``url`` nor ``all``.

    Raises:
        InvalidRequest: the request has neither or both, or the URL is not a percent-encoded path
            (RFC 3986, section 3.3).
    """
    url = parameter(request, "url")
    if nothing_is_all and url is None and parameter(request, "all") is None:
        return None
    if boolean(request, "all", default=False) is (url is not None):
        raise errors.InvalidRequest("Exactly one of 'url' and 'all=true' must be given")
    if url is None:
        return None
    if len(url) > MAX_URL or not _PATH.fullmatch(url):
        raise errors.InvalidRequest(
            f"The url must have 1..{MAX_URL} printable ASCII characters, others percent-encoded"
        )
    if _SCHEME.match(url):
        raise errors.InvalidRequest("The url must be a path such as /images/logo.png")
    return url if url.startswith("/") else f"/{url}"
