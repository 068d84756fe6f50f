# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of provider drivers.

Subclass it in the tests of a driver. The name must begin with ``Test``, for pytest to collect it::

    class TestExample(ProviderContract):
        @pytest.fixture
        def provider(self): ...

        def objects(self, provider, service): ...
"""

import abc
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from poppy.common.errors import DriverError, InProgressError, PermanentError, Unauthorized
from poppy.model import headers
from poppy.model.document.delivery import Delivery
from poppy.model.operations import Purge
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Rule,
)
from poppy.provider.base import Capability, Deployment, Provider, Sighting
from poppy.testing.builders import make_service

_POLLS = 100


class ProviderContract(abc.ABC):
    """Tests of every provider driver. The fixture ``provider`` has no services."""

    @abc.abstractmethod
    def objects(self, provider: Provider, service: Service) -> Collection[str]:
        """Return the ids of all objects of a service at the provider; empty if none."""

    def service(self, *domains: str) -> Service:
        """Return a service that the provider supports; override it for a special origin."""
        return make_service(domains=domains or None)

    def settle(
        self, provider: Provider, service: Service, known: ProviderDetail | None = None
    ) -> Deployment:
        """Call ``ensure`` until it is done; override this to advance a fake clock."""
        for _ in range(_POLLS):
            deployment = provider.ensure(service, known)
            if not deployment.in_progress:
                return deployment
        raise AssertionError(f"still in progress after {_POLLS} calls")

    def take_away(
        self, provider: Provider, service: Service, known: ProviderDetail | None = None
    ) -> None:
        """Call ``remove`` until it is done; override this to advance a fake clock."""
        for _ in range(_POLLS):
            try:
                provider.remove(service, known)
            except InProgressError:
                continue
            return
        raise AssertionError(f"still in progress after {_POLLS} calls")

    def stranger(self, provider: Provider) -> Provider:
        """Return a driver for the same provider with invalid credentials."""
        pytest.skip("there are no credentials")

    def log_places(self, provider: Provider, service: Service) -> Collection[str]:
        """Return the set of URLs to which the provider delivers a service's logs.

        For drivers that declare ``LOG_DELIVERY``.
        """
        raise NotImplementedError

    def forwarded(
        self, provider: Provider, service: Service, fields: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Send header fields through the edge; override this if the test has a data plane.

        Args:
            provider: the driver.
            service: a service that has been ensured.
            fields: the header fields of an untrusted client's GET of ``/`` at the edge.

        Returns:
            All header fields of the request that the origin received.
        """
        pytest.skip("there is no data plane")

    def test_no_untrusted_client_header_reaches_an_origin(self, provider: Provider) -> None:
        service = self.service()
        self.settle(provider, service)
        forged = "forged.example.org"

        # Servers limit the number of fields in a request.
        for start in range(0, len(headers.UNTRUSTED), 20):
            fields = dict.fromkeys(headers.UNTRUSTED[start : start + 20], forged)
            seen = self.forwarded(provider, service, fields)

            assert [name for name, value in seen.items() if forged in value] == []

    def test_refused_credentials_are_unauthorized(self, provider: Provider) -> None:
        service, stranger = self.service(), self.stranger(provider)
        assert stranger.health() is False
        assert stranger.serves() is None, "refused credentials say nothing about the edge"
        with pytest.raises(Unauthorized):
            stranger.ensure(service, None)
        with pytest.raises(Unauthorized):
            stranger.remove(service, None)
        with pytest.raises(Unauthorized):
            stranger.inspect(service, None)

    def changed(self, service: Service) -> Service:
        """Return the same service with a changed document."""
        caching = Caching("changed", 60, (Rule("changed", request_url="/changed/*"),))
        return replace(service, spec=replace(service.spec, caching=(caching,)))

    def test_declared_capabilities_are_of_the_enum(self, provider: Provider) -> None:
        assert all(isinstance(capability, Capability) for capability in provider.supports)
        assert isinstance(provider.supports, frozenset)

    def test_health_is_a_bool(self, provider: Provider) -> None:
        assert provider.health() is True

    def test_edge_health_is_true_or_unknown(self, provider: Provider) -> None:
        self.settle(provider, self.service())

        assert provider.serves() in (True, None)

    def test_a_service_gets_one_object_and_a_name_for_each_domain(
        self, provider: Provider
    ) -> None:
        service = self.service("www.a.example.com", "www.b.example.com")

        deployment = self.settle(provider, service)

        assert list(self.objects(provider, service)) == [deployment.provider_service_id]
        assert set(deployment.access_urls) == service.spec.domain_names
        assert all(deployment.access_urls.values())

    def test_ensure_again_changes_nothing(self, provider: Provider) -> None:
        service = self.service()
        first = self.settle(provider, service)
        before = list(self.objects(provider, service))

        second = self.settle(provider, service, known_from(first))

        assert second == first
        assert list(self.objects(provider, service)) == before

    def test_ensure_after_a_lost_reply_finds_the_same_object(self, provider: Provider) -> None:
        service = self.service()
        first = self.settle(provider, service)

        again = self.settle(provider, service, None)
        without_id = self.settle(provider, service, ProviderDetail(ProviderStatus.FAILED))

        assert again == without_id == first
        assert list(self.objects(provider, service)) == [first.provider_service_id]

    def test_an_inspection_finds_no_difference_in_a_deployed_service(
        self, provider: Provider
    ) -> None:
        service = self.service("www.a.example.com", "www.b.example.com")
        known = known_from(self.settle(provider, service))

        assert provider.inspect(service, known) == Sighting()

    def test_an_inspection_finds_a_missing_object_and_creates_none(
        self, provider: Provider
    ) -> None:
        service = self.service()
        known = known_from(self.settle(provider, service))
        self.take_away(provider, service, known)

        found = provider.inspect(service, known)

        assert found.differences
        assert found.repairable
        assert not self.objects(provider, service)

    def test_an_inspection_finds_another_document_and_does_not_change_it(
        self, provider: Provider
    ) -> None:
        service = self.service()
        other = self.changed(service)
        known = known_from(self.settle(provider, other))

        found = provider.inspect(service, known)

        assert found.differences
        assert found.repairable
        assert provider.inspect(other, known) == Sighting()
        repaired = self.settle(provider, service, known)
        assert provider.inspect(service, known_from(repaired)) == Sighting()

    def test_an_update_keeps_the_object(self, provider: Provider) -> None:
        service = self.service()
        first = self.settle(provider, service)

        second = self.settle(provider, self.changed(service), known_from(first))

        assert second.provider_service_id == first.provider_service_id
        assert list(self.objects(provider, service)) == [first.provider_service_id]

    def test_an_update_can_add_and_drop_domains(self, provider: Provider) -> None:
        service = self.service("www.kept.example.com", "www.dropped.example.com")
        known = known_from(self.settle(provider, service))
        other = self.service("www.kept.example.com", "www.added.example.com")

        deployment = self.settle(provider, replace(service, spec=other.spec), known)

        assert set(deployment.access_urls) == {"www.kept.example.com", "www.added.example.com"}

    def test_a_domain_can_move_to_another_service(self, provider: Provider) -> None:
        first, second = self.service("www.moving.example.com"), self.service()
        known = known_from(self.settle(provider, first))
        self.settle(provider, replace(first, spec=self.service().spec), known)

        deployment = self.settle(
            provider, replace(second, spec=self.service("www.moving.example.com").spec)
        )

        assert set(deployment.access_urls) == {"www.moving.example.com"}

    def test_remove_leaves_nothing(self, provider: Provider) -> None:
        service = self.service()
        known = known_from(self.settle(provider, service))

        self.take_away(provider, service, known)

        assert not self.objects(provider, service)

    def test_remove_finds_an_object_whose_id_is_not_stored(self, provider: Provider) -> None:
        service = self.service()
        self.settle(provider, service)

        self.take_away(provider, service, None)

        assert not self.objects(provider, service)

    def test_remove_can_be_repeated(self, provider: Provider) -> None:
        service = self.service()
        known = known_from(self.settle(provider, service))
        self.take_away(provider, service, known)

        self.take_away(provider, service, known)

        assert not self.objects(provider, service)

    def test_remove_of_something_that_never_existed_succeeds(self, provider: Provider) -> None:
        service = self.service()

        self.take_away(provider, service, None)

        assert not self.objects(provider, service)

    def test_remove_of_invalid_names_succeeds(self, provider: Provider) -> None:
        """Otherwise a service that could not be created could not be deleted either."""
        service = self.service()
        domain = ".".join(["a" * 60] * 4) + ".com"
        origin = Origin("impossible.example.com", 80, ssl=True, rules=(Rule("r", "/a/../b"),))
        spec = replace(service.spec, domains=(Domain(domain),), origins=(origin,))
        service = replace(service, spec=spec)

        self.take_away(provider, service, None)

        assert not self.objects(provider, service)

    @pytest.mark.parametrize(("port", "ssl"), [(80, True), (443, False)])
    def test_a_stored_contradiction_of_port_and_tls_can_be_removed(
        self, provider: Provider, port: int, ssl: bool
    ) -> None:
        """Earlier versions accepted such an origin; the driver may refuse to deploy it again."""
        service, known = self.service(), None
        origin = replace(service.spec.origins[0], port=port, ssl=ssl)
        service = replace(service, spec=replace(service.spec, origins=(origin,)))
        with contextlib.suppress(PermanentError):
            known = known_from(self.settle(provider, service))

        self.take_away(provider, service, known)

        assert not self.objects(provider, service)

    def test_removed_service_can_be_recreated(self, provider: Provider) -> None:
        service = self.service()
        self.take_away(provider, service, known_from(self.settle(provider, service)))

        deployment = self.settle(provider, service)

        assert list(self.objects(provider, service)) == [deployment.provider_service_id]

    @pytest.mark.parametrize("url", ["/path/page.html", None])
    @pytest.mark.parametrize("hard", [True, False])
    def test_purge_keeps_the_service(
        self, provider: Provider, url: str | None, hard: bool
    ) -> None:
        if not hard and Capability.SOFT_PURGE not in provider.supports:
            pytest.skip("no soft purge")
        service = self.service()
        deployment = self.settle(provider, service)

        provider.purge(service, known_from(deployment), Purge(url, hard))
        provider.purge(service, known_from(deployment), Purge(url, hard))

        assert list(self.objects(provider, service)) == [deployment.provider_service_id]
        assert self.settle(provider, service, known_from(deployment)) == deployment

    def test_log_delivery_is_turned_on_changed_and_turned_off(self, provider: Provider) -> None:
        if Capability.LOG_DELIVERY not in provider.supports:
            pytest.skip("no log delivery")
        silent = self.service()
        service = replace(silent, spec=replace(silent.spec, log_delivery=True))
        assert not self.log_places(provider, service)

        deployment = self.settle(provider, service)
        place = deployment.log_url
        assert place.endswith(f"/{service.project_id}/{service.service_id}/{provider.name}/")
        assert self.log_places(provider, service) == {place}
        assert self.settle(provider, service, known_from(deployment)) == deployment
        changed = self.settle(provider, self.changed(service), known_from(deployment))
        assert changed.log_url == place
        assert self.log_places(provider, service) == {place}

        without = self.settle(provider, silent, known_from(changed))
        assert without.log_url == ""
        assert not self.log_places(provider, service)

        again = self.settle(provider, service, known_from(without))
        assert self.log_places(provider, service) == {place}
        self.take_away(provider, service, known_from(again))
        assert not self.log_places(provider, service)
        assert not self.objects(provider, service)

    def test_a_redirect_to_https_is_turned_on_and_off(self, provider: Provider) -> None:
        if Capability.HTTPS_REDIRECT not in provider.supports:
            pytest.skip("no redirects to HTTPS")
        plain = self.service()
        redirecting = replace(plain.spec, delivery=Delivery(https_redirect=True))
        service = replace(plain, spec=redirecting)
        known = known_from(self.settle(provider, plain))

        on = self.settle(provider, service, known)
        assert self.settle(provider, service, known_from(on)) == on
        off = self.settle(provider, plain, known_from(on))

        assert list(self.objects(provider, service)) == [off.provider_service_id]

    def test_purge_of_a_missing_service_is_a_driver_error(self, provider: Provider) -> None:
        with pytest.raises(DriverError):
            provider.purge(self.service(), None, Purge(None, True))

    def test_services_are_independent(self, provider: Provider) -> None:
        one, other = self.service(), self.service()
        first, second = self.settle(provider, one), self.settle(provider, other)
        assert first.provider_service_id != second.provider_service_id

        self.settle(provider, self.changed(one), known_from(first))
        provider.purge(one, known_from(first), Purge(None, True))
        self.take_away(provider, one, known_from(first))

        assert not self.objects(provider, one)
        assert list(self.objects(provider, other)) == [second.provider_service_id]
        assert self.settle(provider, other, known_from(second)) == second


def known_from(deployment: Deployment) -> ProviderDetail:
    """Return the provider detail that Poppy stores after ``ensure``."""
    return ProviderDetail(
        status=ProviderStatus.DEPLOYED,
        provider_service_id=deployment.provider_service_id,
        access_urls=tuple(
            AccessURL(domain, name) for domain, name in deployment.access_urls.items()
        ),
        certificates=deployment.certificates,
        log_url=deployment.log_url,
    )
