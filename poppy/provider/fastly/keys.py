# SPDX-License-Identifier: Apache-2.0
"""Surrogate keys of cached objects, used for purges.

A purge by URL covers one object on one host. A purge by key covers a path with any query on all
domains of the service, or a whole directory. It also allows a soft purge of everything, for which
Fastly has no call.
"""

import hashlib
from collections.abc import Sequence

from poppy.common.errors import PermanentError
from poppy.model.purges import MAX_LEVELS, Purge

#: The key of every object.
EVERYTHING = "poppy"
#: Maximum directory levels, from the root, that have keys.
DEPTH = MAX_LEVELS

_PATH, _URL, _TREE, _HOST = "poppy-path-", "poppy-url-", "poppy-tree-", "poppy-host-"


def covered(purge: Purge, *, filtered: bool = False) -> Sequence[str]:
    """Return the keys of all objects that a purge covers: at most 100.

    Args:
        purge: the purge.
        filtered: whether objects lack a part of the query that they were requested with. Then a
            URL with a query is purged with every query.

    Raises:
        PermanentError: no key covers a pattern.
    """
    if purge.tags:
        return purge.tags
    if purge.host:
        return [_digest(_HOST, purge.host)]
    if purge.prefix:
        return [_digest(_TREE, purge.prefix)]
    urls: Sequence[str | None] = purge.urls or (None,)
    if filtered:
        urls = [url if url is None or "*" in url else url.partition("?")[0] for url in urls]
    return list(dict.fromkeys(map(key, urls)))


def key(url: str | None) -> str:
    """Return the key of all objects that a URL covers.

    Args:
        url: the ``url`` of :class:`~poppy.model.operations.Purge`.

    Raises:
        PermanentError: no key covers the pattern.
    """
    if url is None or url.strip("/") == "*":
        return EVERYTHING
    directory = url.removesuffix("*")
    if "*" not in url:
        return _digest(_URL if "?" in url else _PATH, url)
    if "*" not in directory and "?" not in directory and directory.endswith("/"):
        depth = directory.count("/") - 1
        if depth <= DEPTH:
            return _digest(_TREE, directory)
    raise PermanentError(
        f"Fastly can't purge {url}: only a path, a URL with its query, or a directory "
        f"(/directory/*) of at most {DEPTH} levels"
    )


def _digest(prefix: str, text: str) -> str:
    return prefix + hashlib.sha256(text.encode()).hexdigest()


def marking() -> str:
    """Return VCL for ``vcl_fetch`` that adds the keys to an object, and the origin's tags.

    Those are its keys, and what it says in ``Cache-Tag``, which Fastly does not know.
    """
    own = "beresp.http.Surrogate-Key"
    lines = [
        "set req.http.X-Poppy-Keys = "
        f'"{EVERYTHING} {_PATH}" digest.hash_sha256(req.url.path) '
        f'" {_URL}" digest.hash_sha256(req.url) " {_HOST}" digest.hash_sha256(req.http.host);'
    ]
    for depth in range(1, DEPTH + 1):
        lines += [
            f'if (req.url.path ~ "^((?:/[^/]+){{{depth}}}/)") {{',
            f'  set req.http.X-Poppy-Keys = req.http.X-Poppy-Keys " {_TREE}" '
            "digest.hash_sha256(re.group.1);",
            "}",
        ]
    lines += [
        "if (beresp.http.Cache-Tag) {",
        "  std.collect(beresp.http.Cache-Tag);",
        '  set req.http.X-Poppy-Tags = regsuball(beresp.http.Cache-Tag, ",", " ");',
        '  set req.http.X-Poppy-Keys = req.http.X-Poppy-Keys " " req.http.X-Poppy-Tags;',
        "  unset beresp.http.Cache-Tag;",
        "}",
        f"if ({own}) {{",
        # Poppy's keys first: Fastly reads at most 16 KB of keys.
        f'  set {own} = req.http.X-Poppy-Keys " " {own};',
        "} else {",
        f"  set {own} = req.http.X-Poppy-Keys;",
        "}",
    ]
    return "\n".join(lines)
