# SPDX-License-Identifier: Apache-2.0
"""A delete supersedes a create or an update at each boundary of each step."""

import time

import pytest

from tests.chaos.test_kills import hold_everywhere

pytestmark = pytest.mark.real


@pytest.mark.parametrize("kind", ["create", "update"])
def test_delete_at_any_boundary_leaves_nothing(site, client, kind):
    site.start_worker()
    services = hold_everywhere(site, client, kind)
    for service in services:
        client.delete(service)
    site.start_worker()
    # Long enough for a delete that wrongly does not wait for the running call.
    time.sleep(1.5)
    site.double.behave()

    assert site.verdict() == []

    assert {client.tenant.status(service[1]) for service in services} == {"gone"}


@pytest.mark.parametrize("kind", ["create", "update"])
def test_delete_at_any_boundary_with_a_killed_worker_leaves_nothing(site, client, kind):
    worker = site.start_worker()
    services = hold_everywhere(site, client, kind)
    site.start_worker()
    # This proves that the second worker runs, since only it has free slots.
    client.deployed()
    for service in services:
        client.delete(service)
    time.sleep(1.0)
    site.kill_worker(worker)
    # The provider now carries out the earlier calls.
    site.double.behave()

    assert site.verdict() == []

    assert {client.tenant.status(service[1]) for service in services} == {"gone"}


def test_repeated_delete_at_a_slow_provider_is_one_operation(site, client):
    site.start_worker()
    service = client.deployed()
    site.double.order("slow", "delete", value=5)
    client.delete(service)
    client.delete(service)
    assert site.verdict() == []
    kinds = [str(operation.kind) for operation in client.operations(service)]
    assert kinds == ["create", "delete"]
