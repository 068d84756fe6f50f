# SPDX-License-Identifier: Apache-2.0
"""The capabilities of the provider ``akamai``; its page has the reasons for those it lacks."""

from collections.abc import Mapping, Sequence

from poppy.provider.base import Capability

SUPPORTS = frozenset(
    {
        Capability.REFERRER,
        Capability.CLIENT_IP,
        Capability.GEOGRAPHY,
        Capability.SOFT_PURGE,
        Capability.PURGE_MANY,
        Capability.PURGE_TAG,
        Capability.PURGE_PREFIX,
        Capability.PURGE_HOST,
        Capability.ORIGIN_SSL,
        Capability.ANALYTICS,
        Capability.HTTPS_REDIRECT,
        Capability.HSTS,
        Capability.GZIP,
        Capability.WEBSOCKETS,
        Capability.REDIRECTS,
        Capability.REQUEST_HEADERS,
        Capability.RESPONSE_HEADERS,
        Capability.CORS,
        Capability.CACHE_MODE,
        Capability.BROWSER_TTL,
        Capability.STALE_WHILE_REVALIDATE,
        Capability.CACHE_KEY_QUERY,
        Capability.CACHE_KEY_HEADERS,
        Capability.CACHE_KEY_COOKIES,
        Capability.WAF,
        Capability.ORIGIN_PATH,
        Capability.ORIGIN_TIMEOUTS,
        Capability.ORIGIN_SHIELD,
    }
)
#: Capabilities that need one of some options.
OPTIONAL: Mapping[Capability, Sequence[str]] = {
    Capability.SAN_CERTIFICATE: ("san_certs",),
    Capability.SNI_CERTIFICATE: ("enrollment_template", "default_certificates"),
    Capability.SHARED_CERTIFICATE: ("shared_edge_hostname",),
    Capability.LOG_DELIVERY: ("log_bucket",),
    Capability.HTTP3: ("http3",),
}
