# SPDX-License-Identifier: Apache-2.0
"""The providers that names point to."""

from dataclasses import replace

import pytest

from poppy.distributed_task import steering
from poppy.dns.steering import Steering, Target
from poppy.model.flavors import Flavor, FlavorProvider, Geography
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.testing.builders import make_service, make_spec

DOMAIN, NAME = "www.a.example.com", "www.a.example.com.cdn.example.net"
ALL = frozenset(Steering)
EUROPE = Geography(("CH",), ("EU",))


def service(*avoided):
    def detail(name):
        urls = (AccessURL(DOMAIN, f"{name}.test"),)
        return ProviderDetail(ProviderStatus.DEPLOYED, access_urls=urls, avoided=name in avoided)

    details = {name: detail(name) for name in ("a", "b", "c")}
    return make_service(spec=make_spec([DOMAIN]), provider_details=details)


def flavor(**given):
    entries = [FlavorProvider(name, (), *given.get(name, ())) for name in ("a", "b", "c")]
    return Flavor("standard", tuple(entries))


def led_to(it, choice, able=ALL):
    return steering.policies(it, choice, {DOMAIN: NAME}, able)[NAME]


@pytest.mark.parametrize(
    ("avoided", "expected"),
    [((), "a"), (("a",), "b"), (("a", "b"), "c"), (("b",), "a"), (("a", "b", "c"), "a")],
)
def test_a_name_points_to_the_first_provider_that_is_not_avoided(avoided, expected):
    assert [it.name for it in led_to(service(*avoided), flavor())] == [f"{expected}.test"]


def test_weights_apply_to_all_providers_that_are_not_avoided():
    choice = flavor(a=(5,), b=(3,), c=(0,))
    assert led_to(service("b"), choice) == [Target("a.test", 5), Target("c.test", 0)]
    assert led_to(service("b", "c"), choice) == [Target("a.test", 5)]


def test_geography_keeps_the_order_of_providers_without_weights():
    choice = flavor(b=(None, EUROPE))
    assert led_to(service(), choice) == [
        Target("a.test", 0),
        Target("b.test", 0, ("CH",), ("EU",)),
        Target("c.test", 0),
    ]
    assert led_to(service("b"), choice) == [Target("a.test", 0)]


@pytest.mark.parametrize("able", [frozenset(), {Steering.GEOGRAPHY}])
def test_features_that_the_dns_server_lacks_are_left_out(able):
    assert led_to(service(), flavor(a=(5,), b=(3,), c=(1,)), able) == [Target("a.test", 0)]


def test_a_name_moved_by_an_operator_stays():
    moved = AccessURL(DOMAIN, "by-hand.test", "by-hand.example.net", moved=True)
    it = service()
    details = {name: replace(d, access_urls=(moved,)) for name, d in it.provider_details.items()}
    found = steering.policies(
        it.with_details(details), flavor(a=(1,), b=(1,)), {DOMAIN: NAME}, ALL
    )
    assert found == {"by-hand.example.net": [Target("by-hand.test")]}


def test_dropped_domains_have_no_targets():
    for moved in (False, True):
        entry = AccessURL(DOMAIN, "a.test", NAME, moved)
        it = service()
        detail = replace(it.provider_details["a"], access_urls=(entry,))
        dropped = it.with_details({**it.provider_details, "a": detail})
        assert steering.policies(dropped, flavor(), {}, ALL) == {}
