# SPDX-License-Identifier: Apache-2.0
"""Promises about purges."""

from typing import Any

from poppy.model.operations import Purge
from poppy.provider.base import Capability
from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import ANY, NEW, Ask, Promise

_OTHER = "/ttl-60/other/{token}"
#: Requests that fill the cache; the numbers of those below refer to them.
_FILL = (Ask(), Ask("{path}?q=1"), Ask("{path}?q=2"), Ask("{path}/below"), Ask(_OTHER))


def _purged(id: str, text: str, url: str | None, *left: int, **scope: Any) -> Promise:
    """Return a promise: a hard purge evicts what it covers.

    Args:
        left: what is still kept after it, by position in :data:`_FILL`.
        scope: of the purge, besides its URL.
    """
    first, *others = (
        ask._replace(gets=number if number in left else NEW) for number, ask in enumerate(_FILL)
    )
    purge = Purge(url, hard=True, **scope)
    asks = (*_FILL, first._replace(purge=purge), *others)
    return Promise(id, text, asks, places=("/ttl-60",), alone=purge.covers_all)


def _tagged(id: str, text: str, tag: str, field: str, value: str) -> Promise:
    """Return a promise: a hard purge evicts the tagged response only.

    Args:
        tag: what is purged, with a tag that no response has.
        field: the field of the origin's response.
        value: the value of that field; it has the tag.
    """
    return Promise(
        id,
        text,
        (
            Ask(origin=Reply(fields={field: value})),
            Ask("{path}/below", origin=Reply(fields={field: f"{tag}x"})),
            Ask(gets=0),
            Ask(purge=Purge(None, True, tags=("missing", tag))),
            Ask("{path}/below", gets=1),
        ),
        places=("/ttl-60",),
    )


def _soft(id: str, text: str, purge: Purge, path: str = "{path}", tag: str = "soft") -> Promise:
    """Return a promise: after a soft purge, clients get a new response soon."""
    return Promise(
        id,
        text,
        (
            Ask(path, origin=Reply(fields={"Cache-Tag": tag})),
            Ask(path, gets=0, purge=purge),
            Ask(path, gets=NEW, within=5.0),
        ),
        places=("/ttl-60",),
        alone=bool(purge.host),
    )


PURGES = (
    _purged("purge-path", "A purge of a path evicts it with any query.", "{path}", 3, 4),
    _purged(
        "purge-query", "A purge of a URL with a query evicts that alone.", "{path}?q=1", 0, 2, 3, 4
    ),
    _purged("purge-prefix", "A purge of a prefix evicts all below it.", "{path}/*", 0, 1, 2, 4),
    _purged("purge-all", "A purge of the service evicts everything.", None),
    Promise(
        "purge-many",
        "A purge of several paths evicts all of them.",
        (
            *(Ask(), Ask("{path}/below"), Ask(_OTHER)),
            Ask(purge=Purge("{path}", True, (_OTHER,))),
            *(Ask("{path}/below", gets=1), Ask(_OTHER)),
        ),
        places=("/ttl-60",),
    ),
    _purged(
        "purge-directory",
        "A purge by prefix evicts all below a directory.",
        None,
        *(0, 1, 2, 4),
        prefix="{path}/",
    ),
    _tagged(
        *("purge-tag", "A purge by tag evicts what the origin tagged by Cache-Tag."),
        *("blue", "Cache-Tag", "green,blue , red"),
    ),
    _tagged(
        *("purge-key", "A purge by tag evicts what the origin tagged by Surrogate-Key."),
        *("left", "Surrogate-Key", "right left"),
    ),
    Promise(
        "purge-tag-revalidated",
        "A response that was revalidated keeps its tags.",
        (
            Ask(
                origin=Reply(
                    fields={"Cache-Tag": "kept", "ETag": '"1"', "Cache-Control": "max-age=1"}
                )
            ),
            Ask(
                gets=ANY,
                after=1.2,
                origin=Reply(fields={"ETag": '"1"', "Cache-Control": "max-age=60"}),
            ),
            Ask(gets=ANY, after=0.3),
            Ask(purge=Purge(None, True, tags=("kept",)), sees={"If-None-Match": None}),
        ),
        places=("/free",),
    ),
    Promise(
        "purge-tags-hidden",
        "Clients don't see the tags of a response.",
        tuple(
            Ask(
                method=method,
                gets=ANY,
                origin=Reply(fields={"Cache-Tag": "hidden", "Surrogate-Key": "hidden"}),
                has={"cache-tag": None, "surrogate-key": None},
            )
            for method in ("GET", "GET", "POST")
        ),
        places=("/ttl-60",),
        needs=Capability.PURGE_TAG,
    ),
    Promise(
        "purge-host",
        "A purge of a domain evicts everything of it, and nothing of another domain.",
        (
            Ask(),
            Ask(domain=1),
            Ask(purge=Purge(None, True, host="{domain}")),
            Ask(domain=1, gets=1),
        ),
        places=("/ttl-60",),
        alone=True,
    ),
    _soft(
        "purge-soft-tag",
        "After a soft purge by tag, the edge may serve the old response while it fetches.",
        Purge(None, False, tags=("soft",)),
    ),
    _soft(
        "purge-soft-directory",
        "After a soft purge by prefix, the edge may serve old responses while it fetches.",
        Purge(None, False, prefix="{path}/"),
        path="{path}/a/b/c/d/e/f/g/h/i.css?q=1",
    ),
    _soft(
        "purge-soft-host",
        "After a soft purge of a domain, the edge may serve old responses while it fetches.",
        Purge(None, False, host="{domain}"),
    ),
    Promise(
        "purge-domains",
        "A purge of a path covers all domains of the service.",
        (
            Ask(),
            Ask(domain=1),
            Ask(purge=Purge("{path}", hard=True)),
            Ask(domain=1),
        ),
        places=("/ttl-60",),
    ),
    Promise(
        "purge-soft",
        "A soft purge lets the edge serve the old response until it has the new one.",
        (
            Ask(),
            Ask(gets=0, purge=Purge("{path}", hard=False)),
            Ask(gets=NEW, within=5.0),
        ),
        places=("/ttl-60",),
    ),
    Promise(
        "purge-soft-all",
        "A soft purge of the service covers everything.",
        (
            Ask(),
            Ask(gets=0, purge=Purge(None, hard=False)),
            Ask(gets=NEW, within=5.0),
        ),
        places=("/ttl-60",),
        alone=True,
    ),
    Promise(
        "purge-soft-down",
        "After a soft purge, the old response is served while the origin fails.",
        (
            Ask(),
            Ask(gets=0, purge=Purge("{path}", hard=False), origin=Reply(fault="reset")),
            Ask(gets=0, after=0.3),
        ),
        places=("/ttl-60",),
    ),
    Promise(
        "purge-by-clients",
        "Clients can't purge.",
        (
            Ask(),
            Ask(method="PURGE", gets=ANY, status=(200, 400, 401, 403, 404, 405, 501)),
            Ask(gets=0),
        ),
        places=("/ttl-60",),
    ),
)
