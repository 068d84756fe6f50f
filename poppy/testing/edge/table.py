# SPDX-License-Identifier: Apache-2.0
"""All promises, by group."""

from poppy.testing.edge.access import ACCESS
from poppy.testing.edge.caching import CACHING
from poppy.testing.edge.delivery import DELIVERY
from poppy.testing.edge.forwarding import FORWARDING
from poppy.testing.edge.freshness import FAILURES, TTL
from poppy.testing.edge.origins import ORIGINS
from poppy.testing.edge.privacy import PRIVACY
from poppy.testing.edge.purging import PURGES
from poppy.testing.edge.responses import CROSS_ORIGIN, ERROR_PAGES, HEADERS, REDIRECTS
from poppy.testing.edge.tokens import TOKENS
from poppy.testing.edge.transfer import TRANSFER

GROUPS = {
    "Privacy": PRIVACY,
    "How long responses are kept": TTL,
    "Origins that fail": FAILURES,
    "Requests and responses": TRANSFER,
    "What origins receive": FORWARDING,
    "Options of origins": ORIGINS,
    "Restrictions": ACCESS,
    "Signed URLs": TOKENS,
    "Purges": PURGES,
    "Delivery": DELIVERY,
    "Options of caching": CACHING,
    "Redirects": REDIRECTS,
    "Changes of header fields": HEADERS,
    "Other sites' scripts": CROSS_ORIGIN,
    "Error pages": ERROR_PAGES,
}
PROMISES = tuple(promise for group in GROUPS.values() for promise in group)
