# SPDX-License-Identifier: Apache-2.0
"""poppy-manage domains, with a real store and worker."""

import pytest

from poppy.common import errors
from poppy.distributed_task.ownership import Keys
from poppy.model import dns_records
from tests.functional.commands import listed
from tests.functional.harness import PROJECT


def gone(poppy, *domains):
    service_id = poppy.create(domains=[{"domain": name} for name in domains])
    with poppy.working():
        poppy.settle(service_id)
        poppy.services.delete(PROJECT, service_id, None)
        assert poppy.settle(service_id) is None


def claim(poppy, domain, project):
    return poppy.services.create(project, poppy.document(domain), None)


def test_operator_releases_a_domain_early(poppy, run):
    gone(poppy, "a.example.com", "b.example.com", "c.example.com")
    claim(poppy, "d.example.com", PROJECT)
    found = listed(run, "domains", "list")
    assert [it["domain"] for it in found] == ["a.example.com", "b.example.com", "c.example.com"]
    assert {it["project_id"] for it in found} == {PROJECT}
    assert found[0]["released_at"] < found[0]["free_at"]
    table = run("domains", "list", "--limit", "2")
    assert "b.example.com" in table
    assert "c.example.com" not in table
    assert "continue with --marker b.example.com" in poppy.said[1]
    (last,) = listed(run, "domains", "list", "--marker", "b.example.com")
    assert last == found[2]
    with pytest.raises(errors.DomainReleased):
        claim(poppy, "a.example.com", "another")
    assert run("domains", "release", "A.example.com") == "Domain a.example.com is free.\n"
    claim(poppy, "a.example.com", "another")
    with pytest.raises(errors.DomainReleased):
        claim(poppy, "b.example.com", "another")


def test_domain_in_use_is_not_released(poppy, run):
    service_id = poppy.create(domain="a.example.com")
    for option in ("off", "txt"):
        poppy.conf.set_override("domain_ownership", option)
        with pytest.raises(errors.InvalidRequest, match=f"in use by service {service_id}"):
            run("domains", "release", "a.example.com")
    with pytest.raises(errors.NotFound):
        run("domains", "release", "unknown.example.com")


def test_unproven_claim_is_revoked(poppy, run):
    poppy.conf.set_override("domain_ownership", "txt")
    claim(poppy, "a.example.com", "squatter")
    assert run("domains", "release", "a.example.com") == "Domain a.example.com is free.\n"
    claim(poppy, "a.example.com", PROJECT)


def test_previous_key_stays_valid_until_the_next_rotation(poppy, run):
    keys = Keys(poppy.storage)
    (first,) = keys.read()
    assert keys.read() == [first]
    run("domains", "rotate-key")
    second, kept = keys.read()
    assert kept == first
    assert len({dns_records.ownership_value(key, PROJECT) for key in (first, second)}) == 2
    run("domains", "rotate-key")
    third, kept = keys.read()
    assert kept == second
    assert third not in (first, second)
