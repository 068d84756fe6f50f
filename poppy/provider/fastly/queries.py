# SPDX-License-Identifier: Apache-2.0
"""VCL for the query parameters that make a difference in the cache.

Others are removed from the URL, so they do not reach the origin either. See
https://www.fastly.com/documentation/reference/vcl/functions/query-string/.
"""

from collections.abc import Sequence

from poppy.model.document.caching import names
from poppy.model.specs import Caching
from poppy.provider import patterns
from poppy.provider.fastly.answers import CACHING, is_kept
from poppy.provider.fastly.literals import expression


def filters(caching: Sequence[Caching]) -> str:
    """Return the statements of ``recv``. Requests that the cache never answers stay whole."""
    chosen = [
        f'if ({CACHING} == "{number}") {{\n  {statement}\n}}'
        for number, entry in enumerate(caching)
        if is_kept(entry) and (statement := _filter(entry))
    ]
    if not chosen:
        return ""
    body = " else ".join(chosen)
    return f'if (req.method == "GET" || req.method == "HEAD") {{\n{body}\n}}'


def is_filtered(caching: Sequence[Caching]) -> bool:
    """Return whether the URLs of some objects lack a part of the query."""
    return bool(filters(caching))


def _filter(entry: Caching) -> str:
    query = entry.key.query if entry.key else None
    if query in (None, "all"):
        return ""
    if query == "none":
        return "set req.url = querystring.remove(req.url);"
    alternatives = "|".join(map(_name, names(query)))
    function = "regfilter_except" if "only" in query else "regfilter"
    regex = expression(f"^(?:{alternatives})$")
    return f"set req.url = querystring.{function}(req.url, {regex});"


def _name(name: str) -> str:
    """Return an expression for a name, each of its characters percent-encoded or not."""
    return patterns.spelled(name.removesuffix("*")) + ("[^=&]*" if name.endswith("*") else "")
