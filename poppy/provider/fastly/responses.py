# SPDX-License-Identifier: Apache-2.0
"""VCL for what clients get: header fields, CORS, compression, TTLs of browsers, error pages.

The ``deliver`` snippet runs for responses of the cache, of origins and of Fastly itself. Header
objects of Fastly's API could set fields too, but each would take one of the account's changes an
hour, and a service may have hundreds of fields.
"""

from collections.abc import Callable, Iterator, Sequence

from poppy.common.errors import PermanentError
from poppy.model.document.cors import ANY, CORS
from poppy.model.document.delivery import Delivery, compressible
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.specs import Caching, Rule, ServiceSpec
from poppy.provider.fastly.answers import CACHING, KEPT_BY_RULE, page_number
from poppy.provider.fastly.literals import exact, expression, is_field, is_reserved, string

#: The numbers of the entries of ``headers`` that match a request.
_CHANGES = "req.http.X-Poppy-Changes"
#: The client's field ``Origin``.
_SITE = "req.http.X-Poppy-Site"
#: Whether a request is a preflight request of an allowed site.
PREFLIGHT = "req.http.X-Poppy-Preflight"
#: The status of the error, while its page is fetched.
PAGE = "req.http.X-Poppy-Page"
#: A status of Poppy's own, for preflight requests.
_PREFLIGHT_STATUS = 620
_CORS_FIELDS = ("Origin", "Methods", "Headers", "Credentials")

Concerns = Callable[[Rule], str]


def check(spec: ServiceSpec) -> None:
    """Refuse names of fields that VCL can't have, and those that direct Fastly.

    Raises:
        PermanentError: the message names the field.
    """
    for number, entry in enumerate(spec.headers or ()):
        for direction, changes in (("request", entry.request), ("response", entry.response)):
            for name in _names(changes) if changes else ():
                place = f"headers[{number}].{direction}: Fastly can't change the field {name!r}"
                if not is_field(name):
                    raise PermanentError(f"{place}: it has characters besides A-Z, 0-9, - and _")
                if is_reserved(name):
                    raise PermanentError(f"{place}: it directs Fastly itself")


def preflights(cors: CORS | None, verdict: str) -> str:
    """Return the statements of ``recv`` that answer preflight requests.

    See the Fetch Standard, section 3.2.3.

    Args:
        cors: the field.
        verdict: the field that refuses a request.
    """
    if cors is None:
        return ""
    asked = f'req.method == "OPTIONS" && {_SITE} && req.http.Access-Control-Request-Method'
    return f"""\
set {_SITE} = req.http.Origin;
if ({asked}) {{
  set {PREFLIGHT} = "1";
  if ({_allowed(cors)}) {{
    error {_PREFLIGHT_STATUS};
  }}
  set {verdict} = "refused";
}}"""


def answers(cors: CORS | None) -> str:
    """Return the ``error`` snippet that answers preflight requests."""
    if cors is None:
        return ""
    return f"""\
if (obj.status == {_PREFLIGHT_STATUS}) {{
  set obj.status = 204;
  synthetic {{""}};
  return(deliver);
}}"""


def requests(headers: Sequence[HeaderRules], concerns: Concerns) -> str:
    """Return the statements of ``recv`` that change requests, and decide on responses.

    Args:
        headers: the field.
        concerns: returns a condition: the rule's path matches the request.
    """
    # The paths of all entries are compared before any entry changes the request.
    decisions, statements = [], []
    for number, entry in enumerate(headers):
        if entry.rules:
            matches = " || ".join(
                concerns(Rule(rule.name, rule.request_url)) for rule in entry.rules
            )
            decisions.append(
                f'if ({matches}) {{\n  set {_CHANGES} = {_CHANGES} + ":{number}:";\n}}'
            )
        if entry.request:
            statements += _where(number, entry, _changes("req", entry.request))
    # Fastly reads a field that is not set as "(null)" where texts are joined.
    start = [f'set {_CHANGES} = "";'] if decisions else []
    return "\n".join([*start, *decisions, *statements])


