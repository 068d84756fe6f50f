# SPDX-License-Identifier: Apache-2.0
"""Lookups of tenants' records: what counts as right, and when to look again."""

import datetime
import threading
from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.distributed_task import record_watch
from poppy.distributed_task.record_check import LONGEST, RecordCheck
from poppy.distributed_task.record_watch import RecordWatch
from poppy.model.dns_records import DNSRecord, Purpose, RecordStatus, RecordType, traffic_record
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.testing.builders import make_service

DOMAIN = "www.example.com"
TARGET = "www.example.com.cdn.example.net"
TXT = DNSRecord(DOMAIN, Purpose.CERTIFICATE, RecordType.TXT, f"_a.{DOMAIN}", "Value", "cdn-a")
CNAME = traffic_record(DOMAIN, TARGET)
ALIAS = traffic_record("example.com", TARGET)


class Resolver:
    """Values by name and type; a name that is not known has none."""

    def __init__(self):
        self.known = {}
        self.error = None
        self.asked = 0

    def values(self, name, kind, deadline):
        self.asked += 1
        if self.error:
            raise self.error
        return self.known.get((name, kind), set())

    def addresses(self, name, deadline):
        return self.values(name, "A", deadline)


@pytest.fixture
def resolver():
    return Resolver()


@pytest.fixture
def check(resolver):
    return RecordCheck(resolver, interval=5.0, timeout=1.0)


@pytest.mark.parametrize(
    ("record", "found", "status"),
    [
        (TXT, set(), "missing"),
        (TXT, {"other", "Value"}, "ok"),
        (TXT, {"value"}, "wrong"),
        (CNAME, set(), "missing"),
        (CNAME, {TARGET}, "ok"),
        (CNAME, {"elsewhere.example.net"}, "wrong"),
        (replace(CNAME, value=f"{TARGET.upper()}."), {TARGET}, "ok"),
    ],
)
def test_status_of_a_record(check, resolver, record, found, status):
    resolver.known[record.name, record.type] = found
    (checked,) = check.check([record])
    assert checked.status == status
    assert checked.checked_at is not None


@pytest.mark.parametrize(
    ("own", "status"),
    [
        (set(), "missing"),
        ({"192.0.2.1", "192.0.2.9"}, "ok"),
        ({"192.0.2.8"}, "wrong"),
    ],
)
def test_an_alias_is_right_if_it_has_an_address_of_its_target(check, resolver, own, status):
    resolver.known["example.com", "A"] = own
    resolver.known[TARGET, "A"] = {"192.0.2.1", "192.0.2.2"}
    assert check.check([ALIAS])[0].status == status


def test_record_stays_as_it_was_if_the_lookup_fails(check, resolver):
    known = TXT.checked(RecordStatus.WRONG, datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
    resolver.error = errors.RetryableError("no server answers")
    assert check.check([known]) == (known,)


def test_stopping_worker_looks_up_no_more(check, resolver):
    stopped = threading.Event()
    assert check.check([TXT], stopped)[0].checked_at is not None
    stopped.set()
    assert check.check([TXT, CNAME], stopped) == (TXT, CNAME)
    assert resolver.asked == 1


def test_pause_grows_with_the_age_of_the_request(check):
    now = datetime.datetime.now(datetime.UTC)
    ages = [0, 40, 1000, 86400]
    pauses = [check.pause(now - datetime.timedelta(seconds=age)) for age in ages]
    assert pauses == pytest.approx([5, 5, 100, LONGEST], abs=0.5)


class Services:
    """A store with one service."""

    def __init__(self):
        details = {
            name: ProviderDetail(ProviderStatus.DEPLOYED, dns_records=(TXT, CNAME))
            for name in ("cdn-a", "cdn-b")
        }
        self.service = make_service(domains=[DOMAIN]).with_details(details)
        self.services = self
        self.amended = []
        self.error = None

    def get(self, project_id, service_id):
        if self.service is None:
            raise errors.NotFound(service_id)
        return self.service

    def amend(self, service):
        if self.error:
            raise self.error
        self.amended.append(service)
        self.service = service


class TestWatch:
    @pytest.fixture
    def storage(self):
        return Services()

    @pytest.fixture
    def watch(self, storage, check):
        made = RecordWatch(storage, check)
        made.add(storage.service)
        return made

    def look(self, watch):
        """Look as if the next lookup were due."""
        for watched in watch._watched.values():
            watched.due_at = watched.since
        watch.look(threading.Event())

    def statuses(self, storage):
        return {
            record.purpose: record.status
            for detail in storage.service.provider_details.values()
            for record in detail.dns_records
        }

    def test_records_are_looked_up_until_they_are_right(self, watch, storage, resolver):
        self.look(watch)
        assert storage.amended == []
        resolver.known[DOMAIN, "CNAME"] = {"elsewhere.example.net"}
        self.look(watch)
        assert self.statuses(storage)["traffic"] == "wrong"
        resolver.known[DOMAIN, "CNAME"] = {TARGET}
        self.look(watch)
        assert self.statuses(storage) == {"traffic": "ok", "certificate": "missing"}
        asked = resolver.asked
        self.look(watch)
        assert resolver.asked == asked

    def test_nothing_is_looked_up_before_it_is_due(self, watch, resolver):
        watch.look(threading.Event())
        assert resolver.asked == 0

    @pytest.mark.parametrize("error", [errors.Changed("x"), errors.ServiceBusy("x")])
    def test_a_change_in_between_is_not_overwritten(self, watch, storage, resolver, error):
        resolver.known[DOMAIN, "CNAME"] = {TARGET}
        storage.error = error
        self.look(watch)
        storage.error = None
        self.look(watch)
        assert self.statuses(storage)["traffic"] == "ok"

    def test_deleted_service_is_forgotten(self, watch, storage, resolver):
        storage.service = None
        self.look(watch)
        assert watch._watched == {}

    def test_service_is_forgotten_after_a_day(self, watch):
        for watched in watch._watched.values():
            watched.since -= datetime.timedelta(days=1, seconds=1)
        self.look(watch)
        assert watch._watched == {}

    def test_only_the_latest_services_are_watched(self, watch, monkeypatch):
        monkeypatch.setattr(record_watch, "MOST", 2)
        latest = [make_service() for _ in range(2)]
        for service in latest:
            watch.add(service)
        assert [key[1] for key in watch._watched] == [it.service_id for it in latest]
