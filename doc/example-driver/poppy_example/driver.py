# SPDX-License-Identifier: Apache-2.0
"""The provider ``example``: a CDN that keeps "sites" behind a small REST API."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from poppy.common.errors import ConfigError, PermanentError, RetryableError
from poppy.common.http import Client, Quota
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Capability, Deployment, Provider

Site = dict[str, Any]


class ExampleProvider(Provider):
    """Keeps one site for each service, labelled with the service's id."""

    # begin options
    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        cfg.StrOpt("url", default="https://api.cdn.example", help="Where the CDN's API is."),
        cfg.StrOpt("token", secret=True, help="An API token that may change sites."),
        cfg.FloatOpt(
            "timeout",
            default=30.0,
            min=0.1,
            help="Seconds until the CDN's answer to one call counts as lost.",
        ),
    )
    # end options

    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset({Capability.ORIGIN_SSL})

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options; nothing is asked of the CDN yet.

        Raises:
            ConfigError: there is no token.
        """
        super().__init__(conf, name)
        if not self.options.token:
            raise ConfigError(f"[drivers:provider:{name}] token is not set")
        self._client = Client(
            name,
            self.options.url,
            headers={"Authorization": f"Bearer {self.options.token}"},
            timeout=(5.0, self.options.timeout),
        )

    @property
    def quota(self) -> Mapping[str, Quota]:
        """What the CDN's last answers said of its limits."""
        return self._client.quota

    def check(self, spec: ServiceSpec) -> None:
        """Refuse what no capability is about; see :meth:`Provider.check`."""
        if len(spec.origins) > 1:
            raise PermanentError(
                f"this CDN has one origin for each site: leave out {spec.origins[1].origin}"
            )

    # begin ensure
    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Have a site that is what the document says; see :meth:`Provider.ensure`."""
        wanted = _site(service)
        site = self._find(service, known) or self._create(wanted)
        if any(site[field] != wanted[field] for field in wanted):
            site = self._client.json("PUT", f"/sites/{site['id']}", json=wanted)
        return Deployment(
            provider_service_id=site["id"],
            access_urls={domain: site["edge"] for domain in sorted(service.spec.domain_names)},
            in_progress=site["state"] == "deploying",
            poll_after=5.0,
        )

    # end ensure

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the site; see :meth:`Provider.remove`."""
        site = self._find(service, known)
        if site is not None:
            self._client.request("DELETE", f"/sites/{site['id']}", accept={404})

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Evict a path, or everything; see :meth:`Provider.purge`."""
        site = self._find(service, known)
        if site is None:
            raise PermanentError(f"{self.name} has no service {service.service_id}")
        path = purge.url or "/*"
        self._client.request("POST", f"/sites/{site['id']}/purge", json={"path": path})

    def health(self) -> bool:
        """Whether the CDN answers."""
        return self._client.answers("/health")

    # begin find
    def _find(self, service: Service, known: ProviderDetail | None) -> Site | None:
        """The service's site, whether or not Poppy knows of it."""
        if known is not None and known.provider_service_id is not None:
            path = f"/sites/{known.provider_service_id}"
            response = self._client.request("GET", path, accept={404})
            if response.status_code != 404 and response.json()["label"] == service.service_id:
                found: Site = response.json()
                return found
        # The reply that would have told us the id may have been lost.
        sites = self._client.json("GET", "/sites", params={"label": service.service_id})
        return sites[0] if sites else None

    def _create(self, wanted: Site) -> Site:
        response = self._client.request("POST", "/sites", json=wanted, accept={409})
        if response.status_code == 409:
            # Another worker was faster: look again, from the beginning.
            raise RetryableError(f"{self.name} has just got a site {wanted['label']}", 1.0)
        made: Site = response.json()
        return made

    # end find


def _site(service: Service) -> Site:
    """What a service is at this CDN: everything that is not given has to have a default."""
    spec, (origin, *_) = service.spec, service.spec.origins
    return {
        "label": service.service_id,
        "hosts": sorted(spec.domain_names),
        "origin": f"{'https' if origin.ssl else 'http'}://{origin.origin}:{origin.port}",
        "ttls": [
            {"path": rule.request_url or "/*", "seconds": entry.ttl}
            for entry in spec.caching
            for rule in entry.rules
        ],
    }
