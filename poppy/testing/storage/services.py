# SPDX-License-Identifier: Apache-2.0
"""Contract: creating, reading and listing services."""

import datetime
from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.operations import Kind, Purge, Step, StepState
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.secrets import Secret, secrets_of
from poppy.model.services import Service, Status
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
)
from poppy.storage.base import Storage
from poppy.testing.builders import NOW, PROJECT_ID, make_operation, make_service, make_spec
from poppy.testing.storage.case import (
    LIMIT,
    Connect,
    StorageCase,
    add,
    create,
    each,
    failures,
    is_free,
    race,
)

TEXTS = {
    "emoji": "🐦‍⬛ \U0001f9d1\u200d\U0001f680",
    "right to left": "موقع \u202eאתר",
    "combining": "e\u0301 n\u0303 \u1100\u1161",
    "quotes": 'it\'s "so" \\ %s :name ?; -- /* */',
    "controls": "a\nb\tc\x1f\x7f",
    "lone surrogate": "a\ud800b",
}


class ServiceContract(StorageCase):
    """A service is stored completely, visible to its project only, and listed page by page."""

    def test_service_is_read_back_as_created(self, stocked: Storage) -> None:
        service = make_service(
            spec=make_spec(
                name="shop",
                domains=("shop.example.com",),
                origins=(Origin("origin.example.com", 443, True, "custom", "shop", (Rule("r"),)),),
                caching=(Caching("home", 3600, (Rule("home", "/*"),)),),
                restrictions=(Restriction("us", "whitelist", (Rule("r", geography="USA"),)),),
                log_delivery=True,
            ),
            provider_details={
                "mock": ProviderDetail(
                    ProviderStatus.FAILED,
                    "id-1",
                    (AccessURL("shop.example.com", "p.example.net", "o.example.org"),),
                    {"shop.example.com": "deployed"},
                    "no",
                    "more",
                    "PermanentError",
                ),
                "edge": ProviderDetail(ProviderStatus.DEPLOYED, avoided=True),
            },
            disabled=True,
        )
        stocked.services.create(service, make_operation(service), LIMIT)
        assert stocked.services.get(service.project_id, service.service_id) == service
        assert list(stocked.services.list(service.project_id, None, 10)) == [service]

    def test_first_operation_is_stored_with_the_service(self, stocked: Storage) -> None:
        service = make_service()
        operation = make_operation(
            service,
            Kind.PURGE,
            attempt=3,
            failures=2,
            runner="job",
            steps=(Step("provider:mock", StepState.WAITING, "busy"), Step("dns")),
            error="busy",
            purge=Purge("/a*", hard=True),
            request_id="req-1",
            trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        stocked.services.create(service, operation, LIMIT)
        assert stocked.operations.get(operation.key) == operation

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_text_of_any_kind_is_read_back_as_written(self, stocked: Storage, text: str) -> None:
        detail = ProviderDetail(ProviderStatus.FAILED, text, error_message=text)
        service = make_service(
            spec=make_spec(name=text, caching=(Caching(text, 1, (Rule(text, "/" + text),)),)),
            provider_details={"mock": detail},
        )
        operation = make_operation(service, error=text, steps=(Step("dns", message=text),))
        stocked.services.create(service, operation, LIMIT)
        assert stocked.services.get(service.project_id, service.service_id) == service
        assert stocked.operations.get(operation.key) == operation

    def test_project_ids_in_any_script_are_distinct(self, stocked: Storage) -> None:
        names = ("mandant-ü", "mandant-u\u0308", "mandant-u", "MANDANT-U", "משרד-🏢")
        services = {name: add(stocked, project_id=name) for name in names}
        for name, service in services.items():
            assert list(stocked.services.list(name, None, 10)) == [service]

    def test_secrets_are_read_back_as_sealed(self, stocked: Storage) -> None:
        key = SigningKey("k1", Secret("01234567", "sealed"))
        service = make_service(spec=make_spec(signed_urls=SignedURLs((key,))))
        stocked.services.create(service, make_operation(service), LIMIT)
        found = stocked.services.get(service.project_id, service.service_id)
        assert found == service
        assert [it.sealed for it in secrets_of(found.spec)] == ["sealed"]

    def test_large_document_is_read_back_as_created(self, stocked: Storage) -> None:
        spec = make_spec(
            domains=[f"{n}.{'d' * 60}.example.com" for n in range(10)],
            origins=tuple(Origin(f"{n}.origin.example.com") for n in range(10)),
            caching=tuple(
                Caching(f"rule {n}", n, (Rule(f"r{n}", f"/{n}/{'é' * 330}*"),)) for n in range(200)
            ),
        )
        service = make_service(spec=spec)
        assert len(str(spec.to_dict())) > 64 * 1024
        stocked.services.create(service, make_operation(service), LIMIT)
        assert stocked.services.get(service.project_id, service.service_id) == service

    def test_times_keep_microseconds_and_come_back_in_utc(self, stocked: Storage) -> None:
        elsewhere = datetime.timezone(datetime.timedelta(hours=-5))
        created = datetime.datetime(2031, 12, 31, 23, 59, 59, 999999, tzinfo=elsewhere)
        service = make_service(created_at=created, updated_at=NOW)
        operation = make_operation(service, next_attempt_at=created, created_at=NOW)
        stocked.services.create(service, operation, LIMIT)
        stored = stocked.services.get(service.project_id, service.service_id)
        queued = stocked.operations.get(operation.key)
        assert (stored.created_at, stored.updated_at) == (created, NOW)
        assert (queued.next_attempt_at, queued.created_at) == (created, NOW)
        assert queued.next_attempt_at is not None
        times = (stored.created_at, stored.updated_at, queued.next_attempt_at, queued.created_at)
        assert {moment.utcoffset() for moment in times} == {datetime.timedelta(0)}

    def test_unknown_service_is_not_found(self, stocked: Storage) -> None:
        add(stocked)
        with pytest.raises(errors.NotFound):
            stocked.services.get(PROJECT_ID, make_service().service_id)

    def test_service_of_another_project_is_not_found(self, stocked: Storage) -> None:
        service = add(stocked, project_id="mine")
        with pytest.raises(errors.NotFound):
            stocked.services.get("theirs", service.service_id)
        assert list(stocked.services.list("theirs", None, 10)) == []

    def test_services_are_listed_by_id_in_any_order_of_creation(self, stocked: Storage) -> None:
        services = [make_service() for _ in range(5)]
        for service in reversed(services):
            stocked.services.create(service, make_operation(service), LIMIT)
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == services

    def test_pages_cover_a_projects_services_once_each(self, stocked: Storage) -> None:
        mine = [add(stocked, project_id="mine") for _ in range(5)]
        add(stocked, project_id="theirs")
        found: list[Service] = []
        marker = None
        for _ in range(3):
            page = stocked.services.list("mine", marker, 2)
            found.extend(page)
            marker = page[-1].service_id
        assert found == mine
        assert list(stocked.services.list("mine", marker, 2)) == []

    def test_page_starts_after_a_marker_that_does_not_exist(self, stocked: Storage) -> None:
        first = add(stocked)
        marker = make_service().service_id
        second = add(stocked)
        assert list(stocked.services.list(PROJECT_ID, marker, 10)) == [second]
        assert list(stocked.services.list(PROJECT_ID, second.service_id, 10)) == []
        assert list(stocked.services.list(PROJECT_ID, "0", 1)) == [first]

    def test_project_without_services_has_an_empty_page(self, storage: Storage) -> None:
        assert list(storage.services.list("nobody", None, 10)) == []

    def test_service_of_an_unknown_flavor_is_refused_and_leaves_nothing(
        self, stocked: Storage
    ) -> None:
        service = make_service(flavor_id="no-such", domains=["a.example.com"])
        with pytest.raises(errors.InvalidRequest):
            stocked.services.create(service, make_operation(service), 1)
        assert_nothing_left(stocked, service.project_id, service.service_id)
        add(stocked, limit=1, domains=["a.example.com"])

    def test_project_has_no_more_services_than_its_limit(self, stocked: Storage) -> None:
        add(stocked, limit=2)
        add(stocked, limit=2)
        service = make_service(domains=["a.example.com"])
        with pytest.raises(errors.LimitReached) as caught:
            stocked.services.create(service, make_operation(service), 2)
        assert caught.value.limit == 2
        assert_nothing_left(stocked, service.project_id, service.service_id, others=2)
        assert is_free(stocked, "a.example.com")
        add(stocked, limit=2, project_id="another")

    def test_project_with_limit_zero_has_no_services(self, stocked: Storage) -> None:
        with pytest.raises(errors.LimitReached) as caught:
            add(stocked, limit=0)
        assert caught.value.limit == 0
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == []
        add(stocked, limit=1)

    def test_limit_holds_under_concurrent_creates(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        outcomes = race(connect_again, [lambda s: add(s, limit=3)] * 8)
        assert [type(error) for error in failures(outcomes)] == [errors.LimitReached] * 5
        assert len(stocked.services.list(PROJECT_ID, None, 10)) == 3

    def test_status_follows_from_what_is_stored(self, stocked: Storage) -> None:
        service = add(stocked)
        deployed = {"mock": ProviderDetail(ProviderStatus.DEPLOYED)}
        update = replace(service, provider_details=deployed)
        stocked.services.submit(update, make_operation(service, Kind.UPDATE))
        stored = stocked.services.get(service.project_id, service.service_id)
        assert stored.status is Status.DEPLOYED

    def test_claimed_domain_is_refused_to_another_service(self, stocked: Storage) -> None:
        add(stocked, domains=["b.example.com", "c.example.com"])
        service = make_service(
            project_id="another", domains=["a.example.com", "c.example.com", "d.example.com"]
        )
        with pytest.raises(errors.DomainTaken) as caught:
            stocked.services.create(service, make_operation(service), 1)
        assert caught.value.domain == "c.example.com"
        assert_nothing_left(stocked, "another", service.service_id)
        # The refused request uses up neither its other domains nor the limit.
        add(stocked, limit=1, project_id="another", domains=["a.example.com", "d.example.com"])

    def test_domain_is_not_shared_within_a_project_either(self, stocked: Storage) -> None:
        add(stocked, domains=["a.example.com"])
        with pytest.raises(errors.DomainTaken):
            add(stocked, domains=["a.example.com"])

    def test_domains_that_differ_in_a_mark_are_different(self, stocked: Storage) -> None:
        add(stocked, domains=["cafe.example.com"])
        add(stocked, domains=["café.example.com"])

    def test_only_one_of_several_concurrent_claims_succeeds(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        services = [
            make_service(
                project_id=f"project-{n}",
                domains=[f"a{n}.example.com", "contended.example.com", f"x{n}.example.com"],
            )
            for n in range(8)
        ]
        outcomes = race(
            connect_again,
            each(lambda s, service: create(s, service, 1), services),
        )
        winners = [it for it, outcome in zip(services, outcomes, strict=True) if outcome is None]
        assert len(winners) == 1
        for loser, error in zip(services, outcomes, strict=True):
            if loser in winners:
                continue
            assert isinstance(error, errors.DomainTaken)
            assert error.domain == "contended.example.com"
            assert_nothing_left(stocked, loser.project_id, loser.service_id)
            own = [name for name in loser.spec.domain_names if name != error.domain]
            add(stocked, limit=1, project_id=loser.project_id, domains=own)
        stored = stocked.services.get(winners[0].project_id, winners[0].service_id)
        assert stored == winners[0]

    def test_claims_in_opposite_order_do_not_block_each_other(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        names = ["a.example.com", "b.example.com", "c.example.com"]
        services = [
            make_service(
                project_id=f"project-{n}",
                spec=make_spec(domains=names if n % 2 else names[::-1]),
            )
            for n in range(4)
        ]
        outcomes = race(
            connect_again,
            each(lambda s, service: create(s, service, 1), services),
        )
        assert [type(error) for error in failures(outcomes)] == [errors.DomainTaken] * 3

    def test_domain_may_be_plain_or_shared_in_one_service(self, stocked: Storage) -> None:
        domains = (Domain("a.example.com"), Domain("b", "https", "shared"))
        service = make_service(spec=make_spec(domains=()))
        service = replace(service, spec=replace(service.spec, domains=domains))
        stocked.services.create(service, make_operation(service), LIMIT)
        assert stocked.services.get(PROJECT_ID, service.service_id) == service

    def test_scan_sees_every_service_of_every_project_once(self, stocked: Storage) -> None:
        services = [make_service(project_id=f"scan-{n % 7}") for n in range(30)]
        for service in services:
            create(stocked, service)
        seen = list(stocked.services.scan())
        for service in services:
            assert seen.count(service) == 1
        assert len({service.service_id for service in seen}) == len(seen)


def assert_nothing_left(
    storage: Storage, project_id: str, service_id: str, others: int = 0
) -> None:
    """Check that neither the service nor an operation of it is stored."""
    with pytest.raises(errors.NotFound):
        storage.services.get(project_id, service_id)
    assert list(storage.operations.list(project_id, service_id)) == []
    assert len(storage.services.list(project_id, None, LIMIT)) == others
