# SPDX-License-Identifier: Apache-2.0
"""A service with all features, and checks of the account's state."""

from dataclasses import replace

from poppy.model.services import Service
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
)
from poppy.provider.fastly.configuration import Settings, wanted
from poppy.testing.builders import make_service, make_spec
from tests.real.fastly import Fastly

HTTP, HTTPS = "www.a.example.com", "secure.a.example.com"


def whole_service() -> Service:
    """Return a service with two domains and origins, three caching entries, all restrictions."""
    return make_service(
        spec=make_spec(
            domains=[HTTP],
            origins=(
                Origin("origin.example.com", rules=(Rule("all", "/*"),)),
                Origin(
                    "static.example.com",
                    443,
                    True,
                    "custom",
                    "files.example.com",
                    (Rule("static", "/static/*"), Rule("images", "/*.png")),
                ),
            ),
            caching=(
                Caching("default", 3600, (Rule("all", "/*"),)),
                Caching("never", 0, (Rule("login", "/login"),)),
                Caching("short", 30, (Rule("news", "/news/*"),)),
            ),
            restrictions=(
                Restriction("site", "whitelist", (Rule("r", "/*", referrer="a.example.com"),)),
                Restriction("office", "blacklist", (Rule("ip", "/*", client_ip="192.0.2.0/24"),)),
                Restriction("v6", "blacklist", (Rule("ip", "/v6/*", client_ip="2001:db8::/32"),)),
                Restriction("land", "whitelist", (Rule("g", "/local/*", geography="Canada"),)),
            ),
        )
    )


def with_https(service: Service) -> Service:
    """Return the service with a domain that has its own certificate."""
    domains = (*service.spec.domains, Domain(HTTPS, "https", "sni"))
    return replace(service, spec=replace(service.spec, domains=domains))


def with_ttl(service: Service, ttl: int) -> Service:
    """Return the service with another TTL in the first caching entry."""
    first, *others = service.spec.caching
    caching = (replace(first, ttl=ttl), *others)
    return replace(service, spec=replace(service.spec, caching=caching))


def assert_serves(fastly: Fastly, service: Service, settings: Settings | None = None) -> None:
    """Check that one object exists for the service and serves exactly its document."""
    name = f"poppy-{service.service_id}"
    (found,) = [entry for entry in fastly.account.living() if entry.name == name]
    assert found.active is not None
    expected = wanted(service.spec, settings or Settings())
    assert found.active.objects == expected
    for domain in service.spec.domains:
        orders = fastly.tls.of(domain.domain)
        assert len(orders) == (1 if domain.certificate in ("san", "sni") else 0)
