# SPDX-License-Identifier: Apache-2.0
"""What a trusted proxy's header fields add to the cache key, as VCL."""

from collections.abc import Sequence

from poppy.model import headers

# The addresses of clients and proxies in Forwarded are left out.
_ADDRESSES = r"(?i)(?:^|(?<=[;, ]))(?:for|by)=(?:\x22[^\x22]*\x22|[^;,]*)"


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
