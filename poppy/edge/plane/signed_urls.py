# SPDX-License-Identifier: Apache-2.0
"""The part of a policy about signed URLs, for ``signing.lua``::

signed <name of the token>
key <ID> <secret in base64>
protect <pattern>
"""

import base64
from collections.abc import Iterator

from poppy.edge.errors import Refused
from poppy.model import paths
from poppy.model.document.signed_urls import DEFAULT_QUERY, SignedURLs

#: In the entry of a service, after the digest of its policy.
MARK = "|signed"
#: Rules for HAProxy. The action removes the mark, or replaces the entry by ``refused`` or
#: ``expired``; so if it fails, the mark is still there.
CHECK = """\
    acl is_signed var(txn.entry),field(2,|) -m str signed
    http-request lua.check_token if is_signed
"""


def lines(signed_urls: SignedURLs | None) -> Iterator[str]:
    """Yield the lines; none if requests need no token.

    Raises:
        Refused: the secrets are sealed.
    """
    if signed_urls is None:
        return
    yield f"signed {signed_urls.query or DEFAULT_QUERY}"
    for key in signed_urls.keys:
        if not key.secret.text:
            raise Refused("signed_urls has sealed secrets")
        yield f"key {key.id} {base64.b64encode(key.secret.text.encode()).decode()}"
    for url in [rule.request_url for rule in signed_urls.rules or ()] or ["/*"]:
        yield f"protect {paths.canonical(url)}"
