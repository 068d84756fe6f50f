# SPDX-License-Identifier: Apache-2.0
"""Compile a service document to a Property Manager rule tree.

See https://techdocs.akamai.com/property-mgr/reference/rule-trees. Rules are evaluated from the
top, and a matching rule overrides earlier ones. So path rules are sorted by specificity, the most
specific last.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from poppy.common.errors import PermanentError
from poppy.model import headers
from poppy.model.names import address
from poppy.model.specs import Origin, ServiceSpec
from poppy.provider.akamai import access, answers, caching, delivery, origins, tags
from poppy.provider.akamai import headers as fields
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import behavior, paths, rule, with_variables
from poppy.provider.akamai.patterns import EVERYTHING, overlap, path_pattern, specificity

_HOST_HEADERS = {
    "domain": "REQUEST_HOST_HEADER",
    "origin": "ORIGIN_HOSTNAME",
    "custom": "CUSTOM",
}
#: Whole objects have at most 1,800 MB; parts of objects are fetched with byte ranges. See
#: https://techdocs.akamai.com/property-mgr/reference/ga-large-file-optimization.
_LARGE_FILES = {
    "enabled": True,
    "enablePartialObjectCaching": "PARTIAL_OBJECT_CACHING",
    "minimumSize": "100MB",
    "maximumSize": "323GB",
    "useVersioning": True,
}
#: IDs of security configurations in Application Security.
_CONFIGURATION = re.compile("[1-9][0-9]{0,9}")


class Settings(NamedTuple):
    """The operator's settings for all services.

    Attributes:
        methods: methods besides GET and HEAD that are forwarded to origins.
        downgrade: whether https requests may be forwarded to an origin without TLS.
        origin_ip_version: IP version of connections to origins: ``IPV4``, ``IPV6`` or
            ``DUALSTACK``.
        large_files: whether objects above 1.8 GB are supported.
        http2: whether clients of secure properties may use HTTP/2.
        http3: the same for HTTP/3.
    """

    methods: tuple[str, ...] = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    downgrade: bool = False
    origin_ip_version: str = "DUALSTACK"
    large_files: bool = False
    http2: bool = False
    http3: bool = False


#: The behaviour that allows a method.
METHODS = {
    "POST": ("allowPost", {"enabled": True, "allowWithoutContentLength": False}),
    "PUT": ("allowPut", {"enabled": True}),
    "PATCH": ("allowPatch", {"enabled": True}),
    "DELETE": ("allowDelete", {"enabled": True}),
    "OPTIONS": ("allowOptions", {"enabled": True}),
}


def check(spec: ServiceSpec, settings: Settings) -> None:
    """Refuse a document that a rule tree can't express.

    Raises:
        PermanentError: the message names the unsupported value.
    """
    secure = _secure(spec)
    for origin in spec.origins:
        _check_origin(origin, secure, settings)
    for path in (path for origin in spec.origins for path in origin.rules):
        path_pattern(path)
    for part in (caching, fields, answers):
        part.check(spec)
    origins.check(spec, secure=secure)
    access.denials(spec)
    if spec.waf and not _CONFIGURATION.fullmatch(spec.waf.policy):
        raise PermanentError(
            f"waf.policy {spec.waf.policy[:80]!r}: Akamai's IDs of security configurations are "
            "numbers"
        )


def _check_origin(origin: Origin, secure: bool, settings: Settings) -> None:
    if ":" in (address(origin.origin) or ""):
        raise PermanentError(f"Origin {origin.origin}: Akamai supports names and IPv4 addresses")
    if origin.ssl and origin.port != 443:
        raise PermanentError(
            f"Origin {origin.origin}: Akamai supports TLS on port 443 only, not {origin.port}"
        )
    if secure and not origin.ssl and not settings.downgrade:
        raise PermanentError(
            f"Origin {origin.origin} needs ssl, because the service has https domains: Akamai "
            "uses the protocol of the request"
        )


def tree(spec: ServiceSpec, cp_code: int, settings: Settings) -> Document:
    """Return the rule tree of a service. The CP code is used for reports and purges."""
    children = [
        rule("Untrusted request headers", behaviors=_distrust()),
        rule("Origins", children=_origins(spec, settings)),
        rule("Caching", children=caching.rules(spec)),
        *tags.rules(cp_code),
        *access.restrictions(spec),
        *fields.changes(spec),
        *delivery.rules(spec),
        *answers.cors(spec),
        *answers.redirects(spec),
        *answers.to_https(spec),
    ]
    found: Document = {
        "name": "default",
        "options": {"is_secure": _secure(spec)},
        "behaviors": [
            _origin(spec.origins[0], settings),
            behavior("cpCode", value={"id": cp_code}),
            caching.ttl(),
            # Some products remove it by default, and so share what depends on more than the URL.
            behavior("removeVary", enabled=False),
            *(behavior(*METHODS[method]) for method in settings.methods),
            *_delivery(spec, settings),
        ],
        "criteria": [],
        "children": children,
    }
    return with_variables(found)


def _delivery(spec: ServiceSpec, settings: Settings) -> list[Document]:
    """Return the optional behaviours of all paths."""
    secure = _secure(spec)
    found = [behavior("largeFileOptimization", _LARGE_FILES)] if settings.large_files else []
    if spec.waf:
        # https://techdocs.akamai.com/property-mgr/reference/ga-web-application-firewall
        configuration = {"configId": int(spec.waf.policy)}
        found.append(behavior("webApplicationFirewall", firewallConfiguration=configuration))
    # Akamai accepts these only in secure properties.
    if secure and settings.http2:
        found.append(behavior("http2"))
    if secure and settings.http3 and not (spec.delivery and spec.delivery.http3 is False):
        found.append(behavior("http3", enable=True))
    return found


def _distrust() -> list[Document]:
    """Remove header fields of clients that an origin may believe and no cache key holds."""
    return [fields.delete_request(name) for name in headers.UNTRUSTED]


def cp_code(rules: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return number and name of a rule tree's CP code; None if it has none."""
    for entry in rules.get("behaviors") or ():
        value = (entry.get("options") or {}).get("value")
        if entry.get("name") == "cpCode" and isinstance(value, dict) and value.get("id"):
            return int(value["id"]), str(value.get("name", ""))
    return None


