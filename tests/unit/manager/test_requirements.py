# SPDX-License-Identifier: Apache-2.0
"""Checks of a document against its providers and the DNS driver."""

import dataclasses

import pytest

from poppy.common import errors
from poppy.dns.mock import MockDNS
from poppy.manager import requirements
from poppy.model.document.caching import CacheKey
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import HSTS, Delivery
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.origins import Auth, HealthCheck, SecretHeader
from poppy.model.document.redirects import Redirect
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.document.waf import WAF
from poppy.model.flavors import Geography
from poppy.model.secrets import Secret
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
)
from poppy.provider.base import Capability
from poppy.testing.builders import make_flavor, make_spec
from tests.unit.dns.making import make_driver

DNS = make_driver(MockDNS, suffix="cdn.example.net")

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
    *(
        ({"delivery": Delivery(**{name: value})}, capability)
        for name, value, capability in [
            ("https_redirect", True, Capability.HTTPS_REDIRECT),
            ("hsts", HSTS(60), Capability.HSTS),
            ("min_tls", "1.2", Capability.MIN_TLS),
            ("http3", True, Capability.HTTP3),
            ("compression", "gzip", Capability.GZIP),
            ("compression", "brotli", Capability.BROTLI),
            ("websockets", False, Capability.WEBSOCKETS),
        ]
    ),
    ({"redirects": (Redirect("r", "/a", "/b"),)}, Capability.REDIRECTS),
    ({"headers": (HeaderRules("h", request=RequestChanges()),)}, Capability.REQUEST_HEADERS),
    ({"headers": (HeaderRules("h", response=ResponseChanges()),)}, Capability.RESPONSE_HEADERS),
    ({"cors": CORS(("*",))}, Capability.CORS),
    ({"error_pages": (ErrorPage("e", (404,), "/e"),)}, Capability.ERROR_PAGES),
    ({"signed_urls": SignedURLs((SigningKey("k", Secret("0")),))}, Capability.SIGNED_URLS),
    ({"waf": WAF("policy-1")}, Capability.WAF),
    *(
        ({"caching": (Caching("c", 1, key=CacheKey(**{name: value})),)}, capability)
        for name, value, capability in [
            ("query", "none", Capability.CACHE_KEY_QUERY),
            ("headers", ("X-A",), Capability.CACHE_KEY_HEADERS),
            ("cookies", ("a",), Capability.CACHE_KEY_COOKIES),
        ]
    ),
    *(
        ({"origins": (Origin("o.example.com", **{name: value}),)}, capability)
        for name, value, capability in [
            ("path", "/a", Capability.ORIGIN_PATH),
            ("connect_timeout", 1, Capability.ORIGIN_TIMEOUTS),
            ("response_timeout", 1, Capability.ORIGIN_TIMEOUTS),
            ("verify_name", "a.example.com", Capability.ORIGIN_VERIFY_NAME),
            ("health_check", HealthCheck("/"), Capability.ORIGIN_HEALTH_CHECK),
            ("backup_of", "main", Capability.ORIGIN_BACKUP),
            ("shield", True, Capability.ORIGIN_SHIELD),
            ("shield", "amsterdam-nl", Capability.ORIGIN_SHIELD),
            ("secret_header", SecretHeader("X-A", Secret("0")), Capability.ORIGIN_SECRET_HEADER),
            ("auth", Auth("s3", "r", "b", "k", Secret("0")), Capability.ORIGIN_S3),
        ]
    ),
]


class Limited:
    """A provider with the given capabilities."""

    def __init__(self, name, supports):
        self.name = name
        self.supports = frozenset(supports)

    def check(self, spec):
        if spec.name == "refused":
            raise errors.PermanentError("the name is refused")


def test_a_providers_own_check_can_refuse_a_document():
    flavor = make_flavor("f", ["able"])
    providers = {"able": Limited("able", Capability)}
    spec = dataclasses.replace(make_spec(), name="refused")
    with pytest.raises(errors.InvalidRequest, match="'able' .*the name is refused"):
        requirements.check(spec, flavor, providers, DNS)


def test_a_plain_service_needs_no_capability():
    assert list(requirements.needs(make_spec())) == []
    assert list(requirements.needs(dataclasses.replace(make_spec(), tags=("prod",)))) == []


@pytest.mark.parametrize(("changes", "need"), WITH_NEED)
def test_a_missing_capability_is_refused(changes, need):
    spec = dataclasses.replace(make_spec(), **changes)
    flavor = make_flavor("f", ["able", "poor"])
    able = Limited("able", Capability)
    poor = Limited("poor", set(Capability) - {need})
    with pytest.raises(errors.InvalidRequest, match=f"'poor' .*{need}"):
        requirements.check(spec, flavor, {"able": able, "poor": poor}, DNS)
    requirements.check(spec, flavor, {"able": able, "poor": able}, DNS)


