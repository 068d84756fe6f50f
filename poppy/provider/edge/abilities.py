# SPDX-License-Identifier: Apache-2.0
"""What every edge can do, whatever its options."""

from poppy.model.capabilities import Capability

SUPPORTED = frozenset(
    {
        Capability.REFERRER,
        Capability.CLIENT_IP,
        Capability.SOFT_PURGE,
        Capability.PURGE_MANY,
        Capability.PURGE_TAG,
        Capability.PURGE_PREFIX,
        Capability.PURGE_HOST,
        Capability.PREWARM,
        Capability.IPV6_ORIGIN,
        Capability.ORIGIN_SSL,
        Capability.CACHE_MODE,
        Capability.BROWSER_TTL,
        Capability.STALE_WHILE_REVALIDATE,
        Capability.STALE_IF_ERROR,
        Capability.STATUS_TTL,
        Capability.CACHE_KEY_QUERY,
        Capability.CACHE_KEY_HEADERS,
        Capability.CACHE_KEY_COOKIES,
        Capability.HTTPS_REDIRECT,
        Capability.HSTS,
        Capability.MIN_TLS,
        Capability.GZIP,
        Capability.WEBSOCKETS,
        Capability.REDIRECTS,
        Capability.REQUEST_HEADERS,
        Capability.RESPONSE_HEADERS,
        Capability.CORS,
        Capability.ERROR_PAGES,
        Capability.ANALYTICS,
        Capability.SIGNED_URLS,
        Capability.ORIGIN_PATH,
        Capability.ORIGIN_TIMEOUTS,
        Capability.ORIGIN_VERIFY_NAME,
        Capability.ORIGIN_HEALTH_CHECK,
        Capability.ORIGIN_BACKUP,
        Capability.ORIGIN_SECRET_HEADER,
        Capability.ORIGIN_S3,
    }
)
