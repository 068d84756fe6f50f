# SPDX-License-Identifier: Apache-2.0
"""The canonical form of rule paths (``request_url``).

An edge compares percent-decoded bytes, collapses runs of slashes, and refuses requests with a dot
segment or a backslash in their path. Paths that differ only in these respects match the same
requests.
"""

import functools
import re

#: Paths with ``.`` or ``..`` as a segment, with parameters or without. Browsers resolve these
#: before they ask; a client that does not wants the origin to see another path than the edge did.
DOT_SEGMENTS = "(?i)^[^?]*(?:/|%2f)(?:[.]|%2e){1,2}(?:/|%2f|[?;]|$)"

#: Targets that two servers may read in two ways: with a control character, space or fragment
#: anywhere; in the path, with a backslash (a slash on some systems), a broken percent-encoding or
#: an encoded control character (RFC 3986, sections 2.1 and 7.3).
AMBIGUOUS = r"(?i)[\x00-\x20\x7f#]|^[^?]*(?:[\x5c]|%(?:5c|[01][0-9a-f]|7f)|%(?![0-9a-f][0-9a-f]))"

#: An encoded byte, a stray ``%``, or a byte that must be encoded.
_TOKEN = re.compile(rb"%([0-9A-Fa-f]{2})|[^!-$&-~]")
#: Bytes that stay encoded. Decoded, they are a wildcard, start the query, a fragment or an encoded
#: byte, or are not printable ASCII.
_KEPT = frozenset(b"*?#%") | frozenset(range(0x21)) | frozenset(range(0x7F, 0x100))
_CONTROL = re.compile("%(?:[01][0-9A-F]|7F)")
_DOT_SEGMENTS = (".", "..")


def canonical(url: str) -> str:
    """Return the canonical form, which is the same for all paths that match the same requests.

    ``a//%62`` gives ``/a/b``: a leading ``/`` is added, and a run of ``/`` or ``*`` becomes one.
    An encoded wildcard (``%2A``) or question mark (``%3F``) is an ordinary character and stays
    encoded.
    """
    path, has_query, query = f"/{url}".partition("?")
    # A "?" within the query is an ordinary character.
    return _decoded(path) + (f"?{_decoded(query.replace('?', '%3F'))}" if has_query else "")


def problem(url: str) -> str | None:
    """Return why no request can match a path; None if one can."""
    if "#" in url:
        return 'it has a "#", which clients do not send; %23 is the character itself'
    found = canonical(url)
    path = found.partition("?")[0]
    if any(segment in _DOT_SEGMENTS for segment in path.split("/")):
        return 'it has a segment "." or "..", and edges refuse requests with one'
    if "\\" in path:
        # Some systems read it as a slash.
        return "it has a backslash, and edges refuse requests with one"
    if _CONTROL.search(found):
        return "it has an encoded control character"
    return None


def _decoded(text: str) -> str:
    written = _TOKEN.sub(_one, text.encode("utf-8", "surrogatepass")).decode("ascii")
    return re.sub(r"/+", "/", re.sub(r"\*+", "*", written))


def _one(found: re.Match[bytes]) -> bytes:
    return _written(int(found[1], 16) if found[1] else found[0][0])


@functools.cache
def _written(value: int) -> bytes:
    return b"%%%02X" % value if value in _KEPT else bytes([value])
