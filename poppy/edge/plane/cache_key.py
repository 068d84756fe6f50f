# SPDX-License-Identifier: Apache-2.0
"""What is part of the cache key besides the host and the URL.

Header fields and cookies: ``keys.lua`` collects the values, and Varnish gets a digest of them,
which ``cache.vcl`` hashes. Varnish itself can't read a field that VCL does not name. The origin
receives the fields and, of the cookies, the listed ones alone: another one could change the
response.

A trusted proxy's fields: VCL.
"""

import urllib.parse
from collections.abc import Iterable, Iterator, Sequence

from poppy.model import headers
from poppy.model.document.caching import CacheKey

#: The conditions of requests with cookies in the key. They may be answered from the cache.
HAS_COOKIES = "var(txn.entry),field(4,|) -m sub /c"

_DIGEST = "sha2(256),hex"
_HAS_PAGES = "{ var(txn.page_fields) -m found }"

#: Rules for requests that may be answered from the cache, or by a page of an error.
RULES = f"""\
    acl has_key var(txn.entry),field(4,|) -m sub /h
    acl has_key {HAS_COOKIES}
    acl is_direct var(txn.direct) -m bool
    http-request lua.key if has_key !is_direct
    http-request set-header x-p-key %[var(txn.key),{_DIGEST}] if has_key !is_direct
    http-request lua.page_key if {_HAS_PAGES}
    http-request set-header x-p-page-key %[var(txn.page_key),{_DIGEST}] if {_HAS_PAGES}
"""

#: Conditions of requests for which a script of the rules has failed.
FAILED = (
    "has_key !is_direct !{ var(txn.key) -m found }",
    f"{_HAS_PAGES} !{{ var(txn.page_key) -m found }}",
)

# The addresses of clients and proxies in Forwarded are left out.
_ADDRESSES = r"(?i)(?:^|(?<=[;, ]))(?:for|by)=(?:\x22[^\x22]*\x22|[^;,]*)"


def options(key: CacheKey) -> Iterator[str]:
    """Yield the parts of an entry about header fields and cookies, in their canonical form."""
    if key.headers:
        yield "h" + _listed({name.lower() for name in key.headers})
    if key.cookies:
        yield "c" + _listed(key.cookies)


def of_proxies(trusted: Sequence[object]) -> str:
    """Return statements for ``vcl_hash`` that add a trusted proxy's fields to the cache key.

    Args:
        trusted: the trusted proxies; nothing is added if there are none.
    """
    if not trusted:
        return ""
    lines = [f'    hash_data(regsuball(req.http.Forwarded, "{_ADDRESSES}", ""));\n']
    lines += [
        f'    hash_data("{name.lower()}:" + req.http.{name});\n'
        for name in headers.FORWARDED
        if name != "Forwarded"
    ]
    return "".join(lines)


def _listed(names: Iterable[str]) -> str:
    return "+".join(urllib.parse.quote(name, safe="") for name in sorted(names))
