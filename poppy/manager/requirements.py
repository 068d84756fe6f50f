# SPDX-License-Identifier: Apache-2.0
"""Checks of a document against its flavor's providers and the DNS driver."""

import ipaddress
from collections.abc import Iterator, Mapping

from poppy.common import errors
from poppy.dns.base import DNSDriver
from poppy.model import names
from poppy.model.flavors import Flavor
from poppy.model.specs import Domain, ServiceSpec
from poppy.provider.base import Capability, Provider
from poppy.provider.geography import country_codes

_BY_RULE_KIND = {
    "referrer": Capability.REFERRER,
    "client_ip": Capability.CLIENT_IP,
    "geography": Capability.GEOGRAPHY,
}
_BY_CERTIFICATE = {
    "shared": Capability.SHARED_CERTIFICATE,
    "san": Capability.SAN_CERTIFICATE,
    "sni": Capability.SNI_CERTIFICATE,
    "custom": Capability.CUSTOM_CERTIFICATE,
}


def check(
    spec: ServiceSpec, flavor: Flavor, providers: Mapping[str, Provider], dns: DNSDriver
) -> None:
    """Refuse a document that can't be provisioned.

    Raises:
        InvalidRequest: an operator name would be invalid in DNS, a country is unknown, or a
            provider of the flavor lacks a capability. The message names the part of the document
            and the problem.
    """
    _check_geography(spec)
    _check_names(spec, flavor, dns)
    for provider in loaded(flavor, providers):
        for capability, offender in needs(spec):
            if capability not in provider.supports:
                raise errors.InvalidRequest(
                    f"Provider '{provider.name}' of flavor '{flavor.flavor_id}' does not "
                    f"support {capability}, which {offender} needs"
                )
        try:
            provider.check(spec)
        except errors.PermanentError as exc:
            raise errors.InvalidRequest(
                f"Provider '{provider.name}' of flavor '{flavor.flavor_id}': {exc}"
            ) from exc


def check_soft_purge(flavor: Flavor, providers: Mapping[str, Provider]) -> None:
    """Refuse a soft purge if a provider can only evict content.

    Raises:
        InvalidRequest: a provider does not support soft purges; the message names it.
    """
    for provider in loaded(flavor, providers):
        if Capability.SOFT_PURGE not in provider.supports:
            raise errors.InvalidRequest(
                f"Provider '{provider.name}' does not support {Capability.SOFT_PURGE}: "
                "use hard=true"
            )


def loaded(flavor: Flavor, providers: Mapping[str, Provider]) -> Iterator[Provider]:
    """Yield the drivers of a flavor's providers, in the flavor's order.

    Raises:
        InvalidRequest: a provider is not loaded; the message names it.
    """
    for name in flavor.provider_names:
        if name not in providers:
            raise errors.InvalidRequest(
                f"Provider '{name}' of flavor '{flavor.flavor_id}' is not loaded"
            )
        yield providers[name]


def needs(spec: ServiceSpec) -> Iterator[tuple[Capability, str]]:
    """Yield each capability that a document needs, with the part that needs it."""
    for domain in spec.domains:
        if domain.certificate is not None:
            yield _BY_CERTIFICATE[domain.certificate], f"domain '{domain.domain}'"
    for origin in spec.origins:
        if origin.ssl:
            yield Capability.ORIGIN_SSL, f"origin '{origin.origin}'"
        if _is_ipv6(origin.origin):
            yield Capability.IPV6_ORIGIN, f"origin '{origin.origin}'"
    for restriction in spec.restrictions:
        for rule in restriction.rules:
            if rule.kind is not None:
                yield _BY_RULE_KIND[rule.kind], f"restriction '{restriction.name}'"
    if spec.log_delivery:
        yield Capability.LOG_DELIVERY, "log_delivery"


def _check_geography(spec: ServiceSpec) -> None:
    for restriction in spec.restrictions:
        for rule in restriction.rules:
            if rule.geography is None:
                continue
            try:
                country_codes(rule.geography)
            except KeyError as exc:
                raise errors.InvalidRequest(
                    f"Rule {rule.name!r} of restriction {restriction.name!r}: there is no country"
                    f" or continent {rule.geography!r}"
                ) from exc


def _check_names(spec: ServiceSpec, flavor: Flavor, dns: DNSDriver) -> None:
    for domain in spec.domains:
        for name in _operator_names(domain, dns):
            for made in dns.names_made(name, flavor.steers_by_geography):
                reason = names.impossible(made)
                if reason:
                    longest = len(domain.domain) - len(made) + names.MAX_NAME
                    hint = f": a domain may have {longest} characters here"
                    raise errors.InvalidRequest(
                        f"Domain {domain.domain} can't have the operator name {made}: {reason}"
                        + (hint if len(made) > names.MAX_NAME else "")
                    )


def _operator_names(domain: Domain, dns: DNSDriver) -> list[str]:
    """Return the operator name of a domain, or all candidates for a new shared label."""
    if domain.certificate == "shared" and not dns.owns(domain.domain):
        return dns.shared_domains(domain.domain)
    return [dns.operator_name(domain.domain, domain.certificate)]


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