def deliver(spec: ServiceSpec) -> str:
    """Return the ``deliver`` snippet; may be empty."""
    parts = [
        *_pages(spec.error_pages or ()),
        *_browser_ttls(spec.caching),
        *(
            line
            for number, entry in enumerate(spec.headers or ())
            if entry.response
            for line in _where(number, entry, _changes("resp", entry.response))
        ),
        *(_sharing(spec.cors) if spec.cors else ()),
        *(_delivery(spec.delivery) if spec.delivery else ()),
    ]
    return "\n".join(parts)


def _names(changes: RequestChanges | ResponseChanges) -> Iterator[str]:
    yield from changes.set or {}
    yield from getattr(changes, "add", None) or {}
    yield from changes.remove or ()


def _changes(subject: str, changes: RequestChanges | ResponseChanges) -> list[str]:
    added = getattr(changes, "add", None) or {}
    return [
        *(f"unset {subject}.http.{name};" for name in changes.remove or ()),
        *(f"set {subject}.http.{n} = {string(v)};" for n, v in (changes.set or {}).items()),
        *(f"add {subject}.http.{name} = {string(value)};" for name, value in added.items()),
    ]


def _where(number: int, entry: HeaderRules, lines: Sequence[str]) -> list[str]:
    if not entry.rules:
        return list(lines)
    body = "\n  ".join(lines)
    return [f'if ({_CHANGES} ~ ":{number}:") {{\n  {body}\n}}'] if lines else []


def _allowed(cors: CORS) -> str:
    """Return a condition: the site is allowed."""
    if ANY in cors.allow_origins:
        return _SITE
    return f'{_SITE} ~ "^(?:{"|".join(map(exact, cors.allow_origins))})$"'


def _sharing(cors: CORS) -> Iterator[str]:
    """Yield the statements for CORS; the origin's fields do not count."""
    for name in _CORS_FIELDS:
        yield f"unset resp.http.Access-Control-Allow-{name};"
    yield "unset resp.http.Access-Control-Expose-Headers;"
    yield "unset resp.http.Access-Control-Max-Age;"
    is_open = ANY in cors.allow_origins
    if not is_open:
        yield _varying("Origin")
    site = '"*"' if is_open else _SITE
    lines = [f"set resp.http.Access-Control-Allow-Origin = {site};"]
    if cors.allow_credentials:
        lines.append('set resp.http.Access-Control-Allow-Credentials = "true";')
    preflight = [
        f"set resp.http.Access-Control-{name} = {string(value)};"
        for name, value in (
            ("Allow-Methods", ", ".join(cors.allow_methods or ())),
            ("Allow-Headers", ", ".join(cors.allow_headers or ())),
            ("Max-Age", "" if cors.max_age is None else str(cors.max_age)),
        )
        if value
    ]
    exposed = ", ".join(cors.expose_headers or ())
    other = f"set resp.http.Access-Control-Expose-Headers = {string(exposed)};" if exposed else ""
    if preflight:
        lines += [f"if ({PREFLIGHT}) {{", *preflight, "}"]
    if other:
        lines += [f"if (!{PREFLIGHT}) {{", other, "}"]
    if is_open:
        yield "\n".join(lines)
    else:
        body = "\n  ".join(lines)
        yield f"if ({_allowed(cors)}) {{\n  {body}\n}}"


def _varying(name: str) -> str:
    """Return the statement that adds a name to ``Vary``; a second field may be ignored."""
    return (
        f'if (resp.http.Vary !~ "(?i)(?:^|[, ]){name}(?:[, ]|$)") {{\n'
        "  if (resp.http.Vary) {\n"
        f'    set resp.http.Vary = resp.http.Vary + ", {name}";\n'
        f'  }} else {{\n    set resp.http.Vary = "{name}";\n  }}\n}}'
    )


