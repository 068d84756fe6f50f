# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services/{id}/assets``: what the edges have cached."""

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
        """Purge it, or a part of it."""
        service_id = uuid(service_id, "service id")
        lenient = self.settings.purge_without_query_is_all
        purge = Purge(url=_url(request, lenient), hard=boolean(request, "hard", default=True))
        self.manager.services.purge(request.project_id, service_id, purge, request.request_id)
        return accepted(request, service_id)


def _url(request: Request, nothing_is_all: bool) -> str | None:
    """The path to purge, None for everything.

    Args:
        nothing_is_all: whether a request that says neither is for everything.

    Raises:
        InvalidRequest: neither or both are asked for, or it is no path as it stands in a
            request (RFC 3986, section 3.3): with other characters percent-encoded.
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
