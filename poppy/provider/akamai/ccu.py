# SPDX-License-Identifier: Apache-2.0
"""Akamai's Fast Purge API (CCU), version 3: https://techdocs.akamai.com/purge-cache/reference/api."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from poppy.model.operations import Purge
from poppy.model.specs import ServiceSpec
from poppy.provider.akamai import tags
from poppy.provider.akamai.cache_key import is_changed
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

    def purge(self, scopes: Iterable["Scope"], *, hard: bool) -> None:
        """Evict or invalidate the content of scopes."""
        for scope in scopes:
            for batch in batches(scope.objects):
                self._purge(scope.kind, batch, hard)

    def _purge(self, kind: str, objects: Sequence[str | int], hard: bool) -> None:
        action = "delete" if hard else "invalidate"
        self._session.request(
            "POST",
            f"/ccu/v3/{action}/{kind}/{self._network}",
            headers={"Content-Type": "application/json"},
            data=_body(objects),
        )


class Scope(NamedTuple):
    """Content to purge.

    Attributes:
        kind: ``url``, ``tag`` or ``cpcode``.
        objects: URLs, tags or CP codes.
    """

    kind: str
    objects: Sequence[str | int]


def scopes(spec: ServiceSpec, cp_code: int, purge: Purge) -> list[Scope]:
    """Return what a purge has to cover: the whole service if nothing less is sure to do.

    Akamai compares URLs completely (https://techdocs.akamai.com/purge-cache/docs/purge-content-url):
    a path with any query is a tag. A URL is purged besides, because content has tags only if it
    was cached under the present rules.
    """
    covered = _covered(spec, cp_code, purge)
    if covered is None:
        return [Scope("cpcode", [cp_code])]
    quoted = [quote(path, safe="/%?&=:;,+$!~*'()@[]-._") for path in purge.urls if "*" not in path]
    urls = [f"{one.protocol}://{one.domain}{path}" for path in quoted for one in spec.domains]
    return [it for it in (Scope("url", urls), Scope("tag", covered)) if it.objects]


def _covered(spec: ServiceSpec, cp_code: int, purge: Purge) -> list[str] | None:
    """Return the tags of a purge, besides its URLs; None if nothing less than all is sure."""
    found: list[Sequence[str | None]]
    if purge.tags:
        found = [[tags.of_tag(cp_code, tag)] for tag in purge.tags]
    elif purge.host:
        found = [[tags.of_host(cp_code, purge.host)]]
    elif purge.prefix:
        found = [tags.of_directory(cp_code, purge.prefix)]
    elif purge.urls:
        found = [_of_url(spec, cp_code, url) for url in purge.urls]
    else:
        return None
    flat = [it for some in found for it in some]
    return None if None in flat else [it for it in flat if it is not None]


def _of_url(spec: ServiceSpec, cp_code: int, url: str) -> Sequence[str | None]:
    """Return the tags of a URL, of which None is unknown; none if the URL alone covers it.

    Content with another cache key than its URL is known by its tags only.
    """
    path, has_query, _query = url.partition("?")
    if "*" in url:
        is_directory = url.endswith("/*") and "*" not in url[:-1] and not has_query
        return tags.of_directory(cp_code, url[:-1]) if is_directory else [None]
    if has_query and not is_changed(spec):
        return []
    return [tags.of_path(cp_code, path)]


def batches(objects: Iterable[str | int]) -> Iterator[list[str | int]]:
    """Yield the objects in as few lists as the limit on request bodies allows."""
    batch: list[str | int] = []
    size = empty = len(_body([]))
    for one in objects:
        # Two more bytes for the comma and the space.
        needed = len(json.dumps(one)) + 2
        if batch and size + needed > MOST_BYTES:
            yield batch
            batch, size = [], empty
        batch.append(one)
        size += needed
    if batch:
        yield batch


def _body(objects: Sequence[str | int]) -> bytes:
    return json.dumps({"objects": list(objects)}).encode()
