# SPDX-License-Identifier: Apache-2.0
"""HAProxy's configuration, and Varnish's. Both are the same for all services.

What differs by service is in HAProxy's maps and policies (:mod:`poppy.edge.plane.policies`). The
frontend for clients decides everything about a request (:mod:`poppy.edge.plane.clients`). What
only a request that is not answered from the cache needs is left to the frontend for origins
(:mod:`poppy.edge.plane.origins`). Between them, fields ``x-p-...`` pass on what is known:

=============  ====================================================================
x-p-service    the service's ID, for the cache key
x-p-origin     the service's entry (:mod:`poppy.edge.plane.policies`), a semicolon, and the
               client's address
x-p-for        X-Forwarded-For, if it is not that address
x-p-proto      ``https`` if the client has used it; part of the cache key
x-p-gzip       ``1`` if the response is compressed (:mod:`poppy.edge.plane.delivery`)
x-p-errors     the entries and paths of the service's error pages, by status (``changes.lua``)
x-p-key        a digest of the header fields and cookies of the cache key, if it has any
               (:mod:`poppy.edge.plane.cache_key`)
x-p-page-key   the same for the pages of errors
x-p-pass       ``1`` if Varnish is not to keep the response, because of error pages
x-p-final      from Varnish: it did not understand the response to the same request
=============  ====================================================================

A request that can't be answered from the cache bypasses Varnish. So do all requests if Varnish
does not run.
"""

import importlib.resources
from collections.abc import Iterable, Mapping
from pathlib import Path

from poppy.edge.options import Settings
from poppy.edge.plane import (
    access_log,
    cache_key,
    changes,
    clients,
    delivery,
    lifetimes,
    marks,
    traffic,
)
from poppy.edge.plane.clients import answer, body
from poppy.edge.plane.files import Files
from poppy.model import paths
from poppy.model.document.delivery import compressible
from poppy.model.lifetimes import MISSING_TTL

#: Forward secrecy and authenticated encryption; those of TLS 1.3 always have both.
_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
_MARGIN = 5  # Seconds that each process waits longer than the one behind it.
_HOUR = 3600


def static_files(settings: Settings, origins: str) -> Mapping[Path, str]:
    """Return the content of all files that do not depend on services.

    Args:
        origins: the sections of HAProxy's configuration that serve the socket of origins.
    """
    files = Files(settings)
    refused = (paths.AMBIGUOUS, paths.DOT_SEGMENTS, clients.DOTS_WITH_PARAMETERS)
    return {
        files.configuration: _configuration(settings, files) + "\n" + origins,
        files.common_lua: _resource("common.lua"),
        files.lua: _resource("policy.lua"),
        files.changes_lua: _resource("changes.lua"),
        files.keys_lua: _resource("keys.lua"),
        files.metrics_lua: _resource("metrics.lua"),
        files.signing_lua: _resource("signing.lua"),
        files.refused: "".join(f"{expression}\n" for expression in refused),
        files.plain: f"{clients.PLAIN}\n",
        files.ready: "node 0\n",
        files.vcl: _vcl(settings, files),
    }


def _configuration(settings: Settings, files: Files) -> str:
    cached = _cached(settings, files)
    passed_directly = clients.passed(settings) + lifetimes.DIRECT_RULES + delivery.SERVED_RULES
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
    lua-load-per-thread {files.common_lua}
    lua-load-per-thread {files.lua}
    lua-load-per-thread {files.changes_lua}
    lua-load-per-thread {files.keys_lua}
    setenv POPPY_AGENT_METRICS {files.agent_metrics}
    lua-load-per-thread {files.metrics_lua}
    lua-load-per-thread {files.signing_lua}
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
{binds}{access_log.TARGET}{clients.rules(settings, files)}\
{clients.USE_BACKENDS}{delivery.USE_BACKEND}\
    default_backend direct
{access_log.RESPONSE}{changes.RESPONSE_RULES}\
{delivery.RESPONSE_RULES}{marks.RESPONSE_RULES}{traffic.RESPONSES}
{traffic.SECTION}
# A request is sent without Varnish if Varnish does not run.
backend cache
{cached}
backend cache_ruled
{cached}\
{clients.service_rules(files)}
backend direct
    http-reuse always
{passed_directly}\
    server origin unix@{files.origin_socket}
{delivery.backends(passed_directly, f"server origin unix@{files.origin_socket}")}
frontend metrics
    bind {_bind(settings.metrics)}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request use-service lua.agent_metrics if {{ path /metrics/agent }}
{answer(404, "Not Found", "!{ path /ready }")}\
{answer(200, "OK", f"{{ str(node),map_str({files.ready}) -m str 1 }}")}\
{answer(503, "Service Unavailable", "TRUE")}"""


def _cached(settings: Settings, files: Files) -> str:
    """Return the sections' part for what may be answered from the cache."""
    return f"""\
    balance first
    retries 1
    option redispatch 1
    http-reuse always
{clients.to_cache(settings)}{clients.passed(settings)}\
    server varnish unix@{files.cache_socket}
    server origin unix@{files.origin_socket}
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
        yield f"    http-error status {status} {body(status, reason)}{close}\n"


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
        "margin": str(_MARGIN),
        "missing_ttl": str(MISSING_TTL),
        "compressible": compressible(),
        "key": cache_key.of_proxies(settings.trusted_proxies),
        "marks": marks.vcl(),
    }
    text = _resource("cache.vcl")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _resource(name: str) -> str:
    return importlib.resources.files("poppy.edge.plane").joinpath(name).read_text("utf-8")
