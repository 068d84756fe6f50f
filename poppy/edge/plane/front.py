# SPDX-License-Identifier: Apache-2.0
"""HAProxy's configuration, and Varnish's. Both are the same for all services.

What differs by service is in HAProxy's maps and policies (:mod:`poppy.edge.plane.policies`). The
frontend for clients decides everything about a request, and passes it on with fields ``x-p-...``:

=============  ====================================================================
x-p-service    the service's ID
x-p-host       the requested host, for the cache key; ``Host`` is the origin's already
x-p-ttl        the TTL of a caching rule, such as ``60s``; missing without a rule
x-p-origin     host and port of the origin
x-p-tls        ``1`` if the origin is reached with TLS
x-p-gzip       ``1`` if the response is compressed (:mod:`poppy.edge.plane.delivery`)
x-p-for        X-Forwarded-For, to which Varnish appends an address of its own
x-p-final      from Varnish: it did not understand the response to the same request
=============  ====================================================================

A request that can't be answered from the cache bypasses Varnish. So do all requests if Varnish
does not run.
"""

import importlib.resources
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from poppy.edge.options import Settings
from poppy.edge.plane import cache_key, delivery
from poppy.edge.plane.policies import CHALLENGES
from poppy.model import headers, paths
from poppy.model.lifetimes import MISSING_TTL

_MAX_URL = 4096  # Bytes.
_METHODS = "GET HEAD POST PUT PATCH DELETE OPTIONS"
#: Forward secrecy and authenticated encryption; those of TLS 1.3 always have both.
_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
_HOST = r"^(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])$"
#: The parameters of dot segments as some origins read them: after decoding.
_DOTS_WITH_PARAMETERS = "(?i)^[^?]*(?:/|%2f)(?:[.]|%2e){1,2}%3b"
#: Targets that none of the other expressions matches.
_PLAIN = r'^(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?(?:[?][!"$-~]*)?$'
_MARGIN = 5  # Seconds that each process waits longer than the one behind it.
_HOUR = 3600
_UNUSUAL = "{ var(txn.unusual) -m bool }"


class Files:
    """The names of a node's files and sockets."""

    def __init__(self, settings: Settings) -> None:
        self.haproxy = settings.state_directory / "haproxy"
        self.varnish = settings.state_directory / "varnish"
        self.configuration = self.haproxy / "haproxy.cfg"
        self.lua = self.haproxy / "policy.lua"
        self.refused = self.haproxy / "refused"  #: Expressions of targets.
        self.plain = self.haproxy / "plain"  #: Expression of targets that are fine.
        self.policies = self.haproxy / "policies"
        self.certificates = self.haproxy / "certificates"
        self.certificate_list = self.haproxy / "certificates.list"
        self.challenges = self.haproxy / "challenges.map"
        self.hosts = self.haproxy / "hosts.map"
        self.services = self.haproxy / "services.map"
        self.delivery = self.haproxy / "delivery.map"
        self.ready = self.haproxy / "ready.map"
        self.vcl = self.varnish / "cache.vcl"
        self.runtime_socket = settings.run_directory / "haproxy.sock"
        self.cache_socket = settings.run_directory / "varnish.sock"
        self.origin_socket = settings.run_directory / "origin.sock"
        self.varnish_work = settings.run_directory / "varnish"


def static_files(settings: Settings, origins: str) -> Mapping[Path, str]:
    """Return the content of all files that do not depend on services.

    Args:
        origins: the sections of HAProxy's configuration that serve the socket of origins.
    """
    files = Files(settings)
    refused = (paths.AMBIGUOUS, paths.DOT_SEGMENTS, _DOTS_WITH_PARAMETERS)
    return {
        files.configuration: _configuration(settings, files) + "\n" + origins,
        files.lua: _resource("policy.lua"),
        files.refused: "".join(f"{expression}\n" for expression in refused),
        files.plain: f"{_PLAIN}\n",
        files.ready: "node 0\n",
        files.vcl: _vcl(settings, files),
    }