def difference(found: Any, wanted: Any, where: str = "rules") -> str | None:
    """Return the place of the first difference; None if everything wanted is there.

    Akamai adds default options, identifiers and empty lists, so additional members are ignored.
    Lists must have the same length and order.
    """
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return where
        pairs = [(f"{where}.{key}", found.get(key), value) for key, value in wanted.items()]
        return _first_difference(pairs)
    if isinstance(wanted, list):
        if not wanted and found is None:
            return None
        if not isinstance(found, list) or len(found) != len(wanted):
            return where
        pairs = [
            (f"{where}[{number}]", *pair)
            for number, pair in enumerate(zip(found, wanted, strict=True))
        ]
        return _first_difference(pairs)
    return None if found == wanted else where


def _first_difference(pairs: Iterable[tuple[str, Any, Any]]) -> str | None:
    differences = (difference(found, wanted, where) for where, found, wanted in pairs)
    return next((where for where in differences if where), None)


def _secure(spec: ServiceSpec) -> bool:
    return any(domain.protocol == "https" for domain in spec.domains)


def _origins(spec: ServiceSpec, settings: Settings) -> list[Document]:
    """Return a rule for each path of an origin, and one for the first origin's other paths.

    A later rule can't revert the protocol of an earlier one. So each rule excludes the paths of
    more specific rules.
    """
    by_pattern = {
        path_pattern(rule): origin
        for origin in spec.origins
        for rule in origin.rules
        if origin is not spec.origins[0] or path_pattern(rule) != EVERYTHING
    }
    by_pattern.setdefault(EVERYTHING, spec.origins[0])
    ranked = sorted(by_pattern, key=specificity)
    rules = []
    for number, pattern in enumerate(ranked):
        origin = by_pattern[pattern]
        others = [other for other in ranked[number + 1 :] if overlap(pattern, other)]
        behaviors = [
            _origin(origin, settings),
            *_protocol(origin, settings),
            *origins.options(origin),
        ]
        criteria, inside = paths([pattern], others), origins.confinement(origin)
        rules.append(rule(f"{origin.origin} {pattern}", criteria, behaviors, inside))
    return rules


def _origin(origin: Origin, settings: Settings) -> Document:
    options: Document = {
        "originType": "CUSTOMER",
        "hostname": origin.origin,
        "forwardHostHeader": _HOST_HEADERS[origin.hostheadertype],
        # Domains must not share cached responses.
        "cacheKeyHostname": "REQUEST_HOST_HEADER",
        "ipVersion": settings.origin_ip_version,
        "compress": True,
        "enableTrueClientIp": False,
        "httpPort": 80 if origin.ssl else origin.port,
        "httpsPort": 443,
        "originSni": True,
        "verificationMode": "PLATFORM_SETTINGS",
    }
    if origin.hostheadertype == "custom":
        options["customForwardHostHeader"] = origin.hostheadervalue
    return behavior("origin", options)


def _protocol(origin: Origin, settings: Settings) -> list[Document]:
    """Return the protocol behaviours; by default, Akamai uses the protocol of the request."""
    if origin.ssl:
        return [behavior("httpToHttpsUpgrade")]
    return [behavior("allowHTTPSDowngrade", enabled=True)] if settings.downgrade else []
