# SPDX-License-Identifier: Apache-2.0
"""Pages of the lists whose documents are arrays: these have no place for a link but a header."""

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routing import VERSION

#: Entries of a page, unless fewer are asked for.
MAX_ENTRIES = 1000


def listing(
    request: Request, entries: Sequence[Any], limit: int, following: Mapping[str, str]
) -> Response:
    """A page; unless it is the last one, with a link to the next (RFC 8288).

    Args:
        following: the query that asks for the next page, without ``limit``.
    """
    headers = {}
    if len(entries) >= limit:
        headers["Link"] = next_link(request, {**following, "limit": str(limit)})
    return reply(list(entries), headers=headers)


def next_link(request: Request, query: Mapping[str, str]) -> str:
    """The value of a ``Link`` header to the same resource with another query."""
    path = request.path_info.partition(f"/{VERSION}")[2].split("/", 1)[1]
    if request.base_url.endswith(f"/{request.project_id}"):
        path = path.removeprefix(f"{request.project_id}/")
    url = f"{request.base_url}/{urllib.parse.quote(path)}?{urllib.parse.urlencode(query)}"
    return f'<{url}>; rel="next"'