def _configuration(settings: Settings, files: Files) -> str:
    waiting = max(_waiting(settings), settings.between_bytes_timeout) + _MARGIN
    threads = f"    nbthread {settings.threads}\n" if settings.threads else ""
    binds = "".join(f"    bind {_bind(endpoint)}\n" for endpoint in settings.http)
    tls = f"ssl crt-list {files.certificate_list} strict-sni alpn h2,http/1.1"
    binds += "".join(f"    bind {_bind(endpoint)} {tls}\n" for endpoint in settings.https)
    return f"""\
global
    stats socket unix@{files.runtime_socket} mode 600 level admin
    stats timeout 60s
    log stdout format raw local0
    maxconn {settings.connections}
{threads}\
    setenv POPPY_POLICIES {files.policies}
    lua-load-per-thread {files.lua}
    tune.bufsize 81920
    tune.maxrewrite 8192
    tune.http.maxhdr 200
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets prefer-client-ciphers
    ssl-default-bind-ciphers {_CIPHERS}

defaults
    mode http
    timeout connect {_seconds(settings.connect_timeout)}
    timeout client 60s
    timeout http-request 10s
    timeout http-keep-alive 30s
    timeout server {_seconds(waiting)}
    timeout tunnel {_HOUR}s
{"".join(_errors())}
frontend clients
{binds}\
{_unusual(settings)}\
    http-request del-header x-p- -m beg if {_UNUSUAL}
{_target(files)}{_service(files)}{_challenge(files)}\
{_fields(settings)}{delivery.request_rules(files.delivery)}{_decision(settings, files)}\
{delivery.USE_BACKEND}    use_backend direct if {{ var(txn.direct) -m bool }}
    default_backend cache
    http-response set-header X-Cache MISS
    http-response set-header X-Cache %[res.hdr(x-p-cache)] if {{ res.hdr(x-p-cache) -m found }}
    http-response del-header x-p- -m beg
{delivery.RESPONSE_RULES}
# A request is sent without Varnish if Varnish does not run.
backend cache
    balance first
    retries 1
    option redispatch 1
    http-reuse always
    server varnish unix@{files.cache_socket}
    server origin unix@{files.origin_socket}

backend direct
    http-reuse always
    server origin unix@{files.origin_socket}
{delivery.backends(f"server origin unix@{files.origin_socket}")}
frontend metrics
    bind {_bind(settings.metrics)}
    http-request use-service prometheus-exporter if {{ path /metrics }}
{_answer(404, "Not Found", "!{ path /ready }")}\
{_answer(200, "OK", f"{{ str(node),map_str({files.ready}) -m str 1 }}")}\
{_answer(503, "Service Unavailable", "TRUE")}"""


def _target(files: Files) -> str:
    """Return rules that bring the target into origin-form, or refuse it (RFC 9112, section 3.2).

    HAProxy itself answers 400 if the target's authority is not the Host field.
    """
    allowed = f"{{ method {_METHODS} }}"
    return (
        "    acl is_asterisk url -m str *\n"
        "    acl is_origin_form url -m beg /\n"
        "    http-request set-uri * if !is_origin_form METH_OPTIONS !{ path -m found }\n"
        "    http-request set-uri / if !is_origin_form !is_asterisk !{ path -m found }\n"
        "    http-request set-uri %[pathq] if !is_origin_form !is_asterisk\n"
        # One expression for most targets is faster than one for each problem.
        + _answer(
            400,
            "Bad Request",
            f"!{{ url -m reg -f {files.plain} }} {{ url -m reg -f {files.refused} }}",
        )
        + _answer(400, "Bad Request", "is_asterisk !METH_OPTIONS")
        + _answer(414, "URI Too Long", f"{{ url_len gt {_MAX_URL} }}")
        + _answer(405, "Method Not Allowed", f"!{allowed}")
        # If an origin resolves to the edge, a request would loop (RFC 8586).
        + _answer(508, "Loop Detected", "{ req.hdr(CDN-Loop) -m reg -i ^poppy([[:space:];]|$) }")
    )


