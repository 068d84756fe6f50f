# SPDX-License-Identifier: Apache-2.0
"""The compiler from services to VCL. No I/O; the same input gives the same text.

To rule out injection, tenants' input reaches the VCL in three forms only: as validated host names
and addresses, as regular expressions made by :mod:`poppy.provider.patterns`, and as JSON in a
one-line comment of printable ASCII.
"""

import hashlib
import ipaddress
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from poppy.common.errors import PermanentError
from poppy.edge.plane.cache_key import of_proxies
from poppy.model.lifetimes import MISSING_TTL
from poppy.model.specs import Origin, Rule, ServiceSpec
from poppy.provider import patterns
from poppy.provider.varnish.access import (
    TABLE,
    Restricting,
    Settings,
    acl,
    any_of,
    concerns,
    restrictions,
)
from poppy.provider.varnish.metadata import Metadata
from poppy.provider.varnish.request import FIELDS, NORMALISE, distrust

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|[0-9A-Fa-f:.]{2,45}")
_KEEP = 3600  # Seconds to keep an object after its grace, for conditional requests.
_LASTING = (200, 203, 300, 301, 308)  # Status codes that a rule's TTL applies to.
_LARGE_TTL = 120  # Seconds to remember that an object is too large to cache.

# After an ambiguous request, the rest of the connection can't be trusted.
_SYNTH = """\
sub vcl_synth {{
    if (resp.status == 400) {{
        set resp.http.Connection = "close";
    }}
{}
}}"""
_ERROR_BODY = """\
    set {0}.http.Content-Type = "text/plain; charset=utf-8";
    set {0}.body = "Error " + {0}.status + " " + {0}.reason + {{"
"}};
    return (deliver);"""


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that identify a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def service_vcl(
    metadata: Metadata,
    key: str,
    spec: ServiceSpec,
    addresses: Mapping[str, Sequence[str]],
    settings: Settings,
) -> str:
    """Return the VCL of one service.

    Args:
        metadata: the metadata to embed, which includes the soft purges.
        key: identifies the service's objects in the cache; letters and digits.
        addresses: IP addresses by origin, at least one for each.

    Raises:
        PermanentError: part of the document can't be expressed in VCL; the message names it.
    """
    targets = [_Target(origin, addresses[origin.origin]) for origin in spec.origins]
    restricting = restrictions(spec, settings)
    choice = _choice(
        "poppy_origin",
        "bereq.http.x-poppy-origin",
        "bereq.url",
        ((rule, str(number)) for number, it in enumerate(targets) for rule in it.origin.rules),
    )
    kept = _choice("poppy_ttl", "beresp.http.x-poppy-ttl", "bereq.url", _ttls(spec))
    passed = _choice("poppy_pass", "req.http.x-poppy-ttl", "req.url", _ttls(spec))
    several = max(len(target.addresses) for target in targets) > 1
    parts = [
        metadata.to_comment() + "vcl 4.1;",
        "import directors;\nimport purge;\nimport std;",
        "backend default none;",
        *(_backends(number, target, settings) for number, target in enumerate(targets)),
        acl("poppy_proxies", settings.trusted_proxies) if settings.trusted_proxies else "",
        _init(targets),
        NORMALISE,
        distrust(settings),
        *restricting.declarations,
        *choice.subs,
        *kept.subs,
        *(passed.subs if _passes(spec) else ()),
        _recv(spec, settings, restricting, passed, several=several),
        f'sub vcl_hash {{\n    hash_data("{key}");\n{of_proxies(settings.trusted_proxies)}}}',
        _hit(metadata),
        _backend_fetch(targets, choice),
        _backend_response(key, metadata, kept, settings),
        _backend_error(max(len(target.addresses) for target in targets)),
        _DELIVER,
        _SYNTH.format(_ERROR_BODY.format("resp")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def router_vcl(labels: Mapping[str, str]) -> str:
    """Return the VCL that routes each request to its service by host.

    Args:
        labels: the service's VCL label by domain.
    """
    routes = [
        f'    if (req.http.host == "{_host(domain)}") {{ return (vcl({label})); }}\n'
        for domain, label in sorted(labels.items())
    ]
    # Many small functions, because compilers take very long to optimise a big one.
    tables = ["".join(routes[i : i + TABLE]) for i in range(0, len(routes), TABLE)]
    subs = "".join(f"sub routes_{n} {{\n{table}}}\n\n" for n, table in enumerate(tables))
    calls = "".join(f"    call routes_{n};\n" for n, _ in enumerate(tables))
    return (
        f"vcl 4.1;\n\nimport std;\n\nbackend default none;\n\n{NORMALISE}\n\n{subs}"
        f"sub vcl_recv {{\n{_NO_LOOP}    call poppy_normalise;\n{calls}"
        f"    return (synth(404));\n}}\n\n{_SYNTH.format(_ERROR_BODY.format('resp'))}\n"
    )


# If an origin resolves to the edge, a request would loop (RFC 8586).
_NO_LOOP = """\
    if (req.http.CDN-Loop ~ "(^|[ ,])poppy([ ,;]|$)") {
        return (synth(508));
    }
"""
_MARK_LOOP = """\
    if (bereq.http.CDN-Loop) {
        set bereq.http.CDN-Loop = bereq.http.CDN-Loop + ", poppy";
    } else {
        set bereq.http.CDN-Loop = "poppy";
    }
"""

# The response to a GET with a body may depend on the body, which is not part of the cache key.
_NO_BODY_IN_CACHE = """\
    if (req.http.Transfer-Encoding || req.http.Content-Length ~ "[1-9]") {
        return (pass);
    }
"""
# Varnish answers 416 to several ranges. A server may ignore the field (RFC 9110, section 14.2).
_ONE_RANGE = """\
    if (req.http.Range ~ ",") {
        unset req.http.Range;
    }
"""
# A request with a body can be retried only if the edge has buffered the body.
_RETRIABLE = """\
    if (req.method == "PUT" || req.method == "DELETE" || req.method == "OPTIONS") {
        if (std.integer(req.http.Content-Length, 65537) <= 65536) {
            std.cache_req_body(64KB);
        }
    }
"""

_DELIVER = """\
sub vcl_deliver {
    unset resp.http.x-poppy-service;
    unset resp.http.x-poppy-url;
    unset resp.http.x-poppy-generation;
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
    set resp.http.X-Cache-Hits = obj.hits;
}"""


class _Target(NamedTuple):
    origin: Origin
    addresses: Sequence[str]


def _host(name: str) -> str:
    if not _HOST.fullmatch(name):
        raise PermanentError(f"{name!r} is not a host name")
    return name


class _Choice(NamedTuple):
    """Subs that set a field to the value of the most specific matching rule, and their calls."""

    field: str
    subs: list[str]
    calls: str


def _choice(name: str, field: str, url: str, cases: Iterable[tuple[Rule, str]]) -> _Choice:
    """Return VCL that chooses a value by rules. If no rule matches, the field stays unset.

    Consecutive rules with the same value share an expression. Each sub has few expressions,
    because compilers take very long to optimise a big function.
    """
    ordered = sorted(cases, key=lambda case: patterns.specificity(case[0].request_url or "/*"))
    branches = [
        f"if ({concerns((rule.request_url for rule, _ in alike), url)}) {{\n"
        f'        set {field} = "{value}";\n    }}'
        for value, alike in itertools.groupby(ordered, key=lambda case: case[1])
    ]
    tables = [branches[i : i + TABLE] for i in range(0, len(branches), TABLE)]
    subs = [f"sub {name}_{n} {{\n    {' else '.join(t)}\n}}" for n, t in enumerate(tables)]
    calls = [f"    unset {field};\n"]
    calls += [
        f"    if (!{field}) {{\n        call {name}_{n};\n    }}\n" for n, _ in enumerate(tables)
    ]
    return _Choice(field, subs, "".join(calls))


def _ttls(spec: ServiceSpec) -> list[tuple[Rule, str]]:
    return [(rule, f"{int(entry.ttl)}s") for entry in spec.caching for rule in entry.rules]


def _passes(spec: ServiceSpec) -> bool:
    return any(entry.ttl == 0 for entry in spec.caching)


def _backends(number: int, target: _Target, settings: Settings) -> str:
    return "\n".join(
        f"backend origin_{number}_{index} {{\n"
        f'    .host = "{ipaddress.ip_address(address)}";\n'
        f'    .port = "{int(target.origin.port)}";\n'
        f"    .connect_timeout = {settings.connect_timeout:.3f}s;\n"
        f"    .first_byte_timeout = {settings.first_byte_timeout:.3f}s;\n"
        f"    .between_bytes_timeout = {settings.between_bytes_timeout:.3f}s;\n}}"
        for index, address in enumerate(target.addresses)
    )


def _init(targets: Sequence[_Target]) -> str:
    lines = []
    for number, target in enumerate(targets):
        lines.append(f"    new origin_{number} = directors.round_robin();\n")
        lines += [
            f"    origin_{number}.add_backend(origin_{number}_{index});\n"
            for index, _ in enumerate(target.addresses)
        ]
    return "sub vcl_init {\n" + "".join(lines) + "}"


def _recv(
    spec: ServiceSpec,
    settings: Settings,
    restricting: Restricting,
    passed: _Choice,
    *,
    several: bool,
) -> str:
    parts = [
        "    call poppy_normalise;\n    call poppy_distrust;\n",
        *restricting.calls,
        _RETRIABLE if several else "",
        _NO_BODY_IN_CACHE,
        _ONE_RANGE,
    ]
    if _passes(spec):
        parts += [
            passed.calls,
            f'    if ({passed.field} == "0s") {{\n        return (pass);\n    }}\n',
        ]
    if settings.strip_cookies:
        parts.append(
            '    if (req.method == "GET" || req.method == "HEAD") {\n'
            "        unset req.http.Cookie;\n    }\n"
        )
    return "sub vcl_recv {\n" + "".join(parts) + "}"


def _hit(metadata: Metadata) -> str:
    """Return the sub that applies soft purges to an object at its next request.

    Varnish can't list its objects, so it can't change all of them at once, and a ban would evict
    them. Instead this sub marks a hit that was fetched before a purge of its URL as stale, and
    looks it up again. The stale object is then served, and refreshed with a conditional request
    in the background. The TTL is set to slightly in the past, because Varnish treats an object
    that expires at this very instant as neither fresh nor stale.
    """
    if not metadata.purges:
        return ""
    conditions = []
    for purge in metadata.purges:
        older = f"std.integer(obj.http.x-poppy-generation, 0) < {int(purge.generation)}"
        concerned = concerns([purge.url])
        conditions.append(f"({older} && {concerned})")
    return (
        f"sub vcl_hit {{\n    if (obj.ttl > 0s && ({any_of(conditions)})) {{\n"
        "        set req.http.x-poppy-purged = purge.soft(-1ms, -1s, -1s);\n"
        "        return (restart);\n    }\n}"
    )


def _backend_fetch(targets: Sequence[_Target], choice: _Choice) -> str:
    first, *others = (_select(number, target) for number, target in enumerate(targets))
    branches = [
        f'if ({choice.field} == "{number}") {{\n{body}    }}'
        for number, body in enumerate(others, 1)
    ]
    branches.append(f"{{\n{first}    }}" if others else first.strip())
    return (
        "sub vcl_backend_fetch {\n"
        + "".join(f"    unset bereq.http.x-poppy-{name};\n" for name in FIELDS)
        + _MARK_LOOP
        + choice.calls
        + f"    {' else '.join(branches)}\n"
        + f"    unset {choice.field};\n}}"
    )


def _select(number: int, target: _Target) -> str:
    origin = target.origin
    # A retry uses the address after the failed one. Requests share the director, so it may return
    # the failed address again.
    backends = [f"origin_{number}_{index}" for index, _ in enumerate(target.addresses)]
    following = zip(backends, [*backends[1:], backends[0]], strict=True)
    choices = [f"if (bereq.retries == 0) {{ set bereq.backend = origin_{number}.backend(); }}"]
    choices += [
        f"if (bereq.backend == {failed}) {{ set bereq.backend = {other}; }}"
        for failed, other in (following if len(backends) > 1 else ())
    ]
    lines = ["        " + "\n        else ".join(choices) + "\n"]
    name = {"origin": origin.origin, "custom": origin.hostheadervalue or origin.origin}.get(
        origin.hostheadertype
    )
    if name is not None:
        bracketed = f"[{name}]" if ":" in name else name
        _host(name)
        lines.append(f'        set bereq.http.Host = "{bracketed}";\n')
    return "".join(lines)


def _backend_response(key: str, metadata: Metadata, kept: _Choice, settings: Settings) -> str:
    """Return the sub that sets the marks for purges and the TTL.

    The built-in VCL keeps responses that must not be shared out of the cache.
    """
    return (
        "sub vcl_backend_response {\n"
        "    if (beresp.status >= 500 && bereq.is_bgfetch) {\n        return (abandon);\n    }\n"
        f'    set beresp.http.x-poppy-service = "{key}";\n'
        "    set beresp.http.x-poppy-url = bereq.url;\n"
        f'    set beresp.http.x-poppy-generation = "{int(metadata.generation)}";\n'
        f"    set beresp.grace = {int(settings.grace)}s;\n"
        f"    set beresp.keep = {_KEEP}s;\n{kept.calls}{_TTL.format(kept.field)}"
        "    if (std.integer(beresp.http.Content-Length, 0) > "
        f"{int(settings.max_object_size)}) {{\n"
        "        set beresp.uncacheable = true;\n"
        f"        set beresp.ttl = {_LARGE_TTL}s;\n    }}\n}}"
    )


_TTL = f"""\
    if ({{0}}) {{{{
        if ({any_of(f"beresp.status == {status}" for status in _LASTING)}) {{{{
            set beresp.ttl = std.duration({{0}}, 0s);
        }}}} else if (beresp.status == 404 || beresp.status == 410) {{{{
            set beresp.ttl = std.duration({{0}}, 0s);
            if (beresp.ttl > {MISSING_TTL}s) {{{{
                set beresp.ttl = {MISSING_TTL}s;
            }}}}
        }}}} else if (beresp.ttl > std.duration({{0}}, 0s)) {{{{
            set beresp.ttl = std.duration({{0}}, 0s);
        }}}}
    }}}}
    unset {{0}};
"""


def _backend_error(most_addresses: int) -> str:
    """Return the sub that retries an idempotent request (RFC 9110, section 9.2.2).

    The retry goes to the origin's next address.
    """
    retry = ""
    if most_addresses > 1:
        retry = (
            f"    if (bereq.retries < {min(most_addresses - 1, 3)} && "
            'bereq.method !~ "^(?:POST|PATCH)$") {\n'
            "        set bereq.backend = beresp.backend;\n        return (retry);\n    }\n"
        )
    return (
        f"sub vcl_backend_error {{\n{retry}"
        "    if (bereq.is_bgfetch) {\n        return (abandon);\n    }\n"
        + _ERROR_BODY.format("beresp")
        + "\n}"
    )
