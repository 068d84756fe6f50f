# SPDX-License-Identifier: Apache-2.0
"""Which providers the operator's names of a service lead to."""

from collections.abc import Collection, Mapping

from poppy.dns.steering import Policy, Steering, Target
from poppy.model.flavors import Flavor, FlavorProvider, Geography
from poppy.model.services import AccessURL, Service


def policies(
    service: Service,
    flavor: Flavor,
    names: Mapping[str, str],
    able: Collection[Steering],
) -> dict[str, Policy]:
    """What each of a service's names leads to.

    Providers that are to be avoided are left out, unless there is no other. Of those that are
    left, the first is taken, or, where the flavor has weights or geography and the DNS server can
    do it, all of them.

    Args:
        names: the operator's name of each domain.
        able: what the DNS server can go by.
    """
    candidates = chosen(service, flavor)
    first = service.provider_details[candidates[0].provider]
    found: dict[str, Policy] = {}
    for entry in first.access_urls:
        if entry.domain not in names:
            continue
        if entry.moved and entry.operator_url:
            # An operator has set both by hand.
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
    """The flavor's providers that names may lead to, in order; at least one."""
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
    # Without weights, the first of several gets everybody; 0 tells the others apart from it.
    weight = candidate.weight if Steering.WEIGHTS in able else None
    return Target(name, 0 if weight is None else weight, places.countries, places.continents)


def _differ(targets: Policy) -> bool:
    """Whether it matters that there are several."""
    return any(target.weight > 0 or target.is_local for target in targets)
