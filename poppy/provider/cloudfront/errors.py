# SPDX-License-Identifier: Apache-2.0
"""TTLs and pages of errors, as ``CustomErrorResponses`` of a distribution. No I/O.

They apply to all paths. A page is fetched from the origin of the behaviour for its path, without a
function ("How CloudFront processes errors when you have configured custom error pages", developer
guide).
"""

from collections.abc import Sequence

from poppy.common.errors import PermanentError
from poppy.model.document.error_pages import ErrorPage
from poppy.model.specs import Caching
from poppy.provider.cloudfront.merging import Config
from poppy.provider.cloudfront.paths import by_path

#: Errors that CloudFront would otherwise keep for ten seconds, even if they are private. For other
#: errors it honours ``private`` ("Control how long CloudFront caches errors", developer guide).
_UNCACHED = (400, 403, 405, 500, 501, 502, 503, 504)
#: Errors that can have a page or a TTL ("Error code", developer guide).
_CODES = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)
#: Errors that are kept even if the origin sets no lifetime.
_KEPT = (404, 414, 500, 501, 502, 503, 504)
#: Seconds that CloudFront keeps errors without a setting.
_DEFAULT = 10


def responses(caching: Sequence[Caching], pages: Sequence[ErrorPage]) -> list[Config]:
    """Return the entries of ``CustomErrorResponses``.

    Raises:
        PermanentError: CloudFront can't have such a TTL or page; the message names it.
    """
    ttls = dict.fromkeys(_UNCACHED, 0) | _ttls(caching)
    paths = _paths(pages)
    return [
        {
            "ErrorCode": code,
            "ErrorCachingMinTTL": ttls.get(code, _DEFAULT),
            # Without pages in the document, those that an operator has added stay.
            **(_page(code, paths.get(code)) if paths else {}),
        }
        for code in _CODES
        if code in ttls or code in paths
    ]


def _page(code: int, path: str | None) -> Config:
    return {"ResponsePagePath": path or "", "ResponseCode": str(code) if path else ""}


def _ttls(caching: Sequence[Caching]) -> dict[int, int]:
    none: dict[int, int] = {}
    found = by_path(caching, lambda it: {s.status: s.ttl for s in it.status_ttl or ()}, none)
    ttls = found[-1][1]
    for entry in caching:
        place = f"caching '{entry.name}': status_ttl"
        for status, ttl in ((it.status, it.ttl) for it in entry.status_ttl or ()):
            if status not in _CODES or (ttl and status not in _KEPT):
                raise PermanentError(f"{place} {status}: CloudFront keeps no TTL for this status")
            if len(found) > 1:
                raise PermanentError(f"{place}: CloudFront has the same for all paths only")
    return ttls


def _paths(pages: Sequence[ErrorPage]) -> dict[int, str]:
    found = {status: page.path for page in pages for status in page.status}
    for status in found:
        if status not in _CODES:
            raise PermanentError(f"error_pages: CloudFront has no page for the status {status}")
    return found
