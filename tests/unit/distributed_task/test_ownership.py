# SPDX-License-Identifier: Apache-2.0
"""Ownership records: what a project must create, what counts as found, and later lookups."""

import datetime
from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.distributed_task.ownership import Keys, Ownership
from poppy.model import certificates
from poppy.model.dns_records import Purpose, RecordStatus, ownership_record, ownership_value
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.specs import Domain
from poppy.storage.domains import Claim
from poppy.storage.queries import Document
from poppy.testing.builders import PROJECT_ID, make_service, make_spec
from tests.unit.distributed_task.memory import Documents

DOMAIN = "www.example.com"


class Storage:
    """Domain claims; ``prove`` marks one as proven."""

    def __init__(self):
        self.documents = Documents()
        self.domains = self
        self.claims = {}

    def get(self, domain):
        if domain not in self.claims:
            raise errors.NotFound(domain)
        return self.claims[domain]

    def prove(self, project_id, service_id, domain):
        self.claims[domain] = self.claims[domain]._replace(pending=False)
        return True


class Resolver:
    """TXT records by name; for other names, nothing or an error."""

    def __init__(self):
        self.known = {}
        self.asked = []
        self.error = None

    def texts(self, name, deadline):
        self.asked.append(name)
        if self.error is not None and name not in self.known:
            raise self.error
        return self.known.get(name, set())


@pytest.fixture
def storage():
    return Storage()


@pytest.fixture
def resolver():
    return Resolver()


@pytest.fixture
def ownership(storage, resolver):
    return Ownership(storage, resolver, interval=5.0, timeout=1.0)


def claimed(storage, *domains, **overrides):
    service = make_service(domains=domains, **overrides)
    for name in domains:
        storage.claims[name] = Claim(name, service.project_id, service.service_id, pending=True)
    return service


def value(storage, project=PROJECT_ID):
    return ownership_value(Keys(storage).read()[0], project)


@pytest.mark.parametrize("name", [DOMAIN, "example.com"])
def test_a_record_at_the_domain_or_its_parent_proves_ownership(ownership, storage, resolver, name):
    service = claimed(storage, DOMAIN)
    resolver.known[f"_poppy-challenge.{name}"] = {"unrelated", value(storage)}
    (record,) = ownership.verify(service)
    assert record.status is RecordStatus.OK
    assert record.name == f"_poppy-challenge.{DOMAIN}"
    assert record.checked_at is not None
    assert storage.claims[DOMAIN].pending is False
    ownership.check_complete([record], service.created_at)


@pytest.mark.parametrize(
    ("texts", "status"),
    [(set(), RecordStatus.MISSING), ({"unrelated"}, RecordStatus.WRONG)],
)
def test_a_missing_or_wrong_record_proves_nothing(ownership, storage, resolver, texts, status):
    service = claimed(storage, DOMAIN)
    resolver.known[f"_poppy-challenge.{DOMAIN}"] = texts
    (record,) = ownership.verify(service)
    assert record.status is status
    assert storage.claims[DOMAIN].pending is True
    with pytest.raises(errors.InProgressError) as caught:
        ownership.check_complete([record], datetime.datetime.now(datetime.UTC))
    assert record.name in str(caught.value)
    assert record.value in str(caught.value)


def test_the_value_of_another_project_proves_nothing(ownership, storage, resolver):
    service = claimed(storage, DOMAIN)
    resolver.known[f"_poppy-challenge.{DOMAIN}"] = {value(storage, "another")}
    assert ownership.verify(service)[0].status is RecordStatus.WRONG


def test_a_failed_lookup_counts_as_missing_and_hides_no_other(ownership, storage, resolver):
    service = claimed(storage, DOMAIN)
    resolver.error = errors.RetryableError("no answer")
    assert ownership.verify(service)[0].status is RecordStatus.MISSING
    resolver.known["_poppy-challenge.example.com"] = {value(storage)}
    assert ownership.verify(service)[0].status is RecordStatus.OK


