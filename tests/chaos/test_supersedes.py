# SPDX-License-Identifier: Apache-2.0
"""A delete comes while a create or an update is at any boundary of any step."""

import time

import pytest

from tests.chaos.test_kills import hold_everywhere

pytestmark = pytest.mark.real


@pytest.mark.parametrize("kind", ["create", "update"])
def test_deleted_at_any_boundary_nothing_is_left(site, client, kind):
    site.start_worker()
    services = hold_everywhere(site, client, kind)
    for service in services:
        client.delete(service)
    site.start_worker()
    # Long enough for a delete that does not wait for the call that is under way.
    time.sleep(1.5)
    site.double.behave()

    assert site.verdict() == []

    assert {client.tenant.status(service[1]) for service in services} == {"gone"}


@pytest.mark.parametrize("kind", ["create", "update"])
def test_deleted_at_any_boundary_and_the_worker_killed_nothing_is_left(site, client, kind):
    worker = site.start_worker()
    services = hold_everywhere(site, client, kind)
    site.start_worker()
    # The second one is at work: it alone has room.
    client.deployed()
    for service in services:
        client.delete(service)
    time.sleep(1.0)
    site.kill_worker(worker)
    # What the provider had been asked before is carried out now.
    site.double.behave()

    assert site.verdict() == []

    assert {client.tenant.status(service[1]) for service in services} == {"gone"}


def test_deleted_and_deleted_again_while_the_provider_takes_its_time(site, client):
    site.start_worker()
    service = client.deployed()
    site.double.order("slow", "delete", value=5)
    client.delete(service)
    client.delete(service)
    assert site.verdict() == []
    kinds = [str(operation.kind) for operation in client.operations(service)]
    assert kinds == ["create", "delete"]
