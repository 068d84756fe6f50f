# SPDX-License-Identifier: Apache-2.0
"""What a provider may or may not be able to do."""

import enum


class Capability(enum.StrEnum):
    """The optional capabilities of providers.

    A service that needs a capability which a provider of its flavor lacks is refused; the message
    has the value, which is text. A flavor lists the names in lower case (:attr:`key`).
    """

    REFERRER = "referrer restrictions"
    CLIENT_IP = "client IP restrictions"
    GEOGRAPHY = "geography restrictions"
    SOFT_PURGE = "soft purge"
    PURGE_MANY = "purges of many URLs"
    PURGE_TAG = "purges by tag"
    PURGE_PREFIX = "purges by prefix"
    PURGE_HOST = "purges by host"
    PREWARM = "prewarming"
    ORIGIN_SSL = "TLS to the origin"
    IPV6_ORIGIN = "IPv6 origins"
    SHARED_CERTIFICATE = "shared certificates"
    SAN_CERTIFICATE = "san certificates"
    SNI_CERTIFICATE = "sni certificates"
    CUSTOM_CERTIFICATE = "custom certificates"
    LOG_DELIVERY = "log delivery"
    ANALYTICS = "analytics"
    ANALYTICS_BY_COUNTRY = "analytics by country"
    HTTPS_REDIRECT = "redirects to HTTPS"
    HSTS = "HTTP Strict Transport Security"
    MIN_TLS = "a minimum TLS version"
    HTTP3 = "HTTP/3"
    GZIP = "compression with gzip"
    BROTLI = "compression with brotli"
    WEBSOCKETS = "allowing or refusing WebSocket"
    REDIRECTS = "redirects by path"
    REQUEST_HEADERS = "changes of request headers"
    RESPONSE_HEADERS = "changes of response headers"
    CORS = "CORS"
    ERROR_PAGES = "error pages"
    CACHE_MODE = "cache modes"
    BROWSER_TTL = "TTLs of browsers"
    STALE_WHILE_REVALIDATE = "stale-while-revalidate"
    STALE_IF_ERROR = "stale-if-error"
    STATUS_TTL = "TTLs by status"
    CACHE_KEY_QUERY = "cache keys by query parameter"
    CACHE_KEY_HEADERS = "cache keys by request header"
    CACHE_KEY_COOKIES = "cache keys by cookie"
    SIGNED_URLS = "signed URLs"
    WAF = "web application firewalls"
    ORIGIN_PATH = "paths of origins"
    ORIGIN_TIMEOUTS = "timeouts of origins"
    ORIGIN_VERIFY_NAME = "names to verify of origins"
    ORIGIN_HEALTH_CHECK = "health checks of origins"
    ORIGIN_BACKUP = "backup origins"
    ORIGIN_SHIELD = "origin shields"
    ORIGIN_SECRET_HEADER = "secret headers to origins"
    ORIGIN_S3 = "signed requests to S3 origins"

    @property
    def key(self) -> str:
        """The name for programs, such as ``https_redirect``."""
        return self.name.lower()
