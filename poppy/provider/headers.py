# SPDX-License-Identifier: Apache-2.0
"""Request header fields that no edge passes from a client to an origin.

An origin may build its answer from these fields, and no cache key holds them. So one client could
choose what all others are served ("cache poisoning"), or have the origin read another URL or
method than the edge checked. Each driver removes them at its edge, or sets them itself.
"""

import itertools

#: Fields that name another URL or method, or claim what only a gateway may. An edge removes them
#: whoever sends them, because its rules were checked against the request line.
OVERRIDES = (
    "Proxy",  # Becomes the environment variable HTTP_PROXY of CGI programs.
    "Surrogate-Capability",
    "X-Envoy-Original-Path",
    "X-HTTP-Destination-URL",
    "X-HTTP-Host-Override",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-HTTP-Path-Override",
    "X-Method-Override",
    "X-Original-Path",
    "X-Original-URI",
    "X-Original-URL",
    "X-Override-URL",
    "X-Request-URI",
    "X-Rewrite-URL",
)

#: Fields in which a proxy says how it was asked: host, scheme, port, path. (``Forwarded`` is RFC
#: 7239.) An edge believes them from proxies that its operator trusts, and then keys the cache
#: by them.
FORWARDED = (
    "Forwarded",
    "Front-End-Https",
    "X-Forwarded-Access-Token",
    "X-Forwarded-By",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Context",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Host",
    "X-Forwarded-Method",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Tls-Client-Cert",
    "X-Forwarded-Uri",
    "X-Forwarded-Url",
    "X-Forwarded-User",
    "X-Host",
    "X-Original-Host",
    "X-Proxy-Host",
    "X-Scheme",
    "X-Script-Name",
    "X-Url-Scheme",
)

#: Fields in which a proxy names the client's address. An edge believes them from proxies that its
#: operator trusts; the cache key leaves them out.
ADDRESSES = (
    "CF-Connecting-IP",
    "Client-IP",
    "Fastly-Client-IP",
    "Forwarded-For",
    "True-Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Original-Forwarded-For",
    "X-Originating-IP",
    "X-Real-IP",
    "X-Remote-Addr",
    "X-Remote-IP",
)

#: All of them, as an ordinary client must not send them.
UNTRUSTED = (*OVERRIDES, *FORWARDED, *ADDRESSES)


def respellings(name: str) -> list[str]:
    """The name with some or all hyphens as underscores; without the name itself.

    To a CGI or WSGI program both are the same character (RFC 3875, section 4.1.18).
    """
    first, *others = name.split("-")
    found = [
        first + "".join(mark + part for mark, part in zip(marks, others, strict=True))
        for marks in itertools.product("-_", repeat=len(others))
    ]
    return found[1:]
