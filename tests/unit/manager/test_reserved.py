# SPDX-License-Identifier: Apache-2.0
"""Tenants can't use the operator's own names, in any notation."""

import dataclasses

import pytest

from poppy.common import config, driver, errors
from poppy.manager.requirements import ReservedNames
from poppy.model.specs import Domain, Origin
from poppy.testing.builders import make_spec


@pytest.fixture
def conf():
    return config.load([], files=[])


@pytest.fixture
def dns(conf):
    made = driver.load("dns", "mock", conf)
    conf.set_override("suffix", "cdn.Example.net.", group="drivers:dns:mock")
    conf.set_override("shared_ssl_domain_suffix", "tls.example.net", group="drivers:dns:mock")
    conf.set_override("url_404", "gone.example.net", group="drivers:dns:mock")
    return made


@pytest.fixture
def make(conf, dns):
    """A function that creates ReservedNames with additional configured entries."""
    mock = driver.load("provider", "mock", conf)
    conf.set_override("suffix", "edge.bücher.example", group="drivers:provider:mock")
    return lambda *configured: ReservedNames(configured, {"mock": mock}, dns)


def spec_of(*domains, origin="origin.example.com"):
    spec = make_spec(domains=domains)
    return dataclasses.replace(spec, origins=(Origin(origin),))


@pytest.mark.parametrize(
    "name",
    [
        *("cdn.example.net", "www.other.com.cdn.example.net", "CDN.example.NET"),
        *("cdn.example.net.", "shop.s1.tls.example.net", "gone.example.net"),
        *("edge.xn--bcher-kva.example", "a.b.edge.xn--bcher-kva.example", "edge.bücher.example"),
    ],
)
def test_names_that_drivers_declare_are_refused_as_domains_and_origins(make, name):
    with pytest.raises(errors.InvalidRequest, match=f"^Domain {name} is one of the operator's"):
        make().check(spec_of("www.example.com", name))
    with pytest.raises(errors.InvalidRequest, match=f"^Origin {name} is one of the operator's"):
        make().check(spec_of("www.example.com", origin=name))


@pytest.mark.parametrize(
    "name",
    [
        *("www.example.net", "xcdn.example.net", "cdn.example.net.example.com", "192.0.2.1"),
        *("edge.example", "2001:db8::1"),
    ],
)
def test_similar_names_are_accepted(make, name):
    make().check(spec_of(name))
    make().check(spec_of("www.example.com", origin=name))


@pytest.mark.parametrize(
    ("entry", "reserved", "free"),
    [
        ("login.example.com", ["login.example.com"], ["a.login.example.com"]),
        (".example.com", ["www.example.com", "a.b.example.com"], ["www.example.com.example"]),
        ("*.example.com", ["www.example.com", "a.b.example.com"], ["wwwexample.com"]),
        ("*.Bank.example.", ["www.bank.example"], ["bank.example"]),
        ("login.*", ["login.example.org"], ["www.login.org"]),
        ("bücher.example", ["xn--bcher-kva.example"], ["bucher.example"]),
        (".xn--bcher-kva.example", ["www.xn--bcher-kva.example"], ["www.bcher.example"]),
        ("admin", ["admin"], ["admins", "admin.example.com"]),
    ],
)
def test_the_option_reserves_domains(make, entry, reserved, free):
    names = make("unrelated.example", entry)
    for name in reserved:
        with pytest.raises(errors.InvalidRequest, match=f"^Domain {name} is reserved"):
            names.check(spec_of(name))
    for name in free:
        names.check(spec_of(name))


def test_a_name_reserved_by_the_option_is_accepted_as_an_origin(make):
    make(".example.com").check(spec_of("www.example.org", origin="www.example.com"))


@pytest.mark.parametrize("entry", ["", ".", "a..b", "a b", "-", "http://example.com", "ex/ample"])
def test_an_invalid_entry_is_refused_at_start(make, entry):
    with pytest.raises(errors.ConfigError, match="reserved_domains"):
        make(entry)


def test_existing_names_of_a_service_are_not_checked(make):
    spec = spec_of("www.cdn.example.net", origin="cdn.example.net")
    make().check(spec, spec.domain_names, {"cdn.example.net"})
    with pytest.raises(errors.InvalidRequest, match="Domain new.cdn.example.net"):
        make().check(
            spec_of("www.cdn.example.net", "new.cdn.example.net"), {"www.cdn.example.net"}
        )


def test_a_label_under_a_shared_certificate_is_checked(make):
    spec = dataclasses.replace(make_spec(), domains=(Domain("admin", "https", "shared"),))
    make("root").check(spec)
    with pytest.raises(errors.InvalidRequest, match="Domain admin is reserved"):
        make("admin").check(spec)
