# SPDX-License-Identifier: Apache-2.0
"""Surrogate keys: what an edge marks each object with, so that purges find it.

By URL, Fastly purges one object at one host. With keys, one call purges a path with any query at
all domains of the service, or a whole directory, and everything softly, for which Fastly has no
call of its own.
"""

import hashlib

from poppy.common.errors import PermanentError

#: Of every object.
EVERYTHING = "poppy"
#: Directories above an object that it is marked with, from the root on.
DEPTH = 8

_PATH, _URL, _TREE = "poppy-path-", "poppy-url-", "poppy-tree-"


def key(url: str | None) -> str:
    """The key of all objects that a purge is about.

    Args:
        url: as in :class:`~poppy.model.operations.Purge`.

    Raises:
        PermanentError: no object has a key for such a pattern.
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
        f"Fastly can't purge {url}: only a path, a URL with its query, or a directory as "
        f"/directory/*, of {DEPTH} levels at most"
    )


def _digest(prefix: str, text: str) -> str:
    return prefix + hashlib.sha256(text.encode()).hexdigest()


def marking() -> str:
    """VCL for ``vcl_fetch`` that marks an object; its own keys are kept."""
    own = "beresp.http.Surrogate-Key"
    lines = [
        "set req.http.X-Poppy-Keys = "
        f'"{EVERYTHING} {_PATH}" digest.hash_sha256(req.url.path) '
        f'" {_URL}" digest.hash_sha256(req.url);'
    ]
    for depth in range(1, DEPTH + 1):
        lines += [
            f'if (req.url.path ~ "^((?:/[^/]+){{{depth}}}/)") {{',
            f'  set req.http.X-Poppy-Keys = req.http.X-Poppy-Keys " {_TREE}" '
            "digest.hash_sha256(re.group.1);",
            "}",
        ]
    lines += [
        f"if ({own}) {{",
        # Ours first: Fastly looks at 16 KB of keys.
        f'  set {own} = req.http.X-Poppy-Keys " " {own};',
        "} else {",
        f"  set {own} = req.http.X-Poppy-Keys;",
        "}",
    ]
    return "\n".join(lines)