def _delivery(delivery: Delivery) -> Iterator[str]:
    if delivery.hsts:
        value = string(delivery.hsts.value)
        yield (
            "if (req.http.Fastly-SSL) {\n"
            f"  set resp.http.Strict-Transport-Security = {value};\n}}"
        )
    if delivery.http3:
        # https://www.fastly.com/documentation/reference/vcl/functions/tls-and-http/h3-alt-svc
        yield "h3.alt_svc();"
    hint = {"gzip": "gzip", "brotli": "on"}.get(delivery.compression or "")
    if hint:
        yield _compression(hint)


def _compression(hint: str) -> str:
    """Return the statements that let Fastly compress a response while it is sent.

    Compressed objects in the cache (``beresp.gzip``) would be fetched once more for clients that
    do not accept them, and would not include what is never cached. ``on`` prefers brotli to gzip.
    See https://www.fastly.com/documentation/reference/http/http-headers/X-Compress-Hint.
    """
    whole = "resp.status != 204 && resp.status != 206 && resp.status != 304"
    return f"""\
if ({whole}
    && resp.http.Content-Type ~ {expression(compressible())}
    && !resp.http.Content-Encoding && resp.http.Cache-Control !~ "(?i)no-transform") {{
  set resp.http.X-Compress-Hint = "{hint}";
{_varying("Accept-Encoding")}
}}"""


def _browser_ttls(caching: Sequence[Caching]) -> Iterator[str]:
    """Yield the statements for the TTLs of browsers, of successes and permanent redirects."""
    for number, entry in enumerate(caching):
        if entry.browser_ttl is not None:
            kept = KEPT_BY_RULE.format("resp")
            yield (
                f'if ({CACHING} == "{number}" && ({kept}) && !{PAGE}) {{\n'
                f'  set resp.http.Cache-Control = "max-age={entry.browser_ttl}";\n'
                "  unset resp.http.Expires;\n  unset resp.http.Age;\n}"
            )


#: What belongs to the request for which an error page is fetched.
_CONDITIONS = (
    *("Cookie", "Authorization", "Range", "If-Range", "If-Match", "If-None-Match"),
    *("If-Modified-Since", "If-Unmodified-Since"),
)


def _pages(pages: Sequence[ErrorPage]) -> Iterator[str]:
    """Yield the statements that fetch the page of an error, and give it the error's status.

    A restart keeps the request with its changes:
    https://www.fastly.com/documentation/reference/vcl/statements/restart. The field
    ``Fastly-Force-Shield`` lets a restarted request use the whole cache again.
    """
    if not pages:
        return
    restart = "\n    ".join(
        (
            f"set {PAGE} = resp.status;",
            *(f"unset req.http.{name};" for name in _CONDITIONS),
            "unset req.http.X-Poppy-Origin;",
            f"unset {CACHING};",
            'set req.http.Fastly-Force-Shield = "1";',
            "restart;",
        )
    )
    chosen = " else ".join(
        f"if ({_any_status(page)}) {{\n    set req.url = {string(page.path)};\n    {restart}\n  }}"
        for page in pages
    )
    yield f"""\
if ({PAGE}) {{
  set resp.status = std.atoi({PAGE});
  set resp.http.Cache-Control = "no-store";
  unset resp.http.Expires;
  unset resp.http.ETag;
  unset resp.http.Last-Modified;
}} else if (req.method == "GET" || req.method == "HEAD") {{
  {chosen}
}}"""


def _any_status(page: ErrorPage) -> str:
    return " || ".join(f"resp.status == {status}" for status in page.status)


def page_ttls(pages: Sequence[ErrorPage]) -> str:
    """Return the statements of ``recv`` that choose the TTLs of pages.

    The number of an entry of ``caching`` is replaced.
    """
    return "\n".join(
        f"if ({PAGE} && req.url == {string(page.path)}) {{\n"
        f'  set {CACHING} = "{page_number(number)}";\n}}'
        for number, page in enumerate(pages)
        if page.ttl is not None
    )