def _service(files: Files) -> str:
    """Return rules that look up the service, or answer 404.

    Only for an unknown host, the trailing dot is removed and the name is checked. A connection
    with TLS is for one service (421: RFC 9110, section 15.5.20).
    """
    lookup = f"http-request set-var(txn.service) var(txn.host),map_str({files.hosts})"
    unknown = "!{ var(txn.service) -m found }"
    missing = _answer(404, "Not Found", unknown)
    return f"""\
    http-request set-var(txn.host) req.fhdr(host),host_only,lower
    {lookup}
    http-request set-var(txn.host) var(txn.host),regsub([.]$,) if {unknown}
{_answer(400, "Bad Request", f"{unknown} !{{ var(txn.host) -m reg '{_HOST}' }}")}\
    {lookup} if {unknown}
{missing}\
    http-request set-var(txn.fields) var(txn.service),map_str({files.services})
{_answer(404, "Not Found", "!{ var(txn.fields) -m found }")}\
    http-request set-var(txn.sni) ssl_fc_sni,lower,map_str({files.hosts}) if {{ ssl_fc }}
    http-request set-var(txn.own) bool(true) if {{ var(txn.sni),strcmp(txn.service) eq 0 }}
{_answer(421, "Misdirected Request", "{ ssl_fc } !{ var(txn.own) -m bool }")}"""


def _challenge(files: Files) -> str:
    """Return rules that answer an authority (RFC 8555, section 8.3), whatever else applies."""
    is_challenge = f"METH_GET {{ path -m beg {CHALLENGES} }}"
    return f"""\
    http-request set-var-fmt(txn.asked) %[var(txn.host)]%[path] if {is_challenge}
    http-request set-var(txn.challenge) var(txn.asked),map_str({files.challenges})
    http-request return status 200 content-type application/octet-stream\
 lf-string %[var(txn.challenge)] if {{ var(txn.challenge) -m found }}
"""


def _unusual(settings: Settings) -> str:
    """Return a rule that finds requests with a field to remove, by the names' first words.

    Most requests have none, so one expression spares them one for each field.
    """
    names = [*headers.UNTRUSTED, "x-p-", settings.client_ip_header or "x-p-"]
    words = "|".join(sorted({name.lower().partition("-")[0] for name in names}))
    found = f"(?i)(?:^|,)(?:{words})(?:[-_,]|$)"
    return (
        "    http-request set-var(txn.unusual) bool(true)"
        f" if {{ req.hdr_names -m reg '{found}' }}\n"
    )


def _fields(settings: Settings) -> str:
    """Return rules that remove header fields which clients must not send."""
    respelled = [*headers.FORWARDED, *headers.ADDRESSES]
    own = [settings.client_ip_header] if settings.client_ip_header else []
    if settings.trusted_proxies:
        networks = " ".join(str(network) for network in settings.trusted_proxies)
        # Proxies use their own spelling only.
        never = [
            _any_of(headers.OVERRIDES, "[-_]"),
            _any_of(itertools.chain.from_iterable(map(headers.respellings, respelled))),
        ]
        rules = (
            f"    http-request set-var(txn.trusted) bool(true) if {{ src {networks} }}\n"
            f"    http-request del-header '{_any_of([*respelled, *own])}' -m reg"
            f" if {_UNUSUAL} !{{ var(txn.trusted) -m bool }}\n"
        )
    else:
        never = [_any_of([*headers.OVERRIDES, *respelled], "[-_]")]
        rules = ""
    rules += "".join(
        f"    http-request del-header '{names}' -m reg if {_UNUSUAL}\n" for names in never
    )
    if own:
        rules += (
            f"    http-request set-src req.hdr({own[0]}) if {{ var(txn.trusted) -m bool }}"
            f" {{ req.hdr({own[0]}) -m found }}\n"
        )
    return rules + (
        "    http-request set-header X-Forwarded-For %[src]"
        " if !{ req.hdr(X-Forwarded-For) -m found }\n"
        "    http-request del-header Upgrade if !{ req.hdr(Upgrade) -m str -i websocket }\n"
        # Varnish would remove the fields that it lists (RFC 9110, section 7.6.1), ours included.
        "    http-request del-header Connection\n"
        "    http-request set-header Connection Upgrade if { req.hdr(Upgrade) -m found }\n"
    )


