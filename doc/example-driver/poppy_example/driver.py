# SPDX-License-Identifier: Apache-2.0
"""The provider ``example``: a CDN that keeps "sites" behind a small REST API."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from poppy.common import inspection
from poppy.common.errors import PermanentError, RetryableError
from poppy.common.http import Client, Quota
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Capability, Deployment
from poppy.provider.skeleton import ObjectProvider

Site = dict[str, Any]


class ExampleProvider(ObjectProvider[Site, Site]):
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
        self.require("token")
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

    # begin skeleton
    def prepare(self, service: Service) -> Site:
        """Compile the document."""
        return _site(service)

    def stored(self, service: Service, provider_service_id: str) -> Site | None:
        """Return the site with this ID, if it is the service's."""
        found = self._client.find(f"/sites/{provider_service_id}")
        return found if found and found["label"] == service.service_id else None

    def search(self, service: Service) -> Site | None:
        """Return the site with the service's label."""
        sites = self._client.json("GET", "/sites", params={"label": service.service_id})
        return sites[0] if sites else None

    def create(self, service: Service, plan: Site) -> Site:
        """Create the site; the CDN refuses a second one with the same label."""
        response = self._client.request("POST", "/sites", json=plan, accept={409})
        if response.status_code == 409:
            # Another worker was faster: start again.
            raise RetryableError(f"{self.name} has just got a site {plan['label']}", 1.0)
        return self._client.document(response)

    def converge(
        self, service: Service, known: ProviderDetail | None, plan: Site, found: Site
    ) -> Deployment:
        """Replace the site if it differs from the document."""
        differing = [field for field in plan if found[field] != plan[field]]
        if differing:
            inspection.differs(f"the site differs in {', '.join(differing)}")
            found = self._client.json("PUT", f"/sites/{found['id']}", json=plan)
        return Deployment(
            provider_service_id=found["id"],
            access_urls={domain: found["edge"] for domain in sorted(service.spec.domain_names)},
            in_progress=found["state"] == "deploying",
            poll_after=5.0,
        )

    def delete(self, service: Service, found: Site) -> None:
        """Delete the site."""
        self._client.request("DELETE", f"/sites/{found['id']}", accept={404})

    # end skeleton

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Evict a path, or everything; see :meth:`Provider.purge`."""
        site = self.existing(service, known)
        path = purge.url or "/*"
        self._client.request("POST", f"/sites/{site['id']}/purge", json={"path": path})

    def health(self) -> bool:
        """Whether the CDN answers."""
        return self._client.answers("/health")


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