def test_the_previous_key_is_valid_until_the_next_rotation(ownership, storage, resolver):
    service = claimed(storage, DOMAIN)
    resolver.known[f"_poppy-challenge.{DOMAIN}"] = {value(storage)}
    keys = Keys(storage)
    keys.rotate()
    assert ownership.verify(service)[0].status is RecordStatus.OK
    keys.rotate()
    service = claimed(storage, DOMAIN)
    assert ownership.verify(service)[0].status is RecordStatus.WRONG


def test_proven_or_deployed_domains_are_not_looked_up(ownership, storage, resolver):
    service = claimed(storage, DOMAIN, "old.example.com")
    storage.claims[DOMAIN] = storage.claims[DOMAIN]._replace(pending=False)
    url = AccessURL("old.example.com", "p.example.net", "old.example.com.cdn.example.net")
    detail = ProviderDetail(ProviderStatus.DEPLOYED, access_urls=(url,))
    (record,) = ownership.verify(service.with_details({"mock": detail}))
    assert (record.domain, record.status) == (DOMAIN, RecordStatus.OK)
    assert resolver.asked == []


@pytest.mark.parametrize("other", [None, Claim(DOMAIN, "another", "id")])
def test_a_revoked_claim_is_a_permanent_error(ownership, storage, resolver, other):
    service = claimed(storage, DOMAIN)
    storage.claims = {DOMAIN: other} if other else {}
    resolver.known[f"_poppy-challenge.{DOMAIN}"] = {value(storage)}
    with pytest.raises(errors.PermanentError, match=DOMAIN):
        ownership.verify(service)


@pytest.mark.parametrize(
    ("age", "expected"), [(0, 5.0), (40, 5.0), (600, 60.0), (3600, 300.0), (10**7, 300.0)]
)
def test_lookups_become_less_frequent_with_age(ownership, age, expected):
    record = ownership_record(DOMAIN, b"key", PROJECT_ID)
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    with pytest.raises(errors.InProgressError) as caught:
        ownership.check_complete([record], since)
    assert caught.value.poll_after == pytest.approx(expected, abs=0.5)


def test_records_are_listed_for_the_tenants_new_domains(ownership, storage):
    spec = make_spec(["a.example.com", "b.example.com"])
    shared = Domain("shop.s0.example.net", "https", "shared")
    spec = replace(spec, domains=(*spec.domains, shared))
    url = AccessURL("a.example.com", "p.example.net", "a.example.com.cdn.example.net")
    detail = ProviderDetail(ProviderStatus.DEPLOYED, access_urls=(url,))
    service = make_service(spec=spec, provider_details={"x": detail, "y": detail})
    service = service.with_details(ownership.noted(service.provider_details, service))
    for noted in service.provider_details.values():
        assert [record.domain for record in noted.dns_records] == ["b.example.com"]
    (record,) = service.dns_records
    assert (record.value, record.status) == (value(storage), RecordStatus.MISSING)
    # The result of a lookup is kept until the next one.
    found = record.checked(RecordStatus.WRONG, service.created_at)
    kept = {
        name: it.with_records([found], purposes={Purpose.OWNERSHIP})
        for name, it in [("x", detail)]
    }
    service = service.with_details(kept)
    assert ownership.noted(kept, service)["x"].dns_records == (found,)


def test_certificate_orders_have_no_records(ownership):
    order = make_service(project_id=certificates.namespace(PROJECT_ID), domains=[DOMAIN])
    assert ownership.noted(order.provider_details, order) == order.provider_details


def test_concurrent_creation_gives_one_key(storage):
    first, second = Keys(storage), Keys(storage)
    get = storage.documents.get
    late = [Document(None, 0), Document(None, 0)]
    storage.documents.get = lambda name: late.pop() if late else get(name)
    keys = first.read()
    late[:] = [Document(None, 0), Document(None, 0)]
    assert second.read() == keys
