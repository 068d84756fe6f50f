# SPDX-License-Identifier: Apache-2.0
"""Which providers the operator names of a service point to."""

from collections.abc import Collection, Mapping

from poppy.dns.steering import Policy, Steering, Target
from poppy.model.flavors import Flavor, FlavorProvider, Geography
from poppy.model.provider_details import AccessURL
from poppy.model.services import Service


def policies(
    service: Service,
    flavor: Flavor,
    names: Mapping[str, str],
    able: Collection[Steering],
) -> dict[str, Policy]:
    """Return the targets of each of a service's operator names.

    Avoided providers are left out unless there is no other. Of the remaining ones the first is
    used; or all of them, if the flavor has weights or geography and the DNS server supports it.

    Args:
        names: the operator name of each domain.
        able: the steering that the DNS server supports.
    """
    candidates = chosen(service, flavor)
    first = service.provider_details[candidates[0].provider]
    found: dict[str, Policy] = {}
    for entry in first.access_urls:
        if entry.domain not in names:
            continue
        if entry.moved and entry.operator_url:
            # An operator has set both names by hand.
            found[entry.operator_url] = [Target(entry.provider_url)]
        else:
            targets = [
                _target(candidate, url.provider_url, able)
                for candidate in candidates
                if (url := _entry(service, candidate.provider, entry.domain)) is not None
            ]
            found[names[entry.domain]] = targets if _differ(targets) else targets[:1]
    return found


def chosen(service: Service, flavor: Flavor) -> list[FlavorProvider]:
    """Return the flavor's providers that names may point to, in order; at least one."""
    details = service.provider_details
    present = [entry for entry in flavor.providers if entry.provider in details]
    healthy = [entry for entry in present if not details[entry.provider].avoided]
    return healthy or present


def _entry(service: Service, provider: str, domain: str) -> AccessURL | None:
    entries = service.provider_details[provider].access_urls
    return next((it for it in entries if it.domain == domain and not it.moved), None)


def _target(candidate: FlavorProvider, name: str, able: Collection[Steering]) -> Target:
    places = candidate.geography if Steering.GEOGRAPHY in able else None
    places = places or Geography()
    # Without weights the first target gets all traffic; 0 marks the others.
    weight = candidate.weight if Steering.WEIGHTS in able else None
    return Target(name, 0 if weight is None else weight, places.countries, places.continents)


def _differ(targets: Policy) -> bool:
    """Whether several targets make a difference."""
    return any(target.weight > 0 or target.is_local for target in targets)
