# SPDX-License-Identifier: Apache-2.0
"""Snippets of VCL: which rules a request matches. Conditions only look at the outcome.

Fastly runs the conditions of a service by their priority and lets several hold, whereas of a
service's paths the most specific one counts. So one snippet decides, for each request, by chains
of ``if`` and ``else``, and says what it found in three header fields; each condition compares
one field with one value. Conditions so stay short, exclude each other, and need no order.

What tenants wrote reaches the text as in :mod:`poppy.provider.varnish.vcl`: as expressions of
letters, digits and escapes, as addresses, and as nothing else. ``%`` is written as an escape too,
as it begins one in Fastly's strings.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from poppy.common.errors import PermanentError
from poppy.model import paths
from poppy.model.services import Rule, ServiceSpec
from poppy.provider import headers, patterns
from poppy.provider.fastly import keys
from poppy.provider.geography import country_codes

#: The number of the origin; without the field, it is the first.
ORIGIN = "req.http.X-Poppy-Origin"
#: The number of the caching entry; without the field, none is about the request.
CACHING = "req.http.X-Poppy-Caching"
#: ``refused`` or ``malformed`` for requests that get no content.
VERDICT = "req.http.X-Poppy-Verdict"

_FIELDS = ("Origin", "Caching", "Verdict", "Keys")
#: Fastly adds the client's address to X-Forwarded-For, and keeps what a client says there.
_UNTRUSTED = tuple(
    spelling for name in headers.UNTRUSTED for spelling in (name, *headers.respellings(name))
)
_ALWAYS = "req.url"  # Fastly's VCL has no condition "true"; every request has a URL.


def acls(spec: ServiceSpec) -> str:
    """Declarations for ``init``: a list of addresses for each client IP rule; may be empty.

    They are part of the version, unlike the entries of Fastly's own lists (edge ACLs), a change
    of which would show at once in the version that serves.
    """
    return "\n".join(
        _acl(f"poppy_client_{number}", rule.client_ip or "")
        for number, rule in enumerate(_client_rules(spec))
    )


def request(spec: ServiceSpec) -> str:
    """The decisions, for ``recv``.

    Raises:
        PermanentError: something in the document can't be expressed; names it.
    """
    origins = [
        (rule, f'set {ORIGIN} = "{number}";')
        for number, entry in enumerate(spec.origins)
        for rule in entry.rules
    ]
    caching = [
        (rule, f'set {CACHING} = "{number}";')
        for number, entry in enumerate(spec.caching)
        for rule in entry.rules
    ]
    parts = [
        *(f"unset req.http.X-Poppy-{field};" for field in _FIELDS),
        *(f"unset req.http.{name};" for name in _UNTRUSTED),
        "set req.http.X-Forwarded-For = client.ip;",
        # Without this, anybody can purge a URL by asking for it with the method PURGE.
        'if (req.method == "FASTLYPURGE") {\n'
        '  set req.http.Fastly-Purge-Requires-Auth = "1";\n} else {',
        *_refusals(spec),
        f'if ({_MALFORMED}) {{\n  set {VERDICT} = "malformed";\n}}',
        "}",
        _chain(origins if len(spec.origins) > 1 else ()),
        _chain(caching),
    ]
    return "\n".join(part for part in parts if part)


#: For ``hash``: what was fetched with credentials is for who has the same ones. Fastly would
#: give it to everybody, where the origin does not forbid it.
KEY = "if (req.http.Authorization) {\n  set req.hash += req.http.Authorization;\n}"

#: For ``miss`` and ``pass``: origins have no use for our header fields.
CLEAN = "\n".join(f"unset bereq.http.X-Poppy-{field};" for field in _FIELDS)


def answer(grace: int) -> str:
    """For ``fetch``: what an object can be purged by, and how long it may be served stale."""
    return (
        f"set beresp.stale_while_revalidate = {int(grace)}s;\n"
        f"set beresp.stale_if_error = {int(grace)}s;\n{keys.marking()}"
    )


def _chain(cases: Iterable[tuple[Rule, str]]) -> str:
    """``if``, ``else if`` ... over rules, the most specific first."""
    ordered = sorted(cases, key=lambda case: patterns.specificity(case[0].request_url or "/*"))
    return " else ".join(f"if ({_concerns(rule)}) {{\n  {body}\n}}" for rule, body in ordered)


def _concerns(rule: Rule) -> str:
    """A condition: the rule is about this request."""
    pattern = rule.request_url
    if pattern is None or paths.canonical(pattern) == "/*":
        return _ALWAYS
    return f'req.url ~ "{_safe(patterns.url_regex(pattern))}"'


def _refusals(spec: ServiceSpec) -> list[str]:
    """For each kind, who is on a blacklist or not on the whitelist of the path."""
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
    """A condition: the rule is about this client."""
    if rule.client_ip is not None:
        return f"client.ip ~ {acl}"
    if rule.referrer is not None:
        return f'req.http.Referer ~ "{_safe(patterns.referrer_regex(rule.referrer))}"'
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
        raise PermanentError(f"{text!r} is no IP address or CIDR block") from exc
    return f'acl {name} {{\n  "{network.network_address}"/{network.prefixlen};\n}}'


def _any_of(conditions: Iterable[str]) -> str:
    return " || ".join(conditions)


def _safe(expression: str) -> str:
    return expression.replace("%", r"\x25")


_MALFORMED = _any_of(
    [
        'req.url !~ "^/"',
        f'req.url ~ "{_safe(patterns.AMBIGUOUS)}"',
        f'req.url ~ "{_safe(patterns.DOT_SEGMENTS)}"',
    ]
)
