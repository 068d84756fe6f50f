# SPDX-License-Identifier: Apache-2.0
"""What is published at the operator's own edge, and which certificates in it expire."""

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from poppy.storage.edge import EdgeStore

_PAGE = 100  #: Changes that are read at once.
#: A certificate expires soon within this time, or within this part of a shorter lifetime. Those
#: of authorities are renewed long before.
_SOON, _PART = datetime.timedelta(days=14), 4


class Expiring(NamedTuple):
    """A certificate that expires soon, or has expired.

    Attributes:
        service_id: of the service that serves it, or the operator's ``shared-...``.
        names: the domains for which it is served.
    """

    service_id: str
    names: tuple[str, ...]
    expires_at: datetime.datetime


def published(log: EdgeStore) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the ID and the current program of each service.

    Raises:
        Unavailable: the store does not answer.
    """
    after = snapshot = 0
    while True:
        page = log.changes(after, _PAGE, snapshot)
        for change in page.changes:
            if change.program is not None:
                yield change.service_id, json.loads(change.program)
        after, snapshot = page.revision, snapshot or page.head
        if page.revision >= page.head:
            return


def expiring(log: EdgeStore, now: datetime.datetime) -> Iterator[Expiring]:
    """Yield the certificates that expire soon.

    Raises:
        Unavailable: the store does not answer.
    """
    for service_id, program in published(log):
        for it in program.get("certificates", ()):
            begin, end = _validity(it["chain"])
            if end - now < min(_SOON, (end - begin) / _PART):
                yield Expiring(service_id, tuple(it["names"]), end)


def _validity(chain: str) -> tuple[datetime.datetime, datetime.datetime]:
    # Of the extra "edge", without which there are no certificates.
    from cryptography import x509

    leaf = x509.load_pem_x509_certificate(chain.encode())
    return leaf.not_valid_before_utc, leaf.not_valid_after_utc
