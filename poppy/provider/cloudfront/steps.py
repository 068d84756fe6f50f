# SPDX-License-Identifier: Apache-2.0
"""The optional fields of a service as steps of its functions. No I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from poppy.common.errors import PermanentError
from poppy.model.document import caching, redirects
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import DEFAULT_REDIRECT_STATUS, HSTS, Delivery
from poppy.model.document.headers import RequestChanges, ResponseChanges
from poppy.model.document.signed_urls import DEFAULT_QUERY, SignedURLs
from poppy.model.secrets import Secret
from poppy.model.specs import Caching, Origin, ServiceSpec
from poppy.provider.cloudfront.paths import EVERYTHING, by_path, decoded, place
from poppy.provider.cloudfront.programs import Step
from poppy.provider.patterns import specificity

#: Gives the text of a secret.
Reveal = Callable[[Secret], str]

#: Names that functions do not see, or see but can't change ("Restrictions on all edge functions",
#: developer guide), as beginnings.
_FORBIDDEN = {
    "request": ("x-accel-", "x-amz-cf-", "x-amzn-", "x-edge-", "x-real-ip"),
    "response": ("x-accel-", "x-amz-cf-", "x-amzn-", "x-edge-", "x-real-ip", "warning"),
}
#: Fields of requests that CloudFront replaces unless they are part of the cache key ("Request and
#: response behavior for custom origins", developer guide).
_REPLACED = ("accept", "accept-charset", "accept-language", "referer", "user-agent")
_COOKIES = {"request": "cookie", "response": "set-cookie"}
_COMPRESSION = (Step("mark", ("compression.js",)),)


class Steps(NamedTuple):
    """The steps of the functions of a service for its optional fields.

    Attributes:
        before: those before restrictions.
        after: those after restrictions.
        responses: those of the function for responses.
        answers: those of ``responses`` that answers of the function for requests need too.
    """

    before: tuple[Step, ...]
    after: tuple[Step, ...]
    responses: tuple[Step, ...]
    answers: tuple[Step, ...]


def needs_scheme(delivery: Delivery) -> bool:
    """Return whether the functions must know the scheme of requests.

    It is then part of the cache key. With the distribution's own redirect to HTTPS, all others are
    over HTTPS.
    """
    return delivery.redirect not in (None, DEFAULT_REDIRECT_STATUS) or bool(
        delivery.hsts and not delivery.redirect
    )


def longest(secret: Secret) -> str:
    """Return a text as long as a secret, if that is known, or as the longest one."""
    return secret.text or 256 * "x"


def steps(spec: ServiceSpec, reveal: Reveal = longest) -> Steps:
    """Return the steps for the optional fields.

    Raises:
        PermanentError: CloudFront can't do a part of them; the message names it.
    """
    delivery = spec.delivery or Delivery()
    secure = tuple(_hsts(delivery.hsts, needs_scheme(delivery)) if delivery.hsts else ())
    shared = tuple(_cors(spec.cors) if spec.cors else ())
    return Steps(
        tuple(_upgrade(delivery)),
        (
            *_bounds(spec.origins),
            *(_tokens(spec.signed_urls, reveal) if spec.signed_urls else ()),
            *(it._replace(function="preflight") for it in shared),
            *_redirects(spec.redirects or ()),
            *_changes(spec, "request"),
            *_keys(spec.caching),
            *_cookies(spec.caching),
        ),
        (
            *_browsers(spec.caching),
            *_changes(spec, "response"),
            *shared,
            *(_COMPRESSION if delivery.compression == "gzip" else ()),
            *secure,
        ),
        secure,
    )


def _upgrade(delivery: Delivery) -> Iterable[Step]:
    if delivery.redirect not in (None, DEFAULT_REDIRECT_STATUS):
        yield Step("upgrade", ("https.js",), {"UPGRADE": delivery.redirect})


def _bounds(origins: Sequence[Origin]) -> Iterable[Step]:
    if any(origin.prefix for origin in origins):
        yield Step("stay", ("stay.js",))


def _hsts(hsts: HSTS, by_scheme: bool) -> Iterable[Step]:
    value = f"max-age={hsts.max_age}"
    value += "; includeSubDomains" if hsts.include_subdomains else ""
    value += "; preload" if hsts.preload else ""
    yield Step("secure", ("hsts.js",), {"HSTS": value, "BY_SCHEME": by_scheme})


def _cors(cors: CORS) -> Iterable[Step]:
    fields = {
        "access-control-allow-methods": ", ".join(cors.allow_methods or ()),
        "access-control-allow-headers": ", ".join(cors.allow_headers or ()),
        "access-control-max-age": "" if cors.max_age is None else str(cors.max_age),
    }
    table = {
        "origins": cors.allow_origins,
        "credentials": bool(cors.allow_credentials),
        "expose": ", ".join(cors.expose_headers or ()),
        "preflight": {name: {"value": value} for name, value in fields.items() if value},
    }
    yield Step("shareResponse", ("cors.js",), {"CORS": table})


def _redirects(entries: Sequence[redirects.Redirect]) -> Iterable[Step]:
    if entries:
        ranked = sorted(entries, key=lambda it: specificity(it.request_url))
        table = [
            (place(it.name, it.request_url), it.location, it.status or redirects.DEFAULT_STATUS)
            for it in ranked
        ]
        files = ("patterns.js", "query.js", "places.js", "redirects.js")
        yield Step("redirect", files, {"REDIRECTS": table})


def _changes(spec: ServiceSpec, direction: str) -> Iterable[Step]:
    table = []
    for number, entry in enumerate(spec.headers or ()):
        changes = getattr(entry, direction)
        if changes is None:
            continue
        added = getattr(changes, "add", None) or {}
        _check(changes, added, direction, f"headers[{number}].{direction}")
        places = [place(rule.name, rule.request_url) for rule in entry.rules or ()]
        removed = [name.lower() for name in changes.remove or ()]
        table.append((places, removed, _lowered(changes.set or {}), _lowered(added)))
    if table:
        files = ("patterns.js", "query.js", "places.js", "headers.js")
        yield Step(f"change{direction.title()}", files, {"CHANGES": table})


def _check(
    changes: RequestChanges | ResponseChanges,
    added: Mapping[str, str],
    direction: str,
    where: str,
) -> None:
    written = [*(changes.set or {}), *added]
    for name in [*written, *(changes.remove or ())]:
        if name.lower().startswith(_FORBIDDEN[direction]):
            raise PermanentError(f"{where}: CloudFront's functions can't change {name}")
    for name in written:
        if name.lower() == _COOKIES[direction]:
            raise PermanentError(f"{where}: CloudFront's functions can only remove {name}")
        if direction == "request" and name.lower() in _REPLACED:
            raise PermanentError(f"{where}: CloudFront does not pass {name} on to origins")


def _lowered(fields: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in fields.items()}


def _browsers(entries: Sequence[Caching]) -> Iterable[Step]:
    found = by_path(entries, lambda it: it.browser_ttl, None)
    if found != [(EVERYTHING, None)]:
        yield Step("browse", ("patterns.js", "normal.js", "browsers.js"), {"BROWSERS": found})


def _keys(entries: Sequence[Caching]) -> Iterable[Step]:
    found = by_path(entries, _query, None)
    if found != [(EVERYTHING, None)]:
        files = ("patterns.js", "normal.js", "query.js", "keys.js")
        yield Step("narrow", files, {"KEYS": found})


def _cookies(entries: Sequence[Caching]) -> Iterable[Step]:
    found = by_path(entries, lambda it: it.key and it.key.cookies, None)
    if found != [(EVERYTHING, None)]:
        yield Step("pick", ("patterns.js", "normal.js", "cookies.js"), {"COOKIES": found})


def _query(entry: Caching) -> tuple[bool, tuple[str, ...]] | None:
    """Return whether the listed parameters are kept, and their names; None for all."""
    query: Any = entry.key.query if entry.key else None
    if query in (None, "all"):
        return None
    if query == "none":
        return True, ()
    return "only" in query, caching.names(query)


def _tokens(signed: SignedURLs, reveal: Reveal) -> Iterable[Step]:
    # Bytes, because other spellings of a path need not be UTF-8.
    patterns = [decoded(it.name, it.request_url, "latin-1") for it in signed.rules or ()]
    table = {
        "name": signed.query or DEFAULT_QUERY,
        "keys": {key.id: reveal(key.secret) for key in signed.keys},
        "patterns": patterns or [EVERYTHING],
    }
    files = ("patterns.js", "addresses.js", "query.js", "tokens.js")
    yield Step("admit", files, {"TOKENS": table}, ("crypto",))
