# SPDX-License-Identifier: Apache-2.0
"""VCL that decides which answers of origins Fastly stores, and for how long.

Fastly's own code comes after it, in two variants: see "About Fastly VCL",
https://www.fastly.com/documentation/guides/full-site-delivery/fastly-vcl/about-fastly-vcl. Left to
itself, it stores answers with ``no-cache``, one variant even those with ``no-store``, and keeps
answers without a lifetime for an hour.
"""

from collections.abc import Iterator, Sequence

from poppy.model.document.error_pages import ErrorPage
from poppy.model.lifetimes import DEFAULT_TTL, MISSING_TTL
from poppy.model.specs import Caching
from poppy.provider.fastly import keys

#: Number of the caching entry; unset if none matches.
CACHING = "req.http.X-Poppy-Caching"

#: A condition of responses that a rule keeps for its TTL, and browsers for theirs.
KEPT_BY_RULE = " || ".join(f"{{0}}.status == {status}" for status in (200, 203, 300, 301, 308))

_PASS_TTL = 120  # Seconds during which requests for a passed URL do not wait for each other.
_MISSING = "beresp.status == 404 || beresp.status == 410"
_FORBIDDEN = '"(?i)(?:private|no-store|no-cache)"'
_FORBIDS = (
    'beresp.http.Set-Cookie || beresp.http.Vary ~ "[*]"'
    f" || beresp.http.Cache-Control ~ {_FORBIDDEN}"
    f" || beresp.http.Surrogate-Control ~ {_FORBIDDEN}"
)
# The test of Fastly's own code: without a match, it sets the TTL to an hour.
_LIFETIME = (
    'beresp.http.Expires || beresp.http.Surrogate-Control ~ "max-age"'
    ' || beresp.http.Cache-Control ~ "(?:s-maxage|max-age)"'
)


#: For ``error``: serve a stale object if the origin can't be reached. Without this and the same in
#: ``fetch``, Fastly does so only if a health check has found the origin sick. Statuses from 600 up
#: are Fastly's own. See "Serving stale content",
#: https://www.fastly.com/documentation/guides/full-site-delivery/performance/serving-stale-content.
ERROR = """\
if (obj.status >= 500 && obj.status < 600 && stale.exists) {
  return(deliver_stale);
}"""


def is_kept(entry: Caching) -> bool:
    """Return whether Fastly may keep a response that an entry of ``caching`` applies to."""
    if entry.mode == "bypass":
        return False
    listed = any(it.ttl for it in entry.status_ttl or ())
    return bool(entry.ttl) or entry.mode == "respect_origin" or listed


def page_number(number: int) -> str:
    """Return what :data:`CACHING` has for an error page with a TTL, by its number."""
    return f"page{number}"


def segments(caching: Sequence[Caching], *, compressed: bool) -> str:
    """Return VCL for ``vcl_recv`` that lets Fastly cache large objects in segments.

    Without it, Fastly answers with 503 instead of caching more than 20 MB. With it, Fastly asks
    the origin for ranges, or takes the whole object if that does not answer with 206. See
    https://www.fastly.com/documentation/guides/full-site-delivery/caching/segmented-caching.

    Args:
        caching: the field.
        compressed: whether Fastly compresses responses, which excludes segments. Then only URLs
            with the extension of a large, incompressible format have them.
    """
    condition = '(req.method == "GET" || req.method == "HEAD")'
    if compressed:
        condition += f' && req.url ~ "(?i)^[^?]*[.](?:{_LARGE})(?:[?]|$)"'
    if uncached := _uncached(caching):
        condition += f" && !({uncached})"
    return f"if ({condition}) {{\n  set req.enable_segmented_caching = true;\n}}"


