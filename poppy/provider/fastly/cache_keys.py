# SPDX-License-Identifier: Apache-2.0
"""VCL for the parts of requests that make a difference in the cache.

Query parameters and cookies that make none are removed, so they do not reach the origin either.
See https://www.fastly.com/documentation/reference/vcl/functions/query-string/ and
https://www.fastly.com/documentation/reference/vcl/variables/cache-object/req-hash.
"""

from collections.abc import Iterator, Sequence

from poppy.common.errors import PermanentError
from poppy.model.document.caching import CacheKey, names
from poppy.model.specs import Caching
from poppy.provider import patterns
from poppy.provider.fastly.answers import CACHING, is_kept
from poppy.provider.fastly.literals import exact, expression, is_field, string

_COOKIES = "req.http.X-Poppy-Cookies"
#: Share responses to authorized requests only between requests with the same credentials. Fastly
#: shares them with everyone unless the origin forbids it.
_CREDENTIALS = "if (req.http.Authorization) {\n  set req.hash += req.http.Authorization;\n}"


def check(caching: Sequence[Caching]) -> None:
    """Refuse names of header fields that VCL can't have.

    Raises:
        PermanentError: the message names the field.
    """
    for number, key in _keys(caching):
        for name in key.headers or ():
            if not is_field(name):
                raise PermanentError(
                    f"caching[{number}].key.headers: Fastly can't read the field {name!r}: it has "
                    "characters besides A-Z, 0-9, - and _"
                )


def filters(caching: Sequence[Caching]) -> str:
    """Return the statements of ``recv``. Requests that the cache never answers stay whole."""
    chosen = [
        f'if ({CACHING} == "{number}") {{\n{statements}\n}}'
        for number, key in _keys(caching)
        if (statements := "\n".join([*_query(key.query), *_cookies(key.cookies or ())]))
    ]
    if not chosen:
        return ""
    body = " else ".join(chosen)
    return f'if (req.method == "GET" || req.method == "HEAD") {{\n{body}\n}}'


def is_filtered(caching: Sequence[Caching]) -> bool:
    """Return whether the URLs of some objects lack a part of the query."""
    return any(True for _, key in _keys(caching) for _ in _query(key.query))


def hashed(caching: Sequence[Caching]) -> str:
    """Return the ``hash`` snippet.

    Values are encoded, so that no value looks like the beginning of another field.
    """
    parts = [_CREDENTIALS]
    for number, key in _keys(caching):
        fields = [*(key.headers or ()), *(["Cookie"] if key.cookies else [])]
        if fields:
            body = "\n".join(map(_hashed, fields))
            parts.append(f'if ({CACHING} == "{number}") {{\n{body}\n}}')
    return "\n".join(parts)


def _keys(caching: Sequence[Caching]) -> Iterator[tuple[int, CacheKey]]:
    for number, entry in enumerate(caching):
        if entry.key and is_kept(entry):
            yield number, entry.key


def _hashed(name: str) -> str:
    return (
        f"if (req.http.{name}) {{\n"
        f'  set req.hash += "{name.lower()}:" + urlencode(req.http.{name}) + ";";\n}}'
    )


def _query(query: object) -> Iterator[str]:
    if query == "none":
        yield "set req.url = querystring.remove(req.url);"
    elif isinstance(query, dict):
        alternatives = "|".join(map(_name, names(query)))
        function = "regfilter_except" if "only" in query else "regfilter"
        regex = expression(f"^(?:{alternatives})$")
        yield f"set req.url = querystring.{function}(req.url, {regex});"


def _name(name: str) -> str:
    """Return an expression for a name, each of its characters percent-encoded or not."""
    return patterns.encoded(name.removesuffix("*")) + ("[^=&]*" if name.endswith("*") else "")


def _cookies(listed: Sequence[str]) -> Iterator[str]:
    """Yield statements that keep the listed cookies, in the order of the list."""
    if not listed:
        return
    yield 'std.collect(req.http.Cookie, "; ");'
    yield f'set {_COOKIES} = "";'
    for name in listed:
        cookie = expression(f"(?:^|;) *{exact(name)}=([^;]*)")
        yield (
            f"if (req.http.Cookie ~ {cookie}) {{\n"
            f"  set {_COOKIES} = {_COOKIES} + {string(f'; {name}=')} + re.group.1;\n}}"
        )
    yield f'set req.http.Cookie = regsub({_COOKIES}, "^; ", "");'
    yield 'if (req.http.Cookie == "") {\n  unset req.http.Cookie;\n}'
