# SPDX-License-Identifier: Apache-2.0
"""Fields of responses that HAProxy's own rules change, several times as fast as Lua.

A rule has the name of its field, so there are rules for those that most services change (OWASP,
"HTTP Headers Cheat Sheet"). They apply if all entries of ``headers`` change only these fields of
responses, for all paths; otherwise ``changes.lua`` does all of it.
"""

import urllib.parse
from collections.abc import Sequence

from poppy.model.document.headers import HeaderRules

#: Names of fields to set, and of those to remove.
SET = (
    *("Content-Security-Policy", "Permissions-Policy", "Referrer-Policy", "X-Frame-Options"),
    *("X-Content-Type-Options", "X-XSS-Protection", "X-Robots-Tag"),
    *(f"Cross-Origin-{kind}-Policy" for kind in ("Embedder", "Opener", "Resource")),
)
REMOVED = ("Server", "X-Powered-By")

_MARK = "fields"


def values(entries: Sequence[HeaderRules] | None) -> Sequence[str]:
    """Return parts for the map of deliveries: a mark, values to set, and ``1`` to remove.

    They are in the order of :data:`SET` and :data:`REMOVED`. Values are percent-encoded; one that
    is empty is not set.

    Returns:
        Nothing if there is nothing to change, or if ``changes.lua`` has to do it.
    """
    found: dict[str, str] = {}
    for entry in entries or ():
        response = entry.response
        if entry.rules is not None or entry.request is not None or response is None:
            return ()
        removed = {name.lower() for name in response.remove or ()}
        wanted = {name.lower(): value for name, value in (response.set or {}).items()}
        if response.add or not all(wanted.values()):
            return ()
        if not (removed <= _names(REMOVED) and wanted.keys() <= _names(SET)):
            return ()
        found |= dict.fromkeys(removed, "1")
        found |= {name: urllib.parse.quote(value, safe="") for name, value in wanted.items()}
    if not found:
        return ()
    return (_MARK, *(found.get(name.lower(), "") for name in (*SET, *REMOVED)))


def rules(first: int) -> str:
    """Return rules for responses of servers.

    Args:
        first: the number of the first part in the variable ``txn.delivery``.
    """
    text = f"    acl has_fields var(txn.delivery),field({first},|) -m str {_MARK}\n"
    text += "    http-response set-var(txn.fields) bool(true) if has_fields\n"
    for number, name in enumerate((*SET, *REMOVED), first + 1):
        value = f"var(txn.delivery),field({number},|)"
        action = f"set-header {name} %[{value},url_dec]" if name in SET else f"del-header {name}"
        text += (
            f"    http-response {action} if {{ var(txn.fields) -m bool }}"
            f" {{ {value} -m len gt 0 }}\n"
        )
    return text


def _names(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}
