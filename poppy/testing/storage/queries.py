# SPDX-License-Identifier: Apache-2.0
"""Contract: search for services by other fields than their id."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model import certificates
from poppy.model.operations import Kind
from poppy.model.provider_details import (
    AccessURL,
    ProviderDetail,
    ProviderDetails,
    ProviderStatus,
)
from poppy.model.services import Service, Status
from poppy.model.specs import Domain
from poppy.storage.base import Storage
from poppy.storage.queries import Found
from poppy.testing.builders import PROJECT_ID, make_service, make_spec
from poppy.testing.storage.case import (
    StorageCase,
    add,
    begin,
    create,
    finish,
    first_operation,
    remove,
    settle,
    submit,
)

FAILED = {"mock": ProviderDetail(ProviderStatus.FAILED)}
URL = "edge.provider.example"


def deployed(service: Service, url: str = URL) -> ProviderDetails:
    """Return details in which one provider name serves all domains of a service."""
    urls = tuple(AccessURL(domain, url) for domain in sorted(service.spec.domain_names))
    return {"mock": ProviderDetail(ProviderStatus.DEPLOYED, "id-1", urls)}


def deploy(storage: Storage, url: str = URL, domains: list[str] | None = None) -> Service:
    """Create a deployed service; return it as stored."""
    service = add(storage, domains=domains)
    run = begin(storage, first_operation(storage, service))
    finish(storage, run.operation, details=deployed(service, url))
    return storage.services.get(service.project_id, service.service_id)


def found(storage: Storage, status_bucket: str, page: int = 2) -> list[Found]:
    """Return all services with a status, sorted by id, read page by page."""
    result: list[Found] = []
    marker = None
    while entries := storage.queries.by_status(status_bucket, marker, page):
        assert len(entries) <= page
        result.extend(entries)
        marker = entries[-1].service_id
    return sorted(result, key=lambda entry: entry.service_id)


def entries_of(*services: Service) -> list[Found]:
    """Return the expected result of :func:`found` for these services."""
    return [Found(service.project_id, service.service_id) for service in services]


class QueriesContract(StorageCase):
    """Services are found by status, by domain, and by the provider's name for a domain."""

    def test_services_of_a_status_are_found_in_all_projects(self, stocked: Storage) -> None:
        services = [add(stocked, project_id=f"project-{n % 3}") for n in range(7)]
        broken = add(stocked, provider_details=FAILED)
        assert found(stocked, "create_in_progress") == entries_of(*services)
        assert found(stocked, "failed") == entries_of(broken)
        assert found(stocked, "deployed") == []

    def test_service_is_found_by_its_current_status(self, stocked: Storage) -> None:
        other, service = add(stocked), deploy(stocked)
        assert found(stocked, "create_in_progress") == entries_of(other)
        assert found(stocked, "deployed") == entries_of(service)
        changing = service.with_details(
            {"mock": replace(deployed(service)["mock"], status=ProviderStatus.UPDATE_IN_PROGRESS)}
        )
        submit(stocked, changing)
        assert found(stocked, "deployed") == []
        assert found(stocked, "update_in_progress") == entries_of(service)
        stored = stocked.services.get(service.project_id, service.service_id)
        submit(stocked, replace(stored, disabled=True))
        assert found(stocked, "update_in_progress") == []
        assert found(stocked, "disabled") == entries_of(service)

    def test_services_of_a_status_are_counted_up_to_a_limit(self, stocked: Storage) -> None:
        for n in range(5):
            add(stocked, project_id=f"project-{n % 2}")
        deploy(stocked)
        counts = [stocked.queries.count("create_in_progress", limit) for limit in (1, 4, 5, 6)]
        assert counts == [1, 4, 5, 5]
        assert stocked.queries.count("deployed", 10) == 1
        assert stocked.queries.count("failed", 10) == 0

    def test_removed_service_is_not_found_any_more(self, stocked: Storage) -> None:
        service = deploy(stocked, domains=["a.example.com"])
        submit(stocked, service.with_details(FAILED))
        remove(stocked, stocked.services.get(service.project_id, service.service_id))
        for status in Status:
            assert found(stocked, str(status)) == []
            assert list(stocked.services.list(PROJECT_ID, None, 10, status)) == []
        assert list(stocked.queries.domains_at(URL, None, 10)) == []
        with pytest.raises(errors.NotFound):
            stocked.queries.by_claim("a.example.com")

    def test_project_lists_its_services_of_a_status_page_by_page(self, stocked: Storage) -> None:
        broken = [add(stocked, provider_details=FAILED) for _ in range(5)]
        running = [add(stocked) for _ in range(2)]
        add(stocked, provider_details=FAILED, project_id="another")
        first = stocked.services.list(PROJECT_ID, None, 3, Status.FAILED)
        rest = stocked.services.list(PROJECT_ID, first[-1].service_id, 3, Status.FAILED)
        assert [*first, *rest] == broken
        creating = Status.CREATE_IN_PROGRESS
        assert list(stocked.services.list(PROJECT_ID, None, 10, creating)) == running
        settle(stocked, broken[0])
        listed = stocked.services.list(PROJECT_ID, None, 10, Status.FAILED)
        assert [service.service_id for service in listed] == [it.service_id for it in broken]

    def test_service_is_found_by_each_of_its_domains(self, stocked: Storage) -> None:
        service = add(stocked, domains=["a.example.com", "b.example.com"])
        add(stocked, domains=["c.example.com"])
        for domain in ("a.example.com", "b.example.com"):
            assert stocked.queries.by_claim(domain) == service
        with pytest.raises(errors.NotFound):
            stocked.queries.by_claim("d.example.com")

    def test_domain_is_found_between_claim_and_release(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked, domains=["a.example.com"]))
        changed = replace(service, spec=make_spec(domains=["b.example.com"]))
        operation = submit(stocked, changed)
        stored = stocked.services.get(service.project_id, service.service_id)
        assert stocked.queries.by_claim("a.example.com") == stored
        assert stocked.queries.by_claim("b.example.com") == stored
        finish(stocked, begin(stocked, operation).operation)
        with pytest.raises(errors.NotFound):
            stocked.queries.by_claim("a.example.com")

    def test_domains_are_listed_by_provider_url_in_pages(self, stocked: Storage) -> None:
        names = [f"n{n}.example.com" for n in range(9)]
        deploy(stocked, domains=names[::2])
        deploy(stocked, domains=names[1::2])
        deploy(stocked, "other.provider.example", ["x.example.com"])
        assert list(stocked.queries.domains_at(URL, None, 20)) == names
        pages, marker = [], None
        while page := stocked.queries.domains_at(URL, marker, 4):
            pages.append(list(page))
            marker = page[-1]
        assert pages == [names[:4], names[4:8], names[8:]]
        assert list(stocked.queries.domains_at("unused.example", None, 20)) == []

    def test_domain_is_found_by_its_current_provider_url(self, stocked: Storage) -> None:
        service = deploy(stocked, domains=["a.example.com", "b.example.com"])
        moved = AccessURL("a.example.com", "new.provider.example")
        kept = AccessURL("b.example.com", URL)
        details = {"mock": replace(deployed(service)["mock"], access_urls=(moved, kept))}
        operation = submit(stocked, service, Kind.UPDATE)
        run = begin(stocked, operation).operation
        finish(stocked, run, details=details)
        assert list(stocked.queries.domains_at(URL, None, 20)) == ["b.example.com"]
        new = stocked.queries.domains_at("new.provider.example", None, 20)
        assert list(new) == ["a.example.com"]

    def test_certificate_order_is_separate_from_services(self, stocked: Storage) -> None:
        service = deploy(stocked, domains=["a.example.com"])
        domain = Domain("a.example.com", "https", "san")
        spec = replace(make_spec(), domains=(domain,))
        order = make_service(project_id=certificates.namespace(PROJECT_ID), spec=spec)
        create(stocked, order, limit=1)
        assert stocked.queries.by_claim("san:a.example.com") == order
        assert stocked.queries.by_claim("a.example.com") == service
        assert found(stocked, "certificate:create_in_progress") == entries_of(order)
        assert found(stocked, "create_in_progress") == []
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == [service]
        with pytest.raises(errors.DomainTaken):
            create(stocked, replace(order, service_id=make_service().service_id))
        issued = replace(
            order.provider_details["mock"],
            status=ProviderStatus.DEPLOYED,
            certificates={"a.example.com": "deployed"},
            extra={"enrollment": 7},
        )
        run = begin(stocked, first_operation(stocked, order))
        finish(stocked, run.operation, details={"mock": issued})
        assert found(stocked, "certificate:deployed") == entries_of(order)
        remove(stocked, stocked.services.get(order.project_id, order.service_id))
        with pytest.raises(errors.NotFound):
            stocked.queries.by_claim("san:a.example.com")
