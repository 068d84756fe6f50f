# SPDX-License-Identifier: Apache-2.0
"""Checks of a document against its flavor's providers, the DNS driver and reserved names."""

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import idna

from poppy.common import errors
from poppy.dns.base import DNSDriver
from poppy.model import names
from poppy.model.document import codec
from poppy.model.document.caching import CacheOptions
from poppy.model.document.fields import OptionalFields
from poppy.model.document.origins import OriginOptions
from poppy.model.flavors import Flavor
from poppy.model.purges import MAX_PATHS, Purge
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

_ENTRY = re.compile(r"[a-z0-9*](?:[a-z0-9*._-]*[a-z0-9*])?")


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


def check_purge(purge: Purge, flavor: Flavor, providers: Mapping[str, Provider]) -> None:
    """Refuse a purge if a provider can't do it.

    Raises:
        InvalidRequest: a provider lacks a capability; the message names it and the parameter.
    """
    needed = purge_needs(purge)
    for provider in loaded(flavor, providers) if needed else ():
        for capability, parameter in needed:
            if capability not in provider.supports:
                raise errors.InvalidRequest(
                    f"Provider '{provider.name}' does not support {capability}: {parameter}"
                )


def check_prewarm(flavor: Flavor, providers: Mapping[str, Provider]) -> None:
    """Refuse a prewarm if a provider can't do it.

    Raises:
        InvalidRequest: a provider lacks the capability; the message names it.
    """
    for provider in loaded(flavor, providers):
        if Capability.PREWARM not in provider.supports:
            raise errors.InvalidRequest(
                f"Provider '{provider.name}' does not support {Capability.PREWARM}"
            )


def purge_needs(purge: Purge) -> list[tuple[Capability, str]]:
    """Return the capabilities that a purge needs, each with a hint for the request."""
    scopes = (
        (not purge.hard, Capability.SOFT_PURGE, "use hard=true"),
        (
            len(purge.urls) > MAX_PATHS,
            Capability.PURGE_MANY,
            f"'url' may be given up to {MAX_PATHS} times",
        ),
        (purge.tags, Capability.PURGE_TAG, "'tag' can't be used"),
        (purge.prefix, Capability.PURGE_PREFIX, "'prefix' can't be used"),
        (purge.host, Capability.PURGE_HOST, "'host' can't be used"),
    )
    return [(capability, hint) for needed, capability, hint in scopes if needed]


def check_loaded(names: Iterable[str], providers: Mapping[str, Provider]) -> None:
    """Refuse what a worker could not do at a provider, before it changes DNS or other providers.

    Args:
        names: of the providers that have the service.

    Raises:
        NotLoaded: one of them is not loaded.
    """
    for name in names:
        if name not in providers:
            raise errors.NotLoaded(name)


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
    yield from _optional_needs(spec)


def _optional_needs(spec: ServiceSpec) -> Iterator[tuple[Capability, str]]:
    for number, origin in enumerate(spec.origins):
        yield from codec.needs(origin, OriginOptions, f"origins[{number}]")
    for number, entry in enumerate(spec.caching):
        yield from codec.needs(entry, CacheOptions, f"caching[{number}]")
    yield from codec.needs(spec, OptionalFields)


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


class ReservedNames:
    """Refuse documents that use names of the operator, or others that the configuration reserves.

    Drivers declare the operator's own names (``reserved_names``): DNS suffixes and names of edges.
    As a domain, such a name could collide with another tenant's operator name. As an origin, it
    would point an edge to itself.

    Names are compared as in DNS and by their A-labels: case and a trailing dot don't matter.

    Args:
        configured: the option ``reserved_domains``.
        providers: the providers by name.
        dns: the DNS driver.

    Raises:
        ConfigError: an entry of the option is not a valid name.
    """

    def __init__(
        self, configured: Sequence[str], providers: Mapping[str, Provider], dns: DNSDriver
    ) -> None:
        self._patterns = [_compiled(entry) for entry in configured]
        self._drivers: Sequence[DNSDriver | Provider] = (dns, *providers.values())

    def check(
        self, spec: ServiceSpec, domains: Collection[str] = (), origins: Collection[str] = ()
    ) -> None:
        """Refuse a document that adds a reserved name.

        A single label is the tenant's part of a name under a shared certificate; only the option
        can reserve it.

        Args:
            spec: the document.
            domains: domains that the service already has; they are not checked, because the
                options may have changed since.
            origins: origins that the service already has; likewise.

        Raises:
            InvalidRequest: a name is reserved; the message names the domain or origin.
        """
        for domain in spec.domains:
            if domain.domain not in domains:
                self.check_domain(domain.domain)
        own = self._own()
        for origin in spec.origins:
            if origin.origin not in origins and _is_within(canonical(origin.origin), own):
                raise errors.InvalidRequest(
                    f"Origin {origin.origin} is one of the operator's own names: requests would "
                    "return to the edge"
                )

    def check_domain(self, domain: str) -> None:
        """Refuse a domain that is reserved.

        Raises:
            InvalidRequest: the domain is reserved; the message names it.
        """
        name = canonical(domain)
        if _is_within(name, self._own()):
            raise errors.InvalidRequest(
                f"Domain {domain} is one of the operator's own names; tenants can't use them"
            )
        if any(pattern.fullmatch(name) for pattern in self._patterns):
            raise errors.InvalidRequest(f"Domain {domain} is reserved by the operator")

    def _own(self) -> Sequence[str]:
        """Return the names that drivers declare; they can change with the options."""
        return [canonical(name) for driver in self._drivers for name in driver.reserved_names]


def canonical(name: str) -> str:
    """Normalize a name for comparison: lower case, A-labels, no trailing dot."""
    text = name.strip().rstrip(".")
    if not text.isascii():
        try:
            return idna.encode(text, uts46=True).decode()
        except UnicodeError:
            return text
    return text.lower()


def _is_within(name: str, suffixes: Iterable[str]) -> bool:
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes if suffix)


def _compiled(entry: str) -> re.Pattern[str]:
    """Compile an entry of the option to a pattern.

    Raises:
        ConfigError: the entry is invalid.
    """
    below = entry.strip().startswith(".")
    # IDNA does not allow an asterisk: keep labels with one unchanged.
    labels = entry.strip().strip(".").split(".")
    text = ".".join(label if "*" in label else canonical(label) for label in labels).lower()
    if not text.isascii() or not _ENTRY.fullmatch(text) or ".." in text:
        raise errors.ConfigError(
            f"[DEFAULT] reserved_domains: {entry!r} must have the form example.net, .example.net "
            "or *.example.net"
        )
    pattern = ".*".join(re.escape(part) for part in text.split("*"))
    return re.compile(rf"(?:.*\.)?{pattern}" if below else pattern)
