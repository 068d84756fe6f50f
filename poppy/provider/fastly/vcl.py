# SPDX-License-Identifier: Apache-2.0
"""VCL snippets that decide which rules a request matches.

Fastly evaluates a service's conditions by priority, and several can match. But only the most
specific path of a service counts. So one snippet decides with chains of ``if`` and ``else`` and
stores the result in three header fields. Each condition compares one field with one value, so
conditions are short, exclusive and independent of order. :mod:`poppy.provider.fastly.answers`
uses the caching entry.

Tenants' text is inserted only as addresses and as expressions of letters, digits and escapes.
``%`` is escaped too, because it starts an escape in Fastly's strings.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from poppy.common.errors import PermanentError
from poppy.model import headers, paths
from poppy.model.specs import Rule, ServiceSpec
from poppy.provider import patterns
from poppy.provider.fastly import answers, cache_keys, origins, redirects, responses, signing
from poppy.provider.fastly.answers import CACHING
from poppy.provider.fastly.dictionaries import dictionary
from poppy.provider.fastly.literals import expression
from poppy.provider.fastly.origins import ORIGIN
from poppy.provider.geography import country_codes

#: ``refused``, ``malformed`` or ``expired`` for denied requests.
VERDICT = "req.http.X-Poppy-Verdict"

_FIELDS = (
    *("Origin", "Caching", "Verdict", "Keys", "Cookies"),
    *("Changes", "Site", "Preflight", "Page", "Location"),
    *(f"Captured-{number}" for number in range(1, 10)),
    *signing.FIELDS,
)
#: Fastly adds the client's address to X-Forwarded-For, and keeps what a client says there.
_UNTRUSTED = tuple(
    spelling for name in headers.UNTRUSTED for spelling in (name, *headers.respellings(name))
)
_ALWAYS = "req.url"  # Fastly's VCL has no condition "true"; every request has a URL.


def acls(spec: ServiceSpec) -> str:
    """Return the ``init`` snippet: an ACL for each client IP rule; may be empty.

    These ACLs are part of the version. A change of Fastly's edge ACLs would affect the active
    version at once.
    """
    return "\n".join(
        _acl(f"poppy_client_{number}", rule.client_ip or "")
        for number, rule in enumerate(_client_rules(spec))
    )


def request(spec: ServiceSpec, *, segmented: bool) -> str:
    """Return the ``recv`` snippet with the decisions.

    Args:
        segmented: whether large objects are cached in segments.

    Raises:
        PermanentError: VCL can't express a part of the document; the message names it.
    """
    routes = [
        (rule, f'set {ORIGIN} = "{number}";')
        for number, entry in enumerate(spec.origins)
        for rule in entry.rules
    ]
    caching = [
        (rule, f'set {CACHING} = "{number}";')
        for number, entry in enumerate(spec.caching)
        for rule in entry.rules
    ]
    once = [
        *(f"unset req.http.X-Poppy-{field};" for field in _FIELDS),
        *(f"unset req.http.{name};" for name in _UNTRUSTED),
        *origins.received(spec.origins),
        "set req.http.X-Forwarded-For = client.ip;",
    ]
    checks = [
        *_refusals(spec),
        f'if ({_MALFORMED}) {{\n  set {VERDICT} = "malformed";\n}}',
        _unless_refused(redirects.to_https(spec)),
        _unless_refused(
            signing.check(spec.signed_urls, dictionary(spec).name, VERDICT, _concerns)
        ),
        _unless_refused(responses.preflights(spec.cors, VERDICT)),
        _unless_refused(redirects.of_paths(spec.redirects or ())),
        responses.requests(spec.headers or (), _concerns),
    ]
    is_compressed = spec.delivery is not None and spec.delivery.compression in ("gzip", "brotli")
    parts = [
        # A restarted request keeps its changes and decisions.
        "if (req.restarts == 0) {",
        *once,
        # Without this, anybody can purge a URL by asking for it with the method PURGE.
        'if (req.method == "FASTLYPURGE") {\n'
        '  set req.http.Fastly-Purge-Requires-Auth = "1";\n} else {',
        *checks,
        "}\n}",
        _decided(
            _chain(routes if len(spec.origins) > 1 else ()),
            _chain(caching),
            responses.page_ttls(spec.error_pages or ()),
        ),
        answers.segments(spec.caching, compressed=is_compressed) if segmented else "",
        cache_keys.filters(spec.caching),
    ]
    return "\n".join(part for part in parts if part)


def _decided(*parts: str) -> str:
    """Return the decisions by path; they are made once, and again for an error page."""
    body = "\n".join(part for part in parts if part)
    return f"if (req.restarts == 0 || {responses.PAGE}) {{\n{body}\n}}" if body else ""


def _unless_refused(statements: str) -> str:
    return f"if (!{VERDICT}) {{\n{statements}\n}}" if statements else ""


def fetch(spec: ServiceSpec) -> str:
    """Return the ``miss`` and ``pass`` snippets, for requests to origins."""
    return "\n".join(
        (
            *origins.fetched(spec.origins, dictionary(spec).name),
            *(f"unset bereq.http.X-Poppy-{field};" for field in _FIELDS),
        )
    )


def _chain(cases: Iterable[tuple[Rule, str]]) -> str:
    """Return an ``if``/``else if`` chain over rules, the most specific first."""
    ordered = sorted(cases, key=lambda case: patterns.specificity(case[0].request_url or "/*"))
    return " else ".join(f"if ({_concerns(rule)}) {{\n  {body}\n}}" for rule, body in ordered)


def _concerns(rule: Rule, url: str = "req.url") -> str:
    """Return a condition: the rule's path matches the request, or another variable."""
    pattern = rule.request_url
    if pattern is None or paths.canonical(pattern) == "/*":
        return _ALWAYS
    return f"{url} ~ {expression(patterns.url_regex(pattern))}"


