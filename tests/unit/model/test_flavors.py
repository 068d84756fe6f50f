# SPDX-License-Identifier: Apache-2.0
"""Flavors: conversion to documents and back."""

import json

from poppy.model.flavors import Flavor, FlavorProvider, Geography

FLAVOR = Flavor(
    "standard",
    (
        FlavorProvider("edge", ("http://a.example", "http://docs.a.example")),
        FlavorProvider("mock", ("http://b.example",)),
        FlavorProvider("other", ("http://c.example",), 0, Geography(("DE", "AT"), ("NA",))),
        FlavorProvider("more", ("http://d.example",), 7, Geography(continents=("EU",))),
    ),
)


def test_a_flavor_round_trips() -> None:
    assert Flavor.from_dict(json.loads(json.dumps(FLAVOR.to_dict()))) == FLAVOR


def test_unset_fields_are_not_in_the_document() -> None:
    first, _, other, more = FLAVOR.to_dict()["providers"]
    assert set(first) == {"provider", "links"}
    assert other["weight"] == 0
    assert more["geography"] == {"continents": ["EU"]}


def test_a_flavor_lists_its_providers_in_order() -> None:
    assert FLAVOR.provider_names == ("edge", "mock", "other", "more")