def _decision(settings: Settings, files: Files) -> str:
    """Return rules that decide what happens to a request."""
    country = ""
    if settings.geography_database is not None:
        country = (
            f"    http-request set-var(txn.country) src,map_ip({settings.geography_database})"
            " if has_policy\n"
        )
    strip = ""
    if settings.strip_cookies:
        strip = "    http-request del-header Cookie if !{ var(txn.direct) -m bool }\n"
    direct = (
        "!{ method GET HEAD }",
        "{ var(txn.ttl) -m str 0s }",
        "{ req.hdr(Transfer-Encoding) -m found }",
        "{ req.hdr_val(Content-Length) gt 0 }",
        "{ req.body_len gt 0 }",
        "{ req.hdr(Authorization) -m found }",
        "{ req.hdr(Upgrade) -m found }",
    )
    no_cookie = "" if settings.strip_cookies else "{ req.hdr(Cookie) -m found }"
    bypasses = "".join(
        f"    http-request set-var(txn.direct) bool(true) if {condition}\n"
        for condition in (*direct, no_cookie)
        if condition
    )
    # With HTTP/2, no field says that a body of unknown length follows.
    return f"""\
    http-request wait-for-body time 10s at-least 1 if METH_GET {{ fc_http_major 2 }}
    http-request set-var(txn.ttl) var(txn.fields),field(1,|)
    http-request set-var(txn.policy) var(txn.fields),field(5,|)
    acl has_policy var(txn.policy) -m len gt 0
    http-request set-var(txn.origin) var(txn.fields),field(2,|,3) if !has_policy
    http-request set-var(txn.client) src,hex if has_policy
{country}\
    http-request lua.decide if has_policy
{_answer(503, "Service Unavailable", "!{ var(txn.origin) -m found }")}\
{_answer(403, "Forbidden", "{ var(txn.refused) -m bool }")}\
{bypasses}{strip}\
    http-request set-var(txn.header) var(txn.origin),field(3,|)
    http-request set-header x-p-service %[var(txn.service)]
    http-request set-header x-p-host %[var(txn.host)]
    http-request set-header x-p-ttl %[var(txn.ttl)] if {{ var(txn.ttl) -m len gt 0 }}
    http-request set-header x-p-origin %[var(txn.origin),field(1,|)]
    http-request set-header x-p-tls 1 if {{ var(txn.origin),field(2,|) -m str 1 }}
    http-request set-header x-p-for %[req.fhdr(X-Forwarded-For)]
    http-request set-header Host %[var(txn.host)]
    http-request set-header Host %[var(txn.header)] if {{ var(txn.header) -m len gt 0 }}
    http-request add-header CDN-Loop poppy
"""


def _errors() -> Iterable[str]:
    """Return the responses to what HAProxy refuses itself."""
    reasons = {
        400: "Bad Request",
        408: "Request Timeout",
        500: "Internal Server Error",
        502: "Bad Gateway",
        503: "Service Unavailable",
        504: "Gateway Timeout",
    }
    for status, reason in reasons.items():
        close = " hdr Connection close" if status in (400, 408) else ""
        yield f"    http-error status {status} {_body(status, reason)}{close}\n"


def _answer(status: int, reason: str, condition: str) -> str:
    # After an ambiguous request, the rest of the connection can't be trusted.
    close = " hdr Connection close" if status == 400 else ""
    return (
        f"    http-request return status {status} {_body(status, reason)}{close} if {condition}\n"
    )


def _body(status: int, reason: str) -> str:
    return f'content-type "text/plain; charset=utf-8" string "Error {status} {reason}\\n"'


def _any_of(names: Iterable[str], hyphen: str = "-") -> str:
    return f"(?i)^(?:{'|'.join(name.replace('-', hyphen) for name in names)})$"


def _bind(endpoint: str) -> str:
    return f"{endpoint} v6only" if endpoint.startswith("[") else endpoint


def _waiting(settings: Settings) -> float:
    """Return the seconds that Varnish waits for the origins' side of HAProxy to respond."""
    return settings.connect_timeout + settings.first_byte_timeout


def _seconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _vcl(settings: Settings, files: Files) -> str:
    values = {
        "origin": str(files.origin_socket),
        "first_byte_timeout": f"{_waiting(settings):.3f}",
        "between_bytes_timeout": f"{settings.between_bytes_timeout + _MARGIN:.3f}",
        "max_object_size": str(settings.max_object_size),
        "grace": str(settings.grace),
        "missing_ttl": str(MISSING_TTL),
        "compressible": delivery.compressible(),
        "key": cache_key.of_proxies(settings.trusted_proxies),
    }
    text = _resource("cache.vcl")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _resource(name: str) -> str:
    return importlib.resources.files("poppy.edge.plane").joinpath(name).read_text("utf-8")
