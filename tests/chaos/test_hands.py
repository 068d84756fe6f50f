# SPDX-License-Identifier: Apache-2.0
"""Someone changes objects and records behind Poppy's back."""

import pytest

pytestmark = pytest.mark.real

SERVICES = 6


def test_all_that_hands_have_changed_is_repaired(site, client):
    site.start_worker()
    services = [client.deployed() for _ in range(SERVICES)]
    before = site.double.objects(), site.double.zone()
    # Each object and each name, in turn deleted and changed.
    for which in range(2 * (len(before[0]) + len(before[1]))):
        site.double.tamper(which)
    assert (site.double.objects(), site.double.zone()) != before

    site.audit()

    assert site.verdict() == []
    kinds = [str(it.kind) for it in client.operations(services[0])]
    assert kinds[0] == "create"
    assert set(kinds[1:]) == {"update"}


def test_audit_goes_on_after_its_worker_is_killed(site, client):
    first = site.start_worker()
    client.deployed()
    site.double.tamper(0)
    site.kill_worker(first)
    site.start_worker()
    site.start_worker()

    site.audit()

    assert site.verdict() == []


def test_deployed_services_are_asked_for_without_a_change(site, client):
    site.start_worker()
    service = client.deployed()
    site.verdict()
    changes = ("create", "replace", "set", "unset", "delete")
    before = [it for it in site.double.journal() if it["operation"] in changes]

    site.audit()

    assert [it for it in site.double.journal() if it["operation"] in changes] == before
    assert len(client.operations(service)) == 1
