# SPDX-License-Identifier: Apache-2.0
"""Promises about purges."""

from poppy.model.operations import Purge
from poppy.provider.base import Capability
from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import ANY, NEW, Ask, Promise

_OTHER = "/ttl-60/other/{token}"
#: Requests that fill the cache; the numbers of those below refer to them.
_FILL = (Ask(), Ask("{path}?q=1"), Ask("{path}?q=2"), Ask("{path}/below"), Ask(_OTHER))


def _purged(id: str, text: str, url: str | None, *left: int, alone: bool = False) -> Promise:
    """Return a promise: a hard purge evicts what it covers.

    Args:
        left: what is still kept after it, by position in :data:`_FILL`.
    """
    first, *others = (
        ask._replace(gets=number if number in left else NEW) for number, ask in enumerate(_FILL)
    )
    purge = first._replace(purge=Purge(url, hard=True))
    return Promise(id, text, (*_FILL, purge, *others), places=("/ttl-60",), alone=alone)


PURGES = (
    _purged("purge-path", "A purge of a path evicts it with any query.", "{path}", 3, 4),
    _purged(
        "purge-query", "A purge of a URL with a query evicts that alone.", "{path}?q=1", 0, 2, 3, 4
    ),
    _purged("purge-prefix", "A purge of a prefix evicts all below it.", "{path}/*", 0, 1, 2, 4),
    _purged("purge-all", "A purge of the service evicts everything.", None, alone=True),
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
        needs=Capability.SOFT_PURGE,
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
        needs=Capability.SOFT_PURGE,
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
        needs=Capability.SOFT_PURGE,
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
