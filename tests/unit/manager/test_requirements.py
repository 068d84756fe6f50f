# SPDX-License-Identifier: Apache-2.0
"""What a document needs of its providers."""

import dataclasses

import pytest

from poppy.common import errors
from poppy.manager import requirements
from poppy.model.services import Domain, Origin, Restriction, Rule
from poppy.provider.base import Capability
from poppy.testing.builders import make_flavor, make_spec

WITH_NEED = [
    ({"origins": (Origin("o.example.com", 443, True),)}, Capability.ORIGIN_SSL),
    ({"origins": (Origin("2001:db8::1"),)}, Capability.IPV6_ORIGIN),
    ({"log_delivery": True}, Capability.LOG_DELIVERY),
    *(
        ({"domains": (Domain("a.example.com", "https", kind),)}, capability)
        for kind, capability in [
            ("shared", Capability.SHARED_CERTIFICATE),
            ("san", Capability.SAN_CERTIFICATE),
            ("sni", Capability.SNI_CERTIFICATE),
            ("custom", Capability.CUSTOM_CERTIFICATE),
        ]
    ),
    *(
        ({"restrictions": (Restriction("r", "whitelist", (Rule("x", "/*", **rule),)),)}, need)
        for rule, need in [
            ({"referrer": "www.example.com"}, Capability.REFERRER),
            ({"client_ip": "192.0.2.1"}, Capability.CLIENT_IP),
            ({"geography": "US"}, Capability.GEOGRAPHY),
        ]
    ),
]


class Limited:
    """A provider that can do some things."""

    def __init__(self, name, supports):
        self.name = name
        self.supports = frozenset(supports)

    def check(self, spec):
        if spec.name == "refused":
            raise errors.PermanentError("the name is refused")


def test_a_service_is_refused_by_a_provider_that_can_not_do_its_document():
    flavor = make_flavor("f", ["able"])
    providers = {"able": Limited("able", Capability)}
    spec = dataclasses.replace(make_spec(), name="refused")
    with pytest.raises(errors.InvalidRequest, match="'able' .*the name is refused"):
        requirements.check(spec, flavor, providers)


def test_a_plain_service_needs_nothing_special():
    assert list(requirements.needs(make_spec())) == []


@pytest.mark.parametrize(("changes", "need"), WITH_NEED)
def test_a_service_is_refused_by_a_provider_that_lacks_what_it_needs(changes, need):
    spec = dataclasses.replace(make_spec(), **changes)
    flavor = make_flavor("f", ["able", "poor"])
    able = Limited("able", Capability)
    poor = Limited("poor", set(Capability) - {need})
    with pytest.raises(errors.InvalidRequest, match=f"'poor' .*{need}"):
        requirements.check(spec, flavor, {"able": able, "poor": poor})
    requirements.check(spec, flavor, {"able": able, "poor": able})


def test_a_flavor_whose_provider_is_not_loaded_can_not_be_used():
    with pytest.raises(errors.InvalidRequest, match="'gone'"):
        requirements.check(make_spec(), make_flavor("f", ["gone"]), {})
