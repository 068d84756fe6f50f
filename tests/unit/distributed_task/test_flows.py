# SPDX-License-Identifier: Apache-2.0
"""Flows: the tasks of each kind of operation, in order."""

import pytest
from taskflow.patterns import unordered_flow

from poppy.common import config
from poppy.distributed_task import flows
from poppy.dns.mock import MockDNS
from poppy.model.operations import Kind
from poppy.testing.builders import make_flavor, make_operation, make_service


def steps(flow):
    """Return the names of a flow's tasks, with a set for those that run in parallel."""
    return [
        {task.name for task in part} if isinstance(part, unordered_flow.Flow) else part.name
        for part in flow
    ]


class Flavors:
    """A store of one flavor."""

    def __init__(self, providers):
        self._flavor = make_flavor(providers=providers)

    def get(self, flavor_id):
        assert flavor_id == self._flavor.flavor_id
        return self._flavor


def built(kind, flavor, deployed, ownership=None):
    service = make_service()
    detail = next(iter(service.provider_details.values()))
    service = service.with_details(dict.fromkeys(deployed, detail))
    flavors = Flavors(flavor) if flavor else None
    shape = flows.shape_of(make_operation(service, kind), service, flavors)
    return flows.build(shape, {}, MockDNS(config.load([], files=[]), "mock"), ownership=ownership)


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
def test_names_are_created_after_all_providers_serve(kind):
    assert steps(built(kind, ["a", "b"], ["a", "b"])) == [
        {"ensure at a", "ensure at b"},
        "ensure names in DNS",
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.CREATE, ["ensure at a", "ensure names in DNS"]),
        (Kind.UPDATE, ["ensure at a", "ensure names in DNS"]),
        (Kind.STEER, ["ensure names in DNS"]),
    ],
)
def test_with_one_provider_the_flavor_is_not_read(kind, expected):
    assert steps(built(kind, None, ["a"])) == expected


def test_a_dropped_provider_is_cleaned_up_after_names_are_moved():
    assert steps(built(Kind.UPDATE, ["b"], ["b", "a"])) == [
        "ensure at b",
        "ensure names in DNS",
        "remove from a",
    ]


def test_a_delete_removes_names_before_deployments():
    assert steps(built(Kind.DELETE, None, ["a", "b"])) == [
        "remove names from DNS",
        {"remove from a", "remove from b"},
    ]


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
def test_ownership_is_checked_before_any_provider_call(kind):
    assert steps(built(kind, ["a", "b"], ["a", "b"], ownership=object())) == [
        "check the ownership of domains",
        {"ensure at a", "ensure at b"},
        "ensure names in DNS",
    ]


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PURGE, Kind.DISABLE, Kind.STEER])
def test_operations_that_deploy_no_domain_need_no_ownership_check(kind):
    assert steps(built(kind, ["a"], ["a"], ownership=object())) == steps(built(kind, ["a"], ["a"]))


def test_steering_changes_names_and_calls_no_provider():
    assert steps(built(Kind.STEER, ["a", "b"], ["a", "b"])) == ["ensure names in DNS"]


def test_a_purge_calls_only_the_providers():
    assert steps(built(Kind.PURGE, None, ["a", "b"])) == [
        {"purge at a", "purge at b"},
    ]


def test_every_kind_of_operation_has_a_flow():
    for kind in Kind:
        assert steps(built(kind, ["a"], ["a"]))
