# SPDX-License-Identifier: Apache-2.0
"""Compile a service to a CloudFront distribution. No I/O.

The format is that of ``DistributionConfig`` in the CloudFront API reference (2020-05-31).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from poppy.common.errors import PermanentError
from poppy.model.document.delivery import DEFAULT_REDIRECT_STATUS, Delivery
from poppy.model.specs import Origin, Rule, ServiceSpec
from poppy.provider.cloudfront.access import Countries, access
from poppy.provider.cloudfront.errors import responses
from poppy.provider.cloudfront.merging import Config, items
from poppy.provider.cloudfront.origins import Routing, configured, origin_id, routing, secret_names
from poppy.provider.cloudfront.paths import (
    Behaviour,
    behaviours,
    check_count,
    matches,
    path_pattern,
)
from poppy.provider.cloudfront.programs import request_code, response_code
from poppy.provider.cloudfront.steps import Reveal, longest, needs_scheme, steps

#: Security policies: "Supported protocols and ciphers between viewers and CloudFront", developer
#: guide.
_TLS_1_2, _TLS_1_3 = "TLSv1.2_2021", "TLSv1.3_2025"
_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
#: "WebACLId" of DistributionConfig in the API reference; AWS WAF API reference, WebACL.
_WEB_ACL = re.compile(
    r"arn:aws[a-z-]*:wafv2:us-east-1:\d{12}:global/webacl/[\w-]{1,128}/[\w-]{1,128}", re.ASCII
)
_MOST_HEADERS = 10  #: Of a behaviour ("Quotas on headers", developer guide).
#: Events of functions, in the order of a plan's code.
_EVENTS = ("viewer-request", "viewer-response")


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


@dataclass(frozen=True)
class Plan:
    """A service document, compiled as far as it goes without asking Amazon.

    Attributes:
        forwarded: request headers that origins receive and that are part of the cache key.
        codes: the code of the functions for requests and for responses, which may have secrets;
            an empty text for none.
        is_shared: whether the functions have nothing of the service's own in them.
    """

    origins: tuple[Origin, ...]
    routing: Routing
    behaviours: tuple[Behaviour, ...]
    countries: Countries
    delivery: Delivery
    forwarded: tuple[str, ...]
    codes: tuple[str, str] = field(repr=False)
    is_shared: bool
    errors: list[Config]
    origin_config: Config = field(repr=False)
    web_acl: str | None


def plan(spec: ServiceSpec, reveal: Reveal = longest, shield_region: str | None = None) -> Plan:
    """Compile a document.

    Args:
        spec: the document.
        reveal: gives the text of its secrets; by default, a text of the same length.
        shield_region: of origin shields that the document does not name.

    Raises:
        PermanentError: CloudFront does not support a part of it; the message names it.
    """
    kinds = {domain.certificate for domain in spec.domains}
    if "shared" in kinds and len(kinds) > 1:
        raise PermanentError(
            "CloudFront uses one certificate per service: shared and other domains can't be mixed"
        )
    if "custom" in kinds and kinds - {"custom", None}:
        raise PermanentError(
            "CloudFront uses one certificate per service: custom and other ones can't be mixed"
        )
    delivery = spec.delivery or Delivery()
    found = routing(spec.origins)
    restricted, wanted = access(spec), steps(spec, reveal)
    requests = (*wanted.before, *restricted.steps, *wanted.after, *found.steps)
    forwarded = {
        "Authorization": True,
        # With cors, the function answers for origins.
        "Origin": spec.cors is None,
        # Otherwise origins receive their own names, unless the function says more.
        "Host": found.forwards_host,
        "CloudFront-Viewer-Country": restricted.needs_country,
        "CloudFront-Forwarded-Proto": needs_scheme(delivery),
    }
    kept = behaviours(spec.caching)
    secrets = secret_names(spec.origins)
    names = tuple(sorted(name for name, is_forwarded in forwarded.items() if is_forwarded))
    _check_headers(kept, names)
    kept = [*_of_pages(spec, found, kept), *kept]
    check_count(kept)
    return Plan(
        spec.origins,
        found,
        tuple(kept),
        restricted.countries,
        delivery,
        names,
        (request_code(requests, wanted.answers, secrets), response_code(wanted.responses)),
        not requests and not wanted.responses and not secrets,
        responses(spec.caching, spec.error_pages or ()),
        configured(spec.origins, reveal, shield_region),
        _web_acl(spec),
    )


def _web_acl(spec: ServiceSpec) -> str | None:
    policy = spec.waf.policy if spec.waf else None
    if policy is not None and not _WEB_ACL.fullmatch(policy):
        raise PermanentError(
            "waf.policy: CloudFront needs the ARN of a web ACL of AWS WAF with the scope "
            "CLOUDFRONT, such as arn:aws:wafv2:us-east-1:123456789012:global/webacl/<name>/<id>"
        )
    return policy


def _check_headers(behaviours: Sequence[Behaviour], forwarded: Sequence[str]) -> None:
    for entry in behaviours:
        names = {name.lower() for name in (*forwarded, *entry.headers)}
        if len(names) > _MOST_HEADERS:
            raise PermanentError(
                f"caching for {entry.pattern}: the cache key would have {len(names)} headers "
                f"({', '.join(sorted(names))}); CloudFront allows {_MOST_HEADERS}"
            )


def _of_pages(
    spec: ServiceSpec, routing: Routing, kept: Sequence[Behaviour]
) -> Iterator[Behaviour]:
    """Yield a behaviour for each page of errors whose origin the function would choose.

    CloudFront fetches it without the function.
    """
    for path in dict.fromkeys(page.path for page in spec.error_pages or ()):
        pattern = path_pattern(Rule("error_pages", path))
        choice = routing.choice(path)
        if choice is None:
            continue
        number, (_, host, tls_name, *_) = choice
        if spec.origins[number].hostheadertype == "custom" or tls_name is not None:
            raise PermanentError(
                f"error_pages {path!r}: CloudFront fetches the page without the Host header "
                f"{host!r} and the TLS name {tls_name!r} of its origin"
            )
        if number != routing.default or host is not None:
            found = next(it for it in kept if matches(it.pattern, path))
            yield found._replace(pattern=pattern, origin=number, hides_host=host is not None)


def config(
    plan: Plan, viewer: Viewer, function_arns: Sequence[str | None], settings: Settings
) -> Config:
    """Return the wanted configuration, without ``CallerReference`` and ``Comment``.

    Args:
        plan: the document.
        viewer: the aliases and the certificate.
        function_arns: of the functions for requests and for responses; None for none.
        settings: the operator's.
    """

    def behaviour(entry: Behaviour) -> Config:
        return _behaviour(plan, entry, function_arns, settings)

    *others, default = plan.behaviours
    tags = settings.cache_tag_header
    return {
        **({"CacheTagConfig": {"HeaderName": tags}} if tags else {}),
        **({"WebACLId": plan.web_acl} if plan.web_acl else {}),
        "Enabled": True,
        "Aliases": items(viewer.aliases),
        "Origins": plan.origin_config,
        "DefaultCacheBehavior": behaviour(default),
        "CacheBehaviors": items(
            [{"PathPattern": entry.pattern, **behaviour(entry)} for entry in others]
        ),
        "CustomErrorResponses": items(plan.errors),
        "PriceClass": settings.price_class,
        "HttpVersion": "http2" if plan.delivery.http3 is False else "http2and3",
        "IsIPV6Enabled": True,
        "ViewerCertificate": _certificate(viewer.certificate_arn, _oldest(plan, settings)),
        "Restrictions": {"GeoRestriction": _restriction(plan.countries)},
    }


def _behaviour(
    plan: Plan, entry: Behaviour, function_arns: Sequence[str | None], settings: Settings
) -> Config:
    functions = [
        {"FunctionARN": arn, "EventType": event}
        for arn, event in zip(function_arns, _EVENTS, strict=False)
        if arn
    ]
    # The function redirects with other statuses.
    redirects = plan.delivery.redirect == DEFAULT_REDIRECT_STATUS
    number = plan.routing.default if entry.origin is None else entry.origin
    hidden = {"Host"} if entry.hides_host else set()
    headers = {it.lower(): it for it in (*entry.headers, *plan.forwarded) if it not in hidden}
    made: Config = {
        "TargetOriginId": origin_id(plan.origins[number]),
        "ViewerProtocolPolicy": "redirect-to-https" if redirects else "allow-all",
        "AllowedMethods": {**items(_METHODS), "CachedMethods": items(["GET", "HEAD"])},
        "Compress": plan.delivery.compression != "off",
        "FunctionAssociations": items(functions),
        # With a higher minimum, CloudFront would cache responses that the origin marks private.
        "MinTTL": 0,
        "DefaultTTL": entry.default_ttl,
        "MaxTTL": entry.max_ttl,
        "ForwardedValues": {
            "QueryString": True,
            "Cookies": {"Forward": "none" if settings.strip_cookies else "all"},
            "Headers": items(sorted(headers.values())),
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
