# SPDX-License-Identifier: Apache-2.0
"""VCL that decides which answers of origins Fastly stores, and for how long.

Fastly's own code comes after it, in two variants: see "About Fastly VCL",
https://www.fastly.com/documentation/guides/full-site-delivery/fastly-vcl/about-fastly-vcl. Left to
itself, it stores answers with ``no-cache``, one variant even those with ``no-store``, and keeps
answers without a lifetime for an hour.
"""

from collections.abc import Sequence

from poppy.model.lifetimes import DEFAULT_TTL, MISSING_TTL
from poppy.model.specs import Caching
from poppy.provider.fastly import keys

#: Number of the caching entry; unset if none matches.
CACHING = "req.http.X-Poppy-Caching"

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


def segments(caching: Sequence[Caching]) -> str:
    """Return VCL for ``vcl_recv`` that lets Fastly cache large objects in segments.

    Without it, Fastly answers with 503 instead of caching more than 20 MB. With it, Fastly asks
    the origin for ranges, or takes the whole object if that does not answer with 206. See
    https://www.fastly.com/documentation/guides/full-site-delivery/caching/segmented-caching.
    """
    condition = '(req.method == "GET" || req.method == "HEAD")'
    if uncached := _uncached(caching):
        condition += f" && !({uncached})"
    return f"if ({condition}) {{\n  set req.enable_segmented_caching = true;\n}}"


def fetch(caching: Sequence[Caching], revalidating: int, failing: int) -> str:
    """Return the ``fetch`` snippet.

    Of what it does not pass, Fastly stores the statuses that are ``beresp.cacheable``: 200, 203,
    300, 301, 302, 404 and 410. Fastly's own code keeps the TTL of an answer with a lifetime, so
    the snippet adds one to answers without. ``Surrogate-Control`` is not sent to clients.

    Args:
        revalidating: seconds that objects may be served stale during a new fetch.
        failing: seconds that objects may be served stale if the origin fails.
    """
    refused = "\n    || ".join(f"({condition})" for condition in _refusals(caching))
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
if (beresp.status < 500 && ({refused})) {{
  set beresp.ttl = {_PASS_TTL}s;
  return(pass);
}}
if (beresp.cacheable) {{
  set beresp.stale_while_revalidate = {int(revalidating)}s;
  set beresp.stale_if_error = {int(failing)}s;
{_ttls(caching)}
  if ({CACHING} && ({_MISSING}) && beresp.ttl > {MISSING_TTL}s) {{
    set beresp.ttl = {MISSING_TTL}s;
  }}
  if (!({_LIFETIME})) {{
    if (!{CACHING}) {{
      set beresp.ttl = {DEFAULT_TTL}s;
    }}
    set beresp.http.Surrogate-Control = "max-age={DEFAULT_TTL}";
  }}
}}"""


def _refusals(caching: Sequence[Caching]) -> list[str]:
    """Return the conditions of answers that are not stored."""
    conditions = [
        _FORBIDS,
        # Only the origin knows how long a temporary redirect is right.
        f"beresp.status == 302 && !({_LIFETIME})",
        f"(beresp.status == 302 || !{CACHING}) && ({_LIFETIME}) && beresp.ttl <= 0s",
    ]
    return [*conditions, uncached] if (uncached := _uncached(caching)) else conditions


def _uncached(caching: Sequence[Caching]) -> str:
    """Return the condition of requests for paths with TTL 0; empty if there are none."""
    numbers = [str(number) for number, entry in enumerate(caching) if not entry.ttl]
    return f'{CACHING} ~ "^(?:{"|".join(numbers)})$"' if numbers else ""


def _ttls(caching: Sequence[Caching]) -> str:
    """Return the choice of the rule's TTL; of a redirect, a rule only shortens the TTL."""
    return "\n".join(
        f'  if ({CACHING} == "{number}"'
        f" && (beresp.status != 302 || beresp.ttl > {entry.ttl}s)) {{\n"
        f"    set beresp.ttl = {entry.ttl}s;\n  }}"
        for number, entry in enumerate(caching)
        if entry.ttl
    )
