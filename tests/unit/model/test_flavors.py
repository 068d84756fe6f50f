# SPDX-License-Identifier: Apache-2.0
"""Flavors, as they go to storage and come back."""

import json

from poppy.model.flavors import Flavor, FlavorProvider

FLAVOR = Flavor(
    "standard",
    (
        FlavorProvider("varnish", ("http://a.example", "http://docs.a.example")),
        FlavorProvider("mock", ("http://b.example",)),
    ),
)


def test_a_flavor_comes_back_from_json_as_it_was() -> None:
    assert Flavor.from_dict(json.loads(json.dumps(FLAVOR.to_dict()))) == FLAVOR


def test_a_flavor_knows_its_providers_in_order() -> None:
    assert FLAVOR.provider_names == ("varnish", "mock")
