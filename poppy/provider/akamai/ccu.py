# SPDX-License-Identifier: Apache-2.0
"""Akamai's Fast Purge API (CCU), version 3: https://techdocs.akamai.com/purge-cache/reference/api."""

import json
from collections.abc import Iterable, Iterator, Sequence

from poppy.provider.akamai.edgegrid import Session

#: Bytes of a request's body, by "Limits" of the reference.
MOST_BYTES = 50_000


class CCU:
    """The calls. Each raises RetryableError or PermanentError, as :meth:`Client.request` does.

    Args:
        network: ``STAGING`` or ``PRODUCTION``.
    """

    def __init__(self, session: Session, network: str) -> None:
        self._session = session
        self._network = network.lower()

    def purge_urls(self, urls: Iterable[str], *, hard: bool) -> None:
        """Evict what these URLs gave, over http and https alike, or have it revalidated."""
        for batch in batches(urls):
            self._purge("url", batch, hard)

    def purge_cp_code(self, cp_code: int, *, hard: bool) -> None:
        """Evict everything that is counted by this CP code, or have it revalidated."""
        self._purge("cpcode", [cp_code], hard)

    def _purge(self, kind: str, objects: Sequence[str | int], hard: bool) -> None:
        action = "delete" if hard else "invalidate"
        self._session.request(
            "POST",
            f"/ccu/v3/{action}/{kind}/{self._network}",
            headers={"Content-Type": "application/json"},
            data=_body(objects),
        )


def batches(urls: Iterable[str]) -> Iterator[list[str]]:
    """The URLs in as few lists as the limit on bodies allows."""
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
