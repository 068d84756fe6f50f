# SPDX-License-Identifier: Apache-2.0
"""The provider ``fastly`` fulfils the contract of all providers."""

from dataclasses import replace

import pytest

from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.base import Deployment, Provider
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.provider import ProviderContract
from tests.certificates import Signed
from tests.integration.fastly.conftest import make_provider
from tests.real.fastly import Fastly


class TestFastly(ProviderContract):
    @pytest.fixture(autouse=True)
    def _double(self, fastly: Fastly) -> None:
        self.fastly = fastly

    @pytest.fixture
    def provider(self, provider: FastlyProvider) -> FastlyProvider:
        return provider

    def stranger(self, provider: Provider) -> Provider:
        return make_provider(self.fastly, token="another")

    def log_places(self, provider: Provider, service: Service) -> set[str]:
        name = f"poppy-{service.service_id}"
        return {
            f"https://{one['domain']}/{one['bucket_name']}/{one['path']}"
            for found in self.fastly.account.living()
            if found.name == name and found.active
            for one in found.active.objects["logging/s3"].values()
        }

    def objects(self, provider: Provider, service: Service) -> list[str]:
        name = f"poppy-{service.service_id}"
        return [found.service_id for found in self.fastly.account.living() if found.name == name]


def secured(service: Service, certificate: str) -> Service:
    """Return the service with https domains and certificates of this kind."""
    https = tuple(Domain(entry.domain, "https", certificate) for entry in service.spec.domains)
    return replace(service, spec=replace(service.spec, domains=https))


class TestFastlyWithCertificates(TestFastly):
    """The contract for https domains, with certificates that are issued at the next poll."""

    def service(self, *domains: str) -> Service:
        return secured(super().service(*domains), "sni")

    def settle(
        self, provider: Provider, service: Service, known: ProviderDetail | None = None
    ) -> Deployment:
        provider.ensure(service, known)
        for domain in service.spec.domain_names:
            self.fastly.tls.set_state(domain, "issued")
        return super().settle(provider, service, known)

    def objects(self, provider: Provider, service: Service) -> list[str]:
        found = super().objects(provider, service)
        if not found:
            orders = [self.fastly.tls.of(domain) for domain in service.spec.domain_names]
            assert not any(orders)
        return found


class TestFastlyWithBroughtCertificates(TestFastly):
    """The contract for https domains, with certificates that the tenant brings."""

    def service(self, *domains: str) -> Service:
        return secured(super().service(*domains), "custom")

    def settle(
        self, provider: Provider, service: Service, known: ProviderDetail | None = None
    ) -> Deployment:
        for domain in service.spec.domain_names:
            if provider.kept_certificate(service, domain) is None:
                site = Signed("site", names=[domain])
                provider.keep_certificate(service, domain, site.pem, site.key_pem)
        deployment = super().settle(provider, service, known)
        assert set(deployment.certificates.values()) == {"deployed"}
        return deployment

    def objects(self, provider: Provider, service: Service) -> list[str]:
        found = super().objects(provider, service)
        if not found:
            kept = [provider.kept_certificate(service, it) for it in service.spec.domain_names]
            assert not any(kept)
        return found
