# SPDX-License-Identifier: Apache-2.0
"""The recipes: which tasks each kind of operation has, and in which order."""

import pytest

from poppy.distributed_task import flows
from poppy.model.operations import Kind
from poppy.testing.builders import make_flavor, make_operation, make_service


def steps(flow):
    """The names of a flow's tasks; a set where they may run side by side."""
    names = []
    for node, _ in flow.iter_nodes():
        names.append(set(steps(node)) if hasattr(node, "iter_nodes") else node.name)
    return names


class Flavors:
    """A store of one flavor, which only those may ask who need it."""

    def __init__(self, providers):
        self._flavor = make_flavor(providers=providers)

    def get(self, flavor_id):
        assert flavor_id == self._flavor.flavor_id
        return self._flavor


def built(kind, flavor, deployed):
    service = make_service()
    detail = next(iter(service.provider_details.values()))
    service = service.with_details(dict.fromkeys(deployed, detail))
    flavors = Flavors(flavor) if flavor else None
    return flows.build(make_operation(service, kind), service, flavors, {}, dns=None)


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
def test_names_are_made_once_all_providers_serve(kind):
    assert steps(built(kind, ["a", "b"], ["a", "b"])) == [
        {"ensure at a", "ensure at b"},
        "ensure names in DNS",
    ]


def test_a_provider_that_the_flavor_no_longer_names_is_cleaned_after_names_are_moved():
    assert steps(built(Kind.UPDATE, ["b"], ["b", "a"])) == [
        "ensure at b",
        "ensure names in DNS",
        "remove from a",
    ]


def test_a_delete_removes_names_first_and_then_from_wherever_it_was_deployed():
    assert steps(built(Kind.DELETE, None, ["a", "b"])) == [
        "remove names from DNS",
        {"remove from a", "remove from b"},
    ]


def test_steering_changes_names_and_asks_no_provider():
    assert steps(built(Kind.STEER, ["a", "b"], ["a", "b"])) == ["ensure names in DNS"]


def test_a_purge_calls_the_providers_and_nothing_else():
    assert steps(built(Kind.PURGE, None, ["a", "b"])) == [
        {"purge at a", "purge at b"},
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_every_flow_needs_just_the_run(kind):
    flow = built(kind, ["a"], ["a"])
    assert flow.requires == {"run"}
    assert not flow.provides