#: Extensions of large files that can't be compressed further.
_LARGE = "|".join(
    (
        *("7z", "apk", "avi", "bin", "bz2", "deb", "dmg", "exe", "flac", "gz", "img", "iso"),
        *("jar", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpg", "msi", "ogg", "pdf", "pkg"),
        *("rar", "rpm", "tgz", "ts", "webm", "wmv", "xz", "zip", "zst"),
    )
)


def fetch(
    caching: Sequence[Caching],
    revalidating: int,
    failing: int,
    pages: Sequence[ErrorPage] = (),
) -> str:
    """Return the ``fetch`` snippet.

    Of what it does not pass, Fastly stores the statuses that are ``beresp.cacheable``: 200, 203,
    300, 301, 302, 404 and 410, and those in ``status_ttl``. Fastly's own code keeps the TTL of an
    answer with a lifetime, so the snippet adds one to answers without. ``Surrogate-Control`` is
    not sent to clients.

    Args:
        caching: the field.
        revalidating: seconds that objects may be served stale during a new fetch.
        failing: seconds that objects may be served stale if the origin fails.
        pages: the field ``error_pages``.
    """
    refused = "\n    || ".join(f"({condition})" for condition in _refusals(caching))
    listed = "".join(f" || ({condition})" for condition in _listed(caching))
    capped = " && ".join([CACHING, f"({_MISSING})", *_uncapped(caching)])
    return f"""\
if (beresp.status >= 500 && stale.exists) {{
  return(deliver_stale);
}}
std.collect(beresp.http.Cache-Control);
std.collect(beresp.http.Surrogate-Control);
std.collect(beresp.http.Vary);
{keys.marking()}
set beresp.stale_while_revalidate = 0s;
set beresp.stale_if_error = 0s;
if ((beresp.status < 500{listed}) && ({refused})) {{
  set beresp.ttl = {_PASS_TTL}s;
  return(pass);
}}
if (beresp.cacheable{listed}) {{
  set beresp.stale_while_revalidate = {int(revalidating)}s;
  set beresp.stale_if_error = {int(failing)}s;
{_lines(_stale_times(caching))}\
{_lines(_ttls(caching, pages))}\
  if ({capped} && beresp.ttl > {MISSING_TTL}s) {{
    set beresp.ttl = {MISSING_TTL}s;
  }}
  if (!({_LIFETIME})) {{
    if (!{CACHING}) {{
      set beresp.ttl = {DEFAULT_TTL}s;
    }}
    set beresp.http.Surrogate-Control = "max-age={DEFAULT_TTL}";
  }}
{_lines(_status_ttls(caching))}\
}}"""


def _lines(statements: Iterator[str]) -> str:
    return "".join(f"{statement}\n" for statement in statements)


def _refusals(caching: Sequence[Caching]) -> list[str]:
    """Return the conditions of answers that are not stored."""
    respecting = "".join(f' || {CACHING} == "{number}"' for number, _ in _respecting(caching))
    conditions = [
        _FORBIDS,
        # Only the origin knows how long a temporary redirect is right.
        f"beresp.status == 302 && !({_LIFETIME})",
        f"(beresp.status == 302 || !{CACHING}{respecting}) && ({_LIFETIME}) && beresp.ttl <= 0s",
        *(
            f'{CACHING} == "{number}" && !({_LIFETIME})'
            for number, entry in _respecting(caching)
            if not entry.ttl
        ),
        *_listed(caching, kept=False),
    ]
    uncached = _uncached(caching)
    if uncached:
        kept = "".join(f" && !({it})" for it in _listed(caching, kept=True))
        conditions.append(f"{uncached}{kept}")
    return conditions


def _listed(caching: Sequence[Caching], *, kept: bool | None = None) -> Iterator[str]:
    """Yield a condition for each entry: the status is in its ``status_ttl``.

    Args:
        caching: the field.
        kept: whether its TTL is above 0; None: both.
    """
    for number, entry in enumerate(caching):
        statuses = [
            f"beresp.status == {it.status}"
            for it in entry.status_ttl or ()
            if kept is None or bool(it.ttl) == kept
        ]
        if statuses:
            yield f'{CACHING} == "{number}" && ({" || ".join(statuses)})'


def _uncached(caching: Sequence[Caching]) -> str:
    """Return the condition of requests for paths that are never cached; empty without any."""
    numbers = [
        str(number)
        for number, entry in enumerate(caching)
        if entry.mode == "bypass" or (not entry.ttl and entry.mode != "respect_origin")
    ]
    return f'{CACHING} ~ "^(?:{"|".join(numbers)})$"' if numbers else ""


def _respecting(caching: Sequence[Caching]) -> Iterator[tuple[int, Caching]]:
    for number, entry in enumerate(caching):
        if entry.mode == "respect_origin":
            yield number, entry


def _uncapped(caching: Sequence[Caching]) -> Iterator[str]:
    """Yield conditions: the limit for "not found" applies. The origin may choose a longer TTL."""
    for number, _ in _respecting(caching):
        yield f'!({CACHING} == "{number}" && ({_LIFETIME}))'


def _stale_times(caching: Sequence[Caching]) -> Iterator[str]:
    for number, entry in enumerate(caching):
        times = [
            f"    set beresp.{name} = {seconds}s;"
            for name in ("stale_while_revalidate", "stale_if_error")
            if (seconds := getattr(entry, name)) is not None
        ]
        if times:
            yield "\n".join([f'  if ({CACHING} == "{number}") {{', *times, "  }"])


def _ttls(caching: Sequence[Caching], pages: Sequence[ErrorPage]) -> Iterator[str]:
    """Yield the choice of the rule's TTL; of a redirect, a rule only shortens the TTL."""
    chosen = [
        (str(number), entry.ttl, "" if entry.mode != "respect_origin" else f" && !({_LIFETIME})")
        for number, entry in enumerate(caching)
        if entry.ttl and entry.mode != "bypass"
    ]
    chosen += [
        (page_number(number), page.ttl, "")
        for number, page in enumerate(pages)
        if page.ttl is not None
    ]
    for name, ttl, condition in chosen:
        yield (
            f'  if ({CACHING} == "{name}"{condition}'
            f" && (beresp.status != 302 || beresp.ttl > {ttl}s)) {{\n"
            f"    set beresp.ttl = {ttl}s;\n  }}"
        )


def _status_ttls(caching: Sequence[Caching]) -> Iterator[str]:
    """Yield the TTLs by status. They end the subroutine: Fastly's own code has TTLs for errors."""
    for number, entry in enumerate(caching):
        for it in entry.status_ttl or ():
            if it.ttl:
                yield (
                    f'  if ({CACHING} == "{number}" && beresp.status == {it.status}) {{\n'
                    "    set beresp.cacheable = true;\n"
                    f"    set beresp.ttl = {it.ttl}s;\n    return(deliver);\n  }}"
                )