def test_a_value_that_is_off_needs_no_capability():
    off = Delivery(https_redirect=False, http3=False, compression="off")
    assert list(requirements.needs(dataclasses.replace(make_spec(), delivery=off))) == []


def test_no_shield_and_a_name_need_no_capability():
    origin = Origin("o.example.com", name="main", shield=False)
    assert list(requirements.needs(dataclasses.replace(make_spec(), origins=(origin,)))) == []


def test_the_refusal_names_the_field_by_its_path():
    entries = (HeaderRules("a"), HeaderRules("b", response=ResponseChanges()))
    spec = dataclasses.replace(make_spec(), headers=entries)
    assert list(requirements.needs(spec)) == [(Capability.RESPONSE_HEADERS, "headers[1].response")]


def test_a_flavor_with_an_unloaded_provider_is_refused():
    with pytest.raises(errors.InvalidRequest, match="'gone'"):
        requirements.check(make_spec(), make_flavor("f", ["gone"]), {}, DNS)


ABLE = {"able": Limited("able", Capability)}
LABELS = ".".join(["a" * 60] * 4)


def _check(spec, dns=DNS):
    requirements.check(spec, make_flavor("f", ["able"]), ABLE, dns)


def _refusal(spec, dns=DNS):
    with pytest.raises(errors.InvalidRequest) as caught:
        _check(spec, dns)
    return str(caught.value)


def test_a_too_long_operator_name_is_refused_with_the_longest_domain():
    """A domain of 247 characters and the suffix exceed the maximum length of a name."""
    domain = f"{LABELS}.com"
    assert len(domain) == 247
    message = _refusal(make_spec([domain]))
    assert domain in message
    assert "it has 263 characters; a name has at most 253" in message
    assert "a domain may have 237 characters here" in message
    _check(make_spec([domain[10:]]))
    assert "238" not in _refusal(make_spec([domain[9:]])).partition(":")[0]


def test_the_names_under_all_shards_are_checked():
    dns = make_driver(
        MockDNS,
        shared_ssl_num_shards=2,
        shared_ssl_shard_prefix="s" * 62,
        shared_ssl_domain_suffix="secure.example.net",
    )
    shared = make_spec(domains=())
    shared = dataclasses.replace(shared, domains=(Domain("shop", "https", "shared"),))
    _check(shared, dns)
    dns = make_driver(MockDNS, shared_ssl_num_shards=11, shared_ssl_shard_prefix="s" * 62)
    assert "its label" in _refusal(shared, dns)
    long_suffix = make_driver(
        MockDNS, shared_ssl_num_shards=1, shared_ssl_domain_suffix=f"{LABELS}.net"
    )
    assert "Domain shop can't have the operator name" in _refusal(shared, long_suffix)


def test_a_placed_shared_domain_is_its_own_operator_name():
    dns = make_driver(MockDNS, suffix=f"{LABELS}.net")
    name = "shop.scdn0.secure.example.net"
    spec = dataclasses.replace(make_spec(), domains=(Domain(name, "https", "shared"),))
    _check(spec, dns)


def test_helper_names_for_geographic_steering_are_checked():
    class Helping(MockDNS):
        def names_made(self, name, by_geography):
            return (name, f"helper.{name}") if by_geography else (name,)

    dns = make_driver(Helping, suffix="cdn.example.net")
    spec = make_spec([f"{LABELS}.com"[10:]])
    plain = make_flavor("f", ["able", "able"])
    requirements.check(spec, plain, ABLE, dns)
    first, second = plain.providers
    steered = dataclasses.replace(
        plain, providers=(dataclasses.replace(first, geography=Geography(("DE",))), second)
    )
    with pytest.raises(errors.InvalidRequest, match="a domain may have 230 characters here"):
        requirements.check(spec, steered, ABLE, dns)


@pytest.mark.parametrize("place", ["Atlantis", "EMEA", "XX", "x" * 128, "\ufdfa" * 40])
def test_an_unknown_country_is_refused_by_name(place):
    rule = Rule("r", "/*", geography=place)
    spec = make_spec(restrictions=(Restriction("x", "blacklist", (rule,)),))
    message = _refusal(spec)
    assert message.startswith("Rule 'r' of restriction 'x': there is no country or continent")
    assert repr(place) in message


@pytest.mark.parametrize("place", ["DE", "germany", "EUROPE", "Cote d'Ivoire"])
def test_a_known_place_is_accepted(place):
    rule = Rule("r", "/*", geography=place)
    _check(make_spec(restrictions=(Restriction("x", "blacklist", (rule,)),)))
