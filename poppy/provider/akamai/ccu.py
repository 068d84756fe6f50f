# SPDX-License-Identifier: Apache-2.0
"""Akamai's Fast Purge API (CCU), version 3: https://techdocs.akamai.com/purge-cache/reference/api."""

import json
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from poppy.model.specs import ServiceSpec
from poppy.provider.akamai.caching import shares_queries
from poppy.provider.akamai.edgegrid import Session

#: Maximum bytes of a request body ("Limits" in the reference).
MOST_BYTES = 50_000


class CCU:
    """The API's calls. They raise the same errors as :meth:`Client.request`.

    Args:
        network: ``STAGING`` or ``PRODUCTION``.
    """

    def __init__(self, session: Session, network: str) -> None:
        self._session = session
        self._network = network.lower()

    def purge_urls(self, urls: Iterable[str], *, hard: bool) -> None:
        """Evict or invalidate the content of URLs, for http and https alike."""
        for batch in batches(urls):
            self._purge("url", batch, hard)

    def purge_cp_code(self, cp_code: int, *, hard: bool) -> None:
        """Evict or invalidate all content of a CP code."""
        self._purge("cpcode", [cp_code], hard)

    def _purge(self, kind: str, objects: Sequence[str | int], hard: bool) -> None:
        action = "delete" if hard else "invalidate"
        self._session.request(
            "POST",
            f"/ccu/v3/{action}/{kind}/{self._network}",
            headers={"Content-Type": "application/json"},
            data=_body(objects),
        )


def purged_urls(spec: ServiceSpec, paths: Sequence[str]) -> list[str] | None:
    """Return the URLs of a purge; None if it has to cover the whole service.

    Akamai compares URLs completely, so a path is not purged with other queries
    (https://techdocs.akamai.com/purge-cache/docs/purge-content-url), and nothing is known of
    content with another cache key.

    Args:
        paths: the paths of the purge, possibly with a query or ``*``; none for everything.
    """
    if not paths or any("*" in path for path in paths) or shares_queries(spec):
        return None
    quoted = [quote(path, safe="/%?&=:;,+$!~*'()@[]-._") for path in paths]
    return [f"{one.protocol}://{one.domain}{path}" for path in quoted for one in spec.domains]


def batches(urls: Iterable[str]) -> Iterator[list[str]]:
    """Yield the URLs in as few lists as the limit on request bodies allows."""
    batch: list[str] = []
    size = empty = len(_body([]))
    for url in urls:
        # Two more bytes for the comma and the space.
        needed = len(json.dumps(url)) + 2
        if batch and size + needed > MOST_BYTES:
            yield batch
            batch, size = [], empty
        batch.append(url)
        size += needed
    if batch:
        yield batch


def _body(objects: Sequence[str | int]) -> bytes:
    return json.dumps({"objects": list(objects)}).encode()
