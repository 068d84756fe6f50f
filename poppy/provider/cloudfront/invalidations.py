# SPDX-License-Identifier: Apache-2.0
"""Which invalidations a purge consists of. No I/O."""

from collections.abc import Iterator

from poppy.model.purges import Purge

#: Wildcards that a distribution may have in progress ("Quotas" in the developer guide).
_MOST_WILDCARDS = 15


def batches(purge: Purge) -> Iterator[list[str]]:
    """Yield the paths and tags of each invalidation.

    Only a trailing ``*`` is a wildcard. Tags begin with ``#`` ("Invalidating content by cache
    tags" in the developer guide).
    """
    batch: list[str] = []
    wildcards = 0
    for group in _groups(purge):
        wildcards += sum(path.endswith("*") for path in group)
        if batch and wildcards > _MOST_WILDCARDS:
            yield batch
            batch, wildcards = [], 1
        batch += group
    yield batch


def _groups(purge: Purge) -> Iterator[list[str]]:
    if purge.tags:
        yield [f"#{tag}" for tag in purge.tags]
    elif purge.prefix:
        yield [f"{purge.prefix}*"]
    else:
        for url in purge.urls or ("/*",):
            before, star, _ = url.partition("*")
            if star:
                yield [f"{before}*"]
            else:
                yield [url] if "?" in url else [url, f"{url}?*"]
