# SPDX-License-Identifier: Apache-2.0
"""Request header fields that no edge passes from a client to an origin.

An origin may build its response from these fields, and no cache key includes them. So one client
could choose the response that all others get (cache poisoning), or make the origin use another URL
or method than the edge has checked. Each driver's edge removes these fields or sets them itself.
"""

import itertools

#: Fields that override the URL or method, or that only a gateway may send. An edge always removes
#: them, even from trusted proxies, because its rules check the request line.
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

#: Fields in which a proxy passes on the original host, scheme, port or path. (``Forwarded`` is RFC
#: 7239.) An edge accepts them from proxies that its operator trusts, and then adds them to the
#: cache key.
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

#: Fields in which a proxy passes on the client's address. An edge accepts them from proxies that
#: its operator trusts. They are not part of the cache key.
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

#: All fields that an ordinary client must not send.
UNTRUSTED = (*OVERRIDES, *FORWARDED, *ADDRESSES)


def respellings(name: str) -> list[str]:
    """Return the name with some or all hyphens as underscores, without the name itself.

    CGI and WSGI programs can't tell the two characters apart (RFC 3875, section 4.1.18).
    """
    first, *others = name.split("-")
    found = [
        first + "".join(mark + part for mark, part in zip(marks, others, strict=True))
        for marks in itertools.product("-_", repeat=len(others))
    ]
    return found[1:]
