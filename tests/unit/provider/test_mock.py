# SPDX-License-Identifier: Apache-2.0
"""The provider ``mock``, in memory and in files."""

import datetime
import time
from pathlib import Path

import pytest

from poppy.common import config
from poppy.common.errors import PermanentError, RetryableError
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.provider.base import Metric, Provider, Query
from poppy.provider.mock import MockProvider
from poppy.testing.builders import make_service
from poppy.testing.certificates import CertificateContract
from poppy.testing.provider import ProviderContract


def make_provider(**options: object) -> MockProvider:
    conf = config.new()
    conf([])
    provider = MockProvider(conf, "mock")
    for name, value in options.items():
        conf.set_override(name, value, group="drivers:provider:mock")
    return provider


class TestInMemory(ProviderContract, CertificateContract):
    @pytest.fixture
    def provider(self) -> MockProvider:
        return make_provider()

    def log_places(self, provider: Provider, service: Service) -> set[str]:
        assert isinstance(provider, MockProvider)
        found = provider.find(service.service_id)
        path = f"{service.project_id}/{service.service_id}/mock/"
        delivers = found is not None and found["spec"]["log_delivery"]["enabled"]
        return {f"https://logs.mock.example.net/{path}"} if delivers else set()

    def objects(self, provider: Provider, service: Service) -> list[str]:
        assert isinstance(provider, MockProvider)
        found = provider.find(service.service_id)
        return [found["provider_service_id"]] if found else []


class TestInFiles(TestInMemory):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> MockProvider:
        return make_provider(directory=str(tmp_path / "objects"))


def test_the_object_records_calls(tmp_path: Path) -> None:
    provider = make_provider(directory=str(tmp_path), suffix="edge.test")
    service = make_service(domains=["www.a.example.com"])

    deployment = provider.ensure(service, None)
    provider.ensure(service, None)
    provider.purge(service, None, Purge("/page", hard=False))

    assert deployment.access_urls == {"www.a.example.com": "www.a.example.com.edge.test"}
    found = make_provider(directory=str(tmp_path)).find(service.service_id)
    assert found is not None
    assert found["spec"] == service.spec.to_dict()
    assert found["updates"] == 1
    assert found["purges"] == [{"url": "/page", "hard": False}]
    assert provider.service_ids() == {service.service_id}


def test_a_service_id_cannot_leave_the_directory(tmp_path: Path) -> None:
    provider = make_provider(directory=str(tmp_path / "objects"))
    service = make_service(service_id="../../elsewhere")

    provider.ensure(service, None)

    assert [path.parent.name for path in tmp_path.rglob("*.json")] == ["objects"]


def test_a_purge_of_an_unknown_service_is_refused() -> None:
    with pytest.raises(PermanentError, match="has no service"):
        make_provider().purge(make_service(), None, Purge(None, hard=True))


def test_a_directory_that_cannot_be_created_is_retryable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    provider = make_provider(directory=str(tmp_path / "file" / "objects"))

    with pytest.raises(RetryableError):
        provider.ensure(make_service(), None)
    assert provider.health() is False


def test_latency_delays_a_call() -> None:
    provider = make_provider(latency=0.2)
    begin = time.monotonic()

    provider.ensure(make_service(), None)

    assert time.monotonic() - begin >= 0.2


def test_certificates_are_not_services(tmp_path: Path) -> None:
    for provider in (make_provider(), make_provider(directory=str(tmp_path))):
        provider.ensure_certificate(Certificate("p", "www.example.com", "san", "standard"), None)
        service = make_service()
        provider.ensure(service, None)
        assert provider.service_ids() == {service.service_id}


def test_an_object_in_a_workers_memory_is_counted_in_another_process(tmp_path: Path) -> None:
    service = make_service(domains=["www.example.com"])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    end = start + datetime.timedelta(hours=1)
    query = Query("www.example.com", Metric.REQUEST_COUNT, start, end)
    known = ProviderDetail(ProviderStatus.DEPLOYED, "mock-1")
    assert make_provider().metrics(service, known, query)
    with pytest.raises(PermanentError):
        make_provider(directory=str(tmp_path)).metrics(service, known, query)


def test_simulated_counts_are_deterministic_and_add_up() -> None:
    provider, service = make_provider(), make_service(domains=["www.example.com"])
    start = datetime.datetime(2026, 1, 1, 12, 30, tzinfo=datetime.UTC)
    end = start + datetime.timedelta(hours=3)

    def ask(metric: Metric) -> list[int]:
        zones = provider.metrics(service, None, Query("www.example.com", metric, start, end))
        assert all([p.timestamp.hour for p in zone] == [12, 13, 14, 15] for zone in zones.values())
        return [point.value for zone in zones.values() for point in zone]

    with pytest.raises(PermanentError):
        ask(Metric.REQUEST_COUNT)
    provider.ensure(service, None)
    requests = ask(Metric.REQUEST_COUNT)
    assert requests == ask(Metric.REQUEST_COUNT)
    assert len(set(requests)) > 6
    classes = [metric for metric in Metric if "XX" in metric]
    assert [sum(column) for column in zip(*map(ask, classes), strict=True)] == requests
    assert ask(Metric.BANDWIDTH_OUT) == [20_000 * n for n in requests]
    query = Query("www.example.com", Metric.REQUEST_COUNT, start, end, by_country=True)
    by_country = provider.metrics(service, None, query)
    assert sorted(by_country) == ["DE", "US", "ZZ"]
    assert sorted(p.value for zone in by_country.values() for p in zone) == sorted(requests)
    assert ask(Metric.CACHE_HITS) == [n * 4 // 5 for n in requests]
