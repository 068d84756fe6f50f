# SPDX-License-Identifier: Apache-2.0
"""The skeleton of provider drivers, with a provider that keeps its objects in a dictionary."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import pytest
from oslo_config import cfg

from poppy.common import config, inspection
from poppy.common.errors import ConfigError, InProgressError, PermanentError
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.provider.base import Capability, Deployment
from poppy.provider.skeleton import (
    ObjectProvider,
    Orders,
    dropped_certificates,
    own_certificates,
)
from poppy.testing.builders import make_service, make_spec
from poppy.testing.provider import ProviderContract

GROUP = "drivers:provider:shelf"
RECORD = DNSRecord("a.example.com", Purpose.CERTIFICATE, RecordType.CNAME, "_a", "b")


class Shelf(ObjectProvider[list[str], str]):
    """Objects by ID: the service's id and its domains."""

    OPTS: ClassVar[Sequence[cfg.Opt]] = (cfg.StrOpt("token"), cfg.StrOpt("shard"))
    OPTIONAL: ClassVar[Mapping[Capability, Sequence[str]]] = {
        Capability.SHARED_CERTIFICATE: ("shard", "token"),
        Capability.GEOGRAPHY: ("shard",),
    }

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self.objects: dict[str, tuple[str, list[str]]] = {}
        self.created = 0
        self.cleaned: list[str] = []
        self.stops = False

    def prepare(self, service: Service) -> list[str]:
        if "refused.example.com" in service.spec.domain_names:
            raise PermanentError("refused.example.com")
        return sorted(service.spec.domain_names)

    def stored(self, service: Service, provider_service_id: str) -> str | None:
        owner, _ = self.objects.get(provider_service_id, ("", []))
        return provider_service_id if owner == service.service_id else None

    def search(self, service: Service) -> str | None:
        return next((it for it in self.objects if self.stored(service, it)), None)

    def create(self, service: Service, plan: list[str]) -> str:
        self.created += 1
        self.objects[f"object-{self.created}"] = service.service_id, plan
        return f"object-{self.created}"

    def converge(
        self, service: Service, known: ProviderDetail | None, plan: list[str], found: str
    ) -> Deployment:
        if self.objects[found] != (service.service_id, plan):
            inspection.differs("other domains")
            self.objects[found] = service.service_id, plan
        return Deployment(found, dict.fromkeys(plan, "shelf.example"))

    def delete(self, service: Service, found: str) -> None:
        if self.stops:
            raise InProgressError("in service", 1)
        del self.objects[found]

    def clean_up(self, service: Service, known: ProviderDetail | None) -> None:
        self.cleaned.append(service.service_id)

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        self.existing(service, known)

    def health(self) -> bool:
        return True


def make(**options: str) -> Shelf:
    conf = config.new()
    conf([])
    conf.register_opts(Shelf.OPTS, group=GROUP)
    for name, value in options.items():
        conf.set_override(name, value, group=GROUP)
    return Shelf(conf, "shelf")


@pytest.fixture
def provider() -> Shelf:
    return make()


class TestContract(ProviderContract):
    """The skeleton keeps the promises of a provider."""

    @pytest.fixture
    def provider(self) -> Shelf:
        return make()

    def objects(self, provider: Any, service: Service) -> list[str]:
        return [it for it, (owner, _) in provider.objects.items() if owner == service.service_id]

    def changed(self, service: Service) -> Service:
        """Change a domain: the objects have nothing else."""
        return replace(service, spec=make_spec(domains=("changed.example.com",)))


def stored(provider_service_id: str, **certificates: str) -> ProviderDetail:
    names = {f"{label}.example.com": status for label, status in certificates.items()}
    return ProviderDetail(
        ProviderStatus.DEPLOYED, provider_service_id=provider_service_id, certificates=names
    )


def test_a_stored_id_of_another_services_object_is_not_used(provider: Shelf) -> None:
    one, other = make_service(), make_service()
    first = provider.ensure(one, None).provider_service_id

    second = provider.ensure(other, stored(first)).provider_service_id

    assert second != first
    assert provider.objects[first][0] == one.service_id


def test_a_refused_document_creates_nothing(provider: Shelf) -> None:
    with pytest.raises(PermanentError, match=r"refused\.example\.com"):
        provider.ensure(make_service(domains=["refused.example.com"]), None)

    assert provider.objects == {}


def test_clean_up_follows_the_deletion_and_is_repeated(provider: Shelf) -> None:
    service = make_service()
    provider.ensure(service, None)
    provider.stops = True
    with pytest.raises(InProgressError):
        provider.remove(service, None)
    assert provider.cleaned == []
    provider.stops = False

    provider.remove(service, None)
    provider.remove(service, None)

    assert provider.cleaned == [service.service_id] * 2


def test_options_enable_optional_capabilities() -> None:
    assert make().supports == frozenset()
    assert make(token="t").supports == {Capability.SHARED_CERTIFICATE}
    assert make(shard="s").supports == {Capability.SHARED_CERTIFICATE, Capability.GEOGRAPHY}


def test_a_missing_option_is_named_with_its_group() -> None:
    make(token="t", shard="s").require("token", "shard")
    with pytest.raises(ConfigError) as caught:
        make(token="t").require("token", "shard")

    assert str(caught.value) == f"[{GROUP}] shard is not set"


class Ordered(NamedTuple):
    status: str
    wants: str = ""
    records: Sequence[DNSRecord] = ()


def test_orders_give_the_fields_of_a_deployment() -> None:
    domains = (
        Domain("a.example.com", "https", "san"),
        Domain("b.example.com", "https", "sni"),
        Domain("c.example.com", "https", "shared"),
        Domain("d.example.com"),
    )
    spec = replace(make_spec(), domains=domains)
    orders = {
        "a.example.com": Ordered("create_in_progress", "create _a", (RECORD,)),
        "b.example.com": Ordered("failed", "no luck"),
    }

    assert own_certificates(spec) == {"a.example.com": "san", "b.example.com": "sni"}
    statuses = {"a": "create_in_progress", "b": "failed", "c": "deployed"}
    assert Orders.of(spec, orders) == (
        {f"{label}.example.com": status for label, status in statuses.items()},
        ["create _a"],
        [RECORD],
    )


def test_certificates_are_dropped_with_their_domain_or_https() -> None:
    domains = (Domain("kept.example.com", "https", "sni"), Domain("plain.example.com"))
    service = make_service(spec=replace(make_spec(), domains=domains))
    known = stored("1", kept="deployed", plain="deployed", gone="failed")

    assert dropped_certificates(service, known) == {"plain.example.com", "gone.example.com"}
    assert dropped_certificates(service, None) == set()
