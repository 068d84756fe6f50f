# SPDX-License-Identifier: Apache-2.0
"""How HAProxy talks to the clients of a service: what its field ``delivery`` says.

The map ``delivery`` leads from the service's ID to ``status|hsts|gzip|websocket``: the status of
the redirect to HTTPS, the value of Strict-Transport-Security (percent-encoded, because ``;`` ends
a command of the runtime API), ``1`` to compress, and ``0`` to refuse WebSocket. Fields of
responses may follow (:mod:`poppy.edge.plane.fields`). Services without any of these have no entry.
"""

import urllib.parse
from collections.abc import Collection
from pathlib import Path

from poppy.edge.plane import fields
from poppy.edge.program import Program
from poppy.model.document.delivery import COMPRESSED, Delivery


def entry(program: Program, certified: Collection[str]) -> str:
    """Return the value of a service in the map; empty if it needs none.

    Args:
        program: the program.
        certified: the domains with a certificate. The redirect to HTTPS begins once all have one.
    """
    wanted = program.delivery or Delivery()
    is_certified = set(program.domains).issubset(certified)
    values = (
        str(wanted.redirect) if wanted.redirect and is_certified else "",
        urllib.parse.quote(wanted.hsts.value) if wanted.hsts else "",
        "1" if wanted.compression == "gzip" else "",
        "0" if wanted.websockets is False else "",
        *fields.values(program.headers),
    )
    return "|".join(values) if any(values) else ""


def bind_options(program: Program) -> str:
    """Return the options of the service's certificates in HAProxy's crt-list."""
    wanted = program.delivery
    return "[ssl-min-ver TLSv1.3]" if wanted and wanted.min_tls == "1.3" else ""


def request_rules(table: Path) -> str:
    """Return rules for requests whose fields can be trusted; they may answer with a redirect."""
    status = "{ var(txn.delivery),field(1,|) -m str"
    redirects = "".join(
        f"    http-request redirect location https://%[var(txn.host)]%[pathq] code {code}"
        f" if has_delivery {status} {code} }} !over_https !{{ url -m str * }}\n"
        for code in (301, 302, 308)
    )
    return f"""\
    http-request set-var(txn.delivery) var(txn.service),map_str({table})
    acl has_delivery var(txn.delivery) -m found
    acl over_https ssl_fc
    acl over_https req.hdr(X-Forwarded-Proto) -m str -i https
    acl no_websocket var(txn.delivery),field(4,|) -m str 0
{redirects}\
    http-request set-var(txn.hsts) var(txn.delivery),field(2,|),url_dec if has_delivery over_https
    http-request set-header x-p-gzip 1 if has_delivery {{ var(txn.delivery),field(3,|) -m str 1 }}
    http-request del-header Upgrade if has_delivery no_websocket
    http-request del-header Connection if has_delivery no_websocket
"""


def backends(rules: str, origin: str) -> str:
    """Return the backend that compresses what is not cached.

    Args:
        rules: those for all requests that are passed on.
        origin: the server of the origins.
    """
    return f"""
backend direct_gzip
    http-reuse always
    filter compression
    compression algo gzip
    compression type {" ".join(COMPRESSED)}
{rules}\
    {origin}
"""


#: Rules for responses that servers sent.
SERVED_RULES = fields.rules(5)

#: Rules for all responses, those that HAProxy itself makes included.
RESPONSE_RULES = """\
    http-after-response set-header Strict-Transport-Security %[var(txn.hsts)]\
 if { var(txn.hsts) -m len gt 0 }
"""

#: Chooses the backend of :func:`backends` for requests that bypass the cache.
USE_BACKEND = "    use_backend direct_gzip if { req.hdr(x-p-gzip) -m found }\n"
