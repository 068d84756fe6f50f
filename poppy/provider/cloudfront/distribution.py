# SPDX-License-Identifier: Apache-2.0
"""Compile a service to a CloudFront distribution. No I/O.

The format is that of ``DistributionConfig`` in the CloudFront API reference (2020-05-31).
"""

from typing import NamedTuple

from poppy.common.errors import PermanentError
from poppy.model.document.delivery import Delivery
from poppy.model.lifetimes import DEFAULT_TTL
from poppy.model.specs import Origin, ServiceSpec
from poppy.provider.cloudfront.access import Access, Countries, access
from poppy.provider.cloudfront.merging import Config, items
from poppy.provider.cloudfront.origins import Routing, configured, origin_id, routing
from poppy.provider.cloudfront.paths import Behaviour, behaviours

#: Maximum TTL if no caching rule matches but the origin sets a lifetime (a year).
_LONGEST_TTL = 31536000

#: Errors that CloudFront would otherwise keep for ten seconds, even if they are private. For other
#: errors it honours ``private`` ("Control how long CloudFront caches errors", developer guide).
_ERRORS = (400, 403, 405, 500, 501, 502, 503, 504)

#: Security policies: "Supported protocols and ciphers between viewers and CloudFront", developer
#: guide.
_TLS_1_2, _TLS_1_3 = "TLSv1.2_2021", "TLSv1.3_2025"
_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
#: Request headers besides Host that are forwarded to origins and are part of the cache key.
_HEADERS = ["Authorization", "Origin"]
_COUNTRY = "CloudFront-Viewer-Country"


class Settings(NamedTuple):
    """The operator's settings for all services; see the driver's options."""

    price_class: str = "PriceClass_All"
    strip_cookies: bool = False
    minimum_protocol_version: str = "TLSv1.2_2021"
    origin_response_function: str | None = None
    cache_tag_header: str | None = None


class Viewer(NamedTuple):
    """The aliases of a distribution, and the certificate that covers them."""

    aliases: tuple[str, ...] = ()
    certificate_arn: str | None = None


class Plan(NamedTuple):
    """A service document, compiled as far as it goes without asking Amazon."""

    origins: tuple[Origin, ...]
    routing: Routing
    behaviours: tuple[Behaviour, ...]
    access: Access
    delivery: Delivery

    @property
    def code(self) -> str:
        """The code of the function that its distribution uses."""
        return self.access.code


def plan(spec: ServiceSpec) -> Plan:
    """Compile a document.

    Raises:
        PermanentError: CloudFront does not support a part of it; the message names it.
    """
    kinds = {domain.certificate for domain in spec.domains}
    if "shared" in kinds and len(kinds) > 1:
        raise PermanentError(
            "CloudFront uses one certificate per service: shared and other domains can't be mixed"
        )
    delivery = spec.delivery or Delivery()
    if delivery.redirect not in (None, 301):
        raise PermanentError(
            f"delivery.redirect_status {delivery.redirect}: CloudFront redirects to HTTPS with 301"
            " only"
        )
    found = routing(spec.origins)
    return Plan(
        spec.origins,
        found,
        tuple(behaviours(spec.caching)),
        access(spec, found),
        delivery,
    )


def config(plan: Plan, viewer: Viewer, function_arn: str | None, settings: Settings) -> Config:
    """Return the wanted configuration, without ``CallerReference`` and ``Comment``."""

    def behaviour(entry: Behaviour) -> Config:
        return _behaviour(plan, entry, function_arn, settings)

    *others, default = plan.behaviours
    tags = settings.cache_tag_header
    return {
        **({"CacheTagConfig": {"HeaderName": tags}} if tags else {}),
        "Enabled": True,
        "Aliases": items(viewer.aliases),
        "Origins": configured(plan.origins),
        "DefaultCacheBehavior": behaviour(default),
        "CacheBehaviors": items(
            [{"PathPattern": entry.pattern, **behaviour(entry)} for entry in others]
        ),
        "CustomErrorResponses": items(
            [{"ErrorCode": code, "ErrorCachingMinTTL": 0} for code in _ERRORS]
        ),
        "PriceClass": settings.price_class,
        "HttpVersion": "http2" if plan.delivery.http3 is False else "http2and3",
        "IsIPV6Enabled": True,
        "ViewerCertificate": _certificate(viewer.certificate_arn, _oldest(plan, settings)),
        "Restrictions": {"GeoRestriction": _restriction(plan.access.countries)},
    }


def _behaviour(
    plan: Plan, entry: Behaviour, function_arn: str | None, settings: Settings
) -> Config:
    headers = [*_HEADERS]
    if plan.routing.forwards_host:
        # Otherwise origins receive their own names, unless the function says more.
        headers.append("Host")
    if plan.access.needs_country:
        headers.append(_COUNTRY)
    function = [{"FunctionARN": function_arn, "EventType": "viewer-request"}]
    made: Config = {
        "TargetOriginId": origin_id(plan.origins[plan.routing.default]),
        "ViewerProtocolPolicy": "redirect-to-https" if plan.delivery.redirect else "allow-all",
        "AllowedMethods": {**items(_METHODS), "CachedMethods": items(["GET", "HEAD"])},
        "Compress": plan.delivery.compression != "off",
        "FunctionAssociations": items(function if function_arn else []),
        # With a higher minimum, CloudFront would cache responses that the origin marks private.
        "MinTTL": 0,
        "DefaultTTL": DEFAULT_TTL if entry.ttl is None else entry.ttl,
        "MaxTTL": _LONGEST_TTL if entry.ttl is None else entry.ttl,
        "ForwardedValues": {
            "QueryString": True,
            "Cookies": {"Forward": "none" if settings.strip_cookies else "all"},
            "Headers": items(sorted(headers)),
        },
    }
    if settings.origin_response_function:
        # Without the option, those that an operator has added by hand are kept.
        made["LambdaFunctionAssociations"] = items(
            [
                {
                    "LambdaFunctionARN": settings.origin_response_function,
                    "EventType": "origin-response",
                    "IncludeBody": False,
                }
            ]
        )
    return made


def _oldest(plan: Plan, settings: Settings) -> str:
    """Return the security policy, which sets the oldest version of TLS; never an older one."""
    operators = settings.minimum_protocol_version
    if plan.delivery.min_tls is None or operators.startswith("TLSv1.3"):
        return operators
    if plan.delivery.min_tls == "1.3":
        return _TLS_1_3
    return operators if operators.startswith("TLSv1.2") else _TLS_1_2


def _certificate(arn: str | None, policy: str) -> Config:
    if arn is None:
        return {"CloudFrontDefaultCertificate": True}
    return {
        "ACMCertificateArn": arn,
        "SSLSupportMethod": "sni-only",
        "MinimumProtocolVersion": policy,
    }


def _restriction(countries: Countries) -> Config:
    return {"RestrictionType": countries.kind, **items(countries.codes)}
