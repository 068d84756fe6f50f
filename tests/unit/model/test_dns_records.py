# SPDX-License-Identifier: Apache-2.0
"""The DNS records that tenants must create."""

import dataclasses

import pytest

from poppy.model import dns_records
from poppy.model.dns_records import DNSRecord, Purpose, RecordStatus
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.testing.builders import NOW, make_service

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("domain", "parents"),
    [
        ("www.example.com", ["www.example.com", "example.com"]),
        ("a.b.example.co.uk", ["a.b.example.co.uk", "b.example.co.uk", "example.co.uk"]),
        # Neither a platform nor its other customers can prove a customer's name.
        ("www.me.github.io", ["www.me.github.io", "me.github.io"]),
        ("me.github.io", ["me.github.io"]),
    ],
)
def test_a_record_may_be_at_the_domain_or_its_registrable_parents(domain, parents):
    expected = [f"_poppy-challenge.{name}" for name in parents]
    assert dns_records.challenge_names(domain) == expected


def test_names_are_valid_and_few_for_long_domains():
    long = ".".join(["a" * 60] * 3 + ["b" * 53, "example", "com"])
    found = dns_records.challenge_names(long)
    assert all(len(name) <= 253 for name in found)
    assert found[-1] == "_poppy-challenge.example.com"
    deep = "x." * 100 + "example.com"
    found = dns_records.challenge_names(deep)
    assert len(found) == 8
    assert (found[0], found[-1]) == (f"_poppy-challenge.{deep}", "_poppy-challenge.example.com")


def test_a_value_depends_on_project_and_key():
    values = {
        dns_records.ownership_value(key, project)
        for key in (KEY, b"other")
        for project in ("project-1", "project-2")
    }
    assert len(values) == 4
    value = dns_records.ownership_value(KEY, "project-1")
    assert value == dns_records.ownership_value(KEY, "project-1")
    assert value.startswith("poppy-project=")
    assert "project-1" not in value


def test_a_record_round_trips():
    record = dns_records.ownership_record("www.example.com", KEY, "p")
    assert DNSRecord.from_dict(record.to_dict()) == record
    checked = record.checked(RecordStatus.WRONG, NOW)
    assert DNSRecord.from_dict(checked.to_dict()) == checked
    detail = ProviderDetail(ProviderStatus.DEPLOYED, dns_records=(record, checked))
    assert ProviderDetail.from_dict(detail.to_dict()) == detail
    assert "dns_records" not in ProviderDetail(ProviderStatus.DEPLOYED).to_dict()


def test_a_service_lists_each_record_of_its_domains_once():
    mine = dns_records.ownership_record("www.example.com", KEY, "p").checked(RecordStatus.OK, NOW)
    dropped = dns_records.ownership_record("old.example.com", KEY, "p")
    traffic = DNSRecord("www.example.com", Purpose.TRAFFIC, "CNAME", "www.example.com", "x", "a")
    service = make_service(domains=["www.example.com"])
    detail = ProviderDetail(ProviderStatus.DEPLOYED, dns_records=(mine, dropped))
    both = {"a": dataclasses.replace(detail, dns_records=(traffic, mine)), "b": detail}
    assert service.with_details(both).dns_records == (mine, traffic)


def test_records_of_other_purposes_are_kept():
    traffic = DNSRecord("www.example.com", Purpose.TRAFFIC, "CNAME", "www.example.com", "x")
    mine = dns_records.ownership_record("www.example.com", KEY, "p")
    detail = ProviderDetail(ProviderStatus.DEPLOYED, dns_records=(mine, traffic))
    assert detail.with_records([], purposes={Purpose.OWNERSHIP}).dns_records == (traffic,)


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        ("www.example.com", "CNAME"),
        ("example.com", "ALIAS"),
        ("example.co.uk", "ALIAS"),
        ("www.example.co.uk", "CNAME"),
    ],
)
def test_traffic_record_is_an_alias_where_dns_allows_no_cname(domain, kind):
    record = dns_records.traffic_record(domain, f"{domain}.cdn.example.net")
    assert (record.type, record.name) == (kind, domain)
    assert record.value == f"{domain}.cdn.example.net"


def test_replaced_records_keep_the_result_of_their_last_lookup():
    mine = dns_records.ownership_record("www.example.com", KEY, "p")
    checked = mine.checked(RecordStatus.WRONG, NOW)
    later = mine.checked(RecordStatus.OK, NOW)
    other = dns_records.ownership_record("img.example.com", KEY, "p")
    detail = ProviderDetail(ProviderStatus.DEPLOYED, dns_records=(checked,))
    own = {Purpose.OWNERSHIP}
    assert detail.with_records([mine, other], purposes=own).dns_records == (checked, other)
    assert detail.with_records([later], purposes=own).dns_records == (later,)


def test_records_of_a_provider_are_replaced_apart_from_our_own():
    mine = dns_records.ownership_record("www.example.com", KEY, "p")
    theirs = dataclasses.replace(mine, provider="akamai")
    detail = ProviderDetail(ProviderStatus.DEPLOYED, dns_records=(mine, theirs))
    kept = detail.with_records([], purposes=set(Purpose), provider="akamai")
    assert kept.dns_records == (mine,)
    assert detail.with_records([], purposes=set(Purpose)).dns_records == (theirs,)
