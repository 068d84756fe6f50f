# SPDX-License-Identifier: Apache-2.0
"""Paging of lists that are JSON arrays, where the link to the next page is in a header."""

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routing import VERSION

#: The default and maximum number of entries on a page.
MAX_ENTRIES = 1000


def listing(
    request: Request, entries: Sequence[Any], limit: int, following: Mapping[str, str]
) -> Response:
    """Return a page, with a link to the next page if this one is full (RFC 8288).

    Args:
        following: the query of the next page, without ``limit``.
    """
    headers = {}
    if len(entries) >= limit:
        headers["Link"] = next_link(request, {**following, "limit": str(limit)})
    return reply(list(entries), headers=headers)


def next_link(request: Request, query: Mapping[str, str]) -> str:
    """Return the ``Link`` header for the same resource with another query."""
    path = request.path_info.partition(f"/{VERSION}")[2].split("/", 1)[1]
    if request.base_url.endswith(f"/{request.project_id}"):
        path = path.removeprefix(f"{request.project_id}/")
    url = f"{request.base_url}/{urllib.parse.quote(path)}?{urllib.parse.urlencode(query)}"
    return f'<{url}>; rel="next"'
