# SPDX-License-Identifier: Apache-2.0
"""Which objects of the cache a purge covers.

``cache.vcl`` gives each object keys: its service, and its path with and without the query. In a
key, all bytes but letters, digits and ``-._~`` are percent-encoded in lower case, and a run of
slashes is one. So all spellings of a path have the same key. Others are for the object's tags,
directories and host (:mod:`poppy.edge.plane.marks`). A purge without a wildcard is a look-up of
keys; another one is a ban, which Varnish compares with each object once.
"""

import re
import urllib.parse

from poppy.model import paths
from poppy.model.purges import Purge, has_key

#: What comes after the service in keys of tags, directories and hosts; ``%2f`` in those of paths.
TAG, DIRECTORY, HOST = "#", "*", "@"

_ENCODED = re.compile("%([0-9A-Fa-f]{2})")
#: The parameters of a path segment, which some origins ignore.
_PARAMETERS = "(?:%3b(?:(?!%2f)[^?])*)?"
_ANY = "(?:%..|[^%?])*"
_ANY_SHORTEST = "(?:%..|[^%?])*?"


def scope(service_id: str, purge: Purge) -> tuple[list[str], list[str]]:
    """Return the keys, and the patterns for bans, of what a purge covers."""
    if purge.tags:
        return [f"{service_id}{TAG}{_encoded(tag.encode())}" for tag in purge.tags], []
    if purge.host:
        return [f"{service_id}{HOST}{purge.host}"], []
    if purge.prefix:
        return [_directory(service_id, purge.prefix)], []
    keys, patterns = [], []
    for url in purge.urls or (None,):
        found = key(service_id, url)
        if found is None and not purge.hard:
            found = _soft_key(service_id, paths.canonical(url or ""))
        if found is not None:
            keys.append(found)
        elif url is not None:
            patterns.append(url)
    return keys, patterns


def _soft_key(service_id: str, pattern: str) -> str | None:
    """Return the key of the directory that a pattern covers; None for another pattern."""
    directory, star = pattern[:-1], pattern[-1:]
    is_path = directory.endswith("/") and not set("*?") & set(directory)
    if star != "*" or not is_path or not has_key(directory):
        return None
    return _directory(service_id, directory)


def _directory(service_id: str, path: str) -> str:
    return f"{service_id}{DIRECTORY}{_key(path)}"


def key(service_id: str, url: str | None) -> str | None:
    """Return the key of what a purge covers; None if it has a wildcard.

    Args:
        url: a path or a path with a query; None for everything.
    """
    if url is None:
        return service_id
    canonical = paths.canonical(url)
    if canonical == "/*":
        return service_id
    if "*" in canonical:
        return None
    path, mark, query = canonical.partition("?")
    return service_id + _key(path) + mark + _key(query)


def ban(service_id: str, url: str) -> str:
    """Return the expression of a ban (vcl(7)) of the objects that match a pattern."""
    path, mark, query = paths.canonical(url).partition("?")
    tail = f"[?]{_glob(query, '')}$" if mark else "(?:[?]|$)"
    return (
        f"obj.http.x-p-service == {service_id} && "
        f"obj.http.x-p-url ~ ^{_glob(path, _PARAMETERS)}{_PARAMETERS}{tail}"
    )


def _key(text: str) -> str:
    return _encoded(urllib.parse.unquote_to_bytes(text))


def _encoded(value: bytes) -> str:
    return _ENCODED.sub(
        lambda found: found[0].lower(), urllib.parse.quote_from_bytes(value, safe="")
    )


def _glob(pattern: str, before_slash: str) -> str:
    """Return an expression. Each wildcard but the last is atomic, which rules out backtracking."""
    first, *others = (
        re.escape(_key(part)).replace("%2f", f"{before_slash}%2f") for part in pattern.split("*")
    )
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>{_ANY_SHORTEST}{part})" for part in middle) + _ANY + last
