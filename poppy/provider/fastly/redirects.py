# SPDX-License-Identifier: Apache-2.0
"""VCL for redirects: to HTTPS, and of paths.

The request's part sets the location and raises an error with a status of Poppy's own; Fastly
leaves 600 to 699 to services. The error's part makes it the answer. See
https://www.fastly.com/documentation/reference/vcl/statements/error.
"""

import re
from collections.abc import Callable, Sequence

from poppy.model.document.redirects import CAPTURE, DEFAULT_STATUS, Redirect
from poppy.model.specs import ServiceSpec
from poppy.provider import patterns
from poppy.provider.fastly.literals import expression, string

LOCATION = "req.http.X-Poppy-Location"
#: Fields for the texts of wildcards, by number.
_CAPTURED = "req.http.X-Poppy-Captured-{}"
_OWN = 300  #: What is added to a status for an error of Poppy's own.
#: What stays as it is in a path and in a query (RFC 3986, sections 3.3 and 3.4). In a query, "&"
#: and "=" of a path would begin another parameter.
_IN_PATH, _IN_QUERY = "/!$'()*+,;=:@&", "/!'()*,:@"


def to_https(spec: ServiceSpec) -> str:
    """Return the statements of ``recv`` that redirect to HTTPS; empty without a redirect."""
    status = spec.delivery and spec.delivery.redirect
    if not status:
        return ""
    return f"""\
if (!req.http.Fastly-SSL) {{
  set {LOCATION} = "https://" + req.http.host + req.url;
  error {status + _OWN};
}}"""


def of_paths(redirects: Sequence[Redirect]) -> str:
    """Return the statements of ``recv`` that redirect by path, the most specific first."""
    ordered = sorted(redirects, key=lambda it: patterns.specificity(it.request_url))
    return " else ".join(map(_redirect, ordered))


def answers(spec: ServiceSpec) -> str:
    """Return the ``error`` snippet; empty without redirects."""
    chosen = {spec.delivery.redirect} if spec.delivery else set()
    chosen |= {it.status or DEFAULT_STATUS for it in spec.redirects or ()}
    return "\n".join(
        f"""\
if (obj.status == {status + _OWN}) {{
  set obj.status = {status};
  set obj.http.Location = {LOCATION};
  synthetic {{""}};
  return(deliver);
}}"""
        for status in sorted(filter(None, chosen))
    )


def _redirect(redirect: Redirect) -> str:
    path, query, fragment = _parts(redirect.location)
    lines = [f"set {_CAPTURED.format(number)} = re.group.{number};" for number in _used(redirect)]
    # The text in it can't be the beginning of another host.
    lines += [
        f"set {LOCATION} = {_filled(path, _IN_PATH)};",
        f'set {LOCATION} = regsub({LOCATION}, "^//+", "/");',
    ]
    if query or fragment or "?" not in redirect.request_url:
        rest = [_filled(query, _IN_QUERY)] if query else []
        if not query and "?" not in redirect.request_url:
            rest = ['regsub(req.url, "^[^?]*", "")']
        rest += [_filled(fragment, "/")] if fragment else []
        lines.append(f"set {LOCATION} = {LOCATION} + {' + '.join(rest)};")
    body = "\n  ".join([*lines, f"error {(redirect.status or DEFAULT_STATUS) + _OWN};"])
    matches = expression(patterns.url_regex(redirect.request_url, captures=True))
    return f"if (req.url ~ {matches}) {{\n  {body}\n}}"


def _parts(location: str) -> tuple[str, str, str]:
    """Return path, query with its ``?``, and fragment with its ``#``."""
    found = re.fullmatch(r"([^?#]*)([?][^#]*)?(#.*)?", location, re.DOTALL)
    assert found is not None
    return found[1], found[2] or "", found[3] or ""


def _used(redirect: Redirect) -> Sequence[int]:
    return sorted({int(number) for number in CAPTURE.findall(redirect.location)})


def _filled(template: str, kept: str) -> str:
    """Return an expression for a text with references to wildcards."""
    # CAPTURE has one group, so every second part is a number.
    parts = CAPTURE.split(template)
    filled = [
        _encoded(_CAPTURED.format(part), kept) if index % 2 else string(part)
        for index, part in enumerate(parts)
        if part
    ]
    return " + ".join(filled) or '""'


def _encoded(variable: str, kept: str) -> str:
    """Return an expression for the text of a wildcard: decoded, and encoded where necessary.

    ``urldecode`` reads ``+`` as a space, and ``urlencode`` encodes all but the unreserved
    characters: https://www.fastly.com/documentation/reference/vcl/functions/strings/urldecode.
    """
    wrap: Callable[[str, str, str], str] = 'regsuball({}, "{}", "{}")'.format
    text = f"urlencode(urldecode({wrap(variable, '[+]', '%252B')}))"
    for character in kept:
        text = wrap(text, rf"\x25{ord(character):02X}", character)
    return wrap(text, "/+", "/")
