# SPDX-License-Identifier: Apache-2.0
"""VCL that normalises and validates a request before any rule applies.

A request that an edge and an origin could interpret differently is refused; see
``doc/source/drivers/varnish.rst``. All others are passed on unchanged, and matched by expressions
that cover every spelling of a path (:mod:`poppy.provider.patterns`).
"""

from collections.abc import Iterable

from poppy.model import headers, paths
from poppy.provider.varnish.access import Settings

_MAX_URL = 4096  # Bytes. Longer ones could exceed Varnish's regex limits, which gives a 503.
_METHODS = "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"
_HOST = r"(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
_AUTHORITY = "(?i)^https?://[^/?#]*"
#: Internal fields, ``x-poppy-...``: none may come from a client or reach an origin.
FIELDS = ("client", "purged", "concerned", "meant", "origin", "ttl")

#: Convert the target to origin-form and the host to lower case, or answer 400 (RFC 9112, section
#: 3.2). The router and each service run it, because Varnish undoes the router's changes to a
#: request when it switches to a label.
NORMALISE = f"""\
sub poppy_normalise {{
    if (req.url ~ "{_AUTHORITY}") {{
        set req.http.Host = regsub(req.url, "(?i)^https?://([^/?#]*).*", "\\1");
        if (req.method == "OPTIONS" && req.url ~ "{_AUTHORITY}$") {{
            set req.url = "*";
        }} else {{
            set req.url = regsub(req.url, "{_AUTHORITY}/?", "/");
        }}
    }}
    set req.http.Host = std.tolower(regsub(req.http.Host, "[.]?(?::[0-9]*)?$", ""));
    if (req.http.Host !~ "^{_HOST}$") {{
        return (synth(400));
    }}
    if (req.url !~ "^/" && !(req.method == "OPTIONS" && req.url == "*")) {{
        return (synth(400));
    }}
    if (req.url ~ "{paths.AMBIGUOUS}" || req.url ~ "{paths.DOT_SEGMENTS}") {{
        return (synth(400));
    }}
    if (req.url ~ "^.{{{_MAX_URL + 1}}}") {{
        return (synth(414));
    }}
    if (req.method !~ "^(?:{_METHODS})$") {{
        return (synth(405));
    }}
}}"""


def distrust(settings: Settings) -> str:
    """Return a sub that removes untrusted fields and sets ``x-poppy-client``.

    ``x-poppy-client`` is the client's address, which only trusted proxies may override.
    """
    believed = [*headers.FORWARDED, *headers.ADDRESSES, *settings.proxy_headers]
    never = [
        *headers.OVERRIDES,
        *(other for name in headers.UNTRUSTED for other in headers.respellings(name)),
        *(f"x-poppy-{name}" for name in FIELDS),
    ]
    forget = _unset(dict.fromkeys(believed)) + "    set req.http.X-Forwarded-For = client.ip;\n"
    trusted = f"    set req.http.x-poppy-client = {_client(settings)};\n"
    if settings.trusted_proxies:
        forget = f"    if (client.ip !~ poppy_proxies) {{\n{forget}    }}\n"
    return f"sub poppy_distrust {{\n{_unset(never)}{forget}{trusted}}}"


def _client(settings: Settings) -> str:
    if not settings.client_ip_header:
        return "client.ip"
    return f"std.ip(req.http.{settings.client_ip_header}, client.ip)"


def _unset(names: Iterable[str]) -> str:
    return "".join(f"    unset req.http.{name};\n" for name in names)
