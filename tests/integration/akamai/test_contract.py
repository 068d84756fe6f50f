# SPDX-License-Identifier: Apache-2.0
"""The provider ``akamai`` fulfils the contract of all providers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poppy.common.errors import InProgressError
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.akamai.driver import AkamaiProvider
from poppy.provider.base import Provider
from poppy.testing.provider import ProviderContract
from tests.integration.akamai.conftest import LOGS, logging_provider, make_provider, template
from tests.real.akamai import Akamai


class TestAkamai(ProviderContract):
    @pytest.fixture(autouse=True)
    def _double(self, akamai: Akamai) -> None:
        self.akamai = akamai
        self.options: dict[str, Any] = {}

    @pytest.fixture
    def provider(self, provider: AkamaiProvider) -> AkamaiProvider:
        return provider

    def stranger(self, provider: Provider) -> Provider:
        return make_provider(self.akamai, client_secret="another", **self.options)

    def forwarded(
        self, provider: Provider, service: Service, fields: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Return the fields that the rules for all requests do not remove."""
        (domain,) = service.spec.domain_names
        key, _ = self.akamai.papi.serving()[domain]
        active = self.akamai.papi.properties[key]["active"]["PRODUCTION"]
        removed = {
            behavior["options"]["customHeaderName"].lower()
            for rule in self.akamai.papi.version(key, active)["rules"]["children"]
            if not rule["criteria"]
            for behavior in rule["behaviors"]
            if behavior["name"] == "modifyIncomingRequestHeader"
        }
        return {name: value for name, value in fields.items() if name.lower() not in removed}

    def objects(self, provider: Provider, service: Service) -> list[str]:
        return self.akamai.papi.named(f"poppy-{service.service_id}")


class TestAkamaiWithLogs(TestAkamai):
    """The contract with a store for logs."""

    @pytest.fixture
    def provider(self, akamai: Akamai) -> AkamaiProvider:
        self.options = LOGS
        return logging_provider(akamai)

    def log_places(self, provider: Provider, service: Service) -> set[str]:
        name = f"poppy-{service.service_id}"
        keys = self.akamai.papi.named(name)
        serving = [self.akamai.papi.properties[key]["active"].get("PRODUCTION") for key in keys]
        named = {
            stream
            for key, version in zip(keys, serving, strict=True)
            if version
            for one in self.akamai.papi.version(key, version)["rules"]["behaviors"]
            if one["name"] == "datastream"
            for stream in one["options"]["logStreamName"]
        }
        return {
            "{endpoint}/{bucket}/{path}/".format(**one["destination"])
            for one in self.akamai.streams.named(name)
            if str(one["streamId"]) in named and one["streamStatus"] in ("ACTIVATING", "ACTIVATED")
        }

    def objects(self, provider: Provider, service: Service) -> list[str]:
        found = super().objects(provider, service)
        if not found:
            assert self.akamai.streams.named(f"poppy-{service.service_id}") == []
        return found


class TestAkamaiWithSNI(TestAkamai):
    """The contract for https domains with a certificate each."""

    @pytest.fixture
    def provider(self, akamai: Akamai, tmp_path: Path) -> AkamaiProvider:
        self.options = {
            "enrollment_template": template(tmp_path),
            "allow_https_downgrade": True,
        }
        return make_provider(akamai, **self.options)

    def service(self, *domains: str) -> Service:
        return secured(super().service(*domains), "sni")

    def objects(self, provider: Provider, service: Service) -> list[str]:
        found = super().objects(provider, service)
        if not found:
            for domain in service.spec.domain_names:
                assert not self.akamai.cps.named(domain)
        return found


class TestAkamaiWithDefaultCertificates(TestAkamai):
    """The contract for https domains with certificates that Akamai issues by itself."""

    @pytest.fixture
    def provider(self, akamai: Akamai) -> AkamaiProvider:
        self.options = {"default_certificates": True, "allow_https_downgrade": True}
        return make_provider(akamai, **self.options)

    def service(self, *domains: str) -> Service:
        return secured(super().service(*domains), "sni")

    def objects(self, provider: Provider, service: Service) -> list[str]:
        found = super().objects(provider, service)
        if not found:
            assert not service.spec.domain_names & self.akamai.papi.default.active["PRODUCTION"]
        return found


class TestAkamaiWithSAN(TestAkamai):
    """The contract for https domains that share a certificate."""

    @pytest.fixture
    def provider(self, akamai: Akamai) -> AkamaiProvider:
        self.shared = [akamai.cps.add("san1.cdn.example"), akamai.cps.add("san2.cdn.example")]
        self.options = {"san_certs": self.shared, "allow_https_downgrade": True}
        return make_provider(akamai, **self.options)

    def service(self, *domains: str) -> Service:
        return secured(super().service(*domains), "san")

    def settle(self, provider, service, known=None):
        for _ in range(20):
            try:
                return super().settle(provider, service, known)
            except InProgressError:
                for number in self.shared:
                    if self.akamai.cps.enrollments[number]["change"]:
                        self.akamai.cps.end_change(number)
        raise AssertionError("never settled")


def secured(service: Service, kind: str) -> Service:
    domains = tuple(Domain(one.domain, "https", kind) for one in service.spec.domains)
    return replace(service, spec=replace(service.spec, domains=domains))