def _refusals(spec: ServiceSpec) -> list[str]:
    """Return, for each kind, a block that denies clients by blacklist or whitelist."""
    lists = {id(rule): f"poppy_client_{n}" for n, rule in enumerate(_client_rules(spec))}
    blocks = []
    for (access, _kind), rules in spec.restricting:
        matched = _any_of(
            f"({_concerns(rule)} && {_is_meant(rule, lists.get(id(rule), ''))})" for rule in rules
        )
        if access == "whitelist":
            matched = f"({_any_of(map(_concerns, rules))}) && !({matched})"
        blocks.append(f'if ({matched}) {{\n  set {VERDICT} = "refused";\n}}')
    return blocks


def _is_meant(rule: Rule, acl: str) -> str:
    """Return a condition: the rule matches the client."""
    if rule.client_ip is not None:
        return f"client.ip ~ {acl}"
    if rule.referrer is not None:
        return f"req.http.Referer ~ {expression(patterns.referrer_regex(rule.referrer))}"
    try:
        codes = country_codes(rule.geography or "")
    except KeyError as exc:
        raise PermanentError(
            f"Restriction rule {rule.name!r}: there is no country or continent {rule.geography!r}"
        ) from exc
    return f'client.geo.country_code ~ "^(?:{"|".join(sorted(codes))})$"'


def _client_rules(spec: ServiceSpec) -> Sequence[Rule]:
    return [
        rule for entry in spec.restrictions for rule in entry.rules if rule.kind == "client_ip"
    ]


def _acl(name: str, text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise PermanentError(f"{text!r} is not an IP address or CIDR block") from exc
    return f'acl {name} {{\n  "{network.network_address}"/{network.prefixlen};\n}}'


def _any_of(conditions: Iterable[str]) -> str:
    return " || ".join(conditions)


_MALFORMED = _any_of(
    [
        'req.url !~ "^/"',
        f"req.url ~ {expression(paths.AMBIGUOUS)}",
        f"req.url ~ {expression(paths.DOT_SEGMENTS)}",
    ]
)
