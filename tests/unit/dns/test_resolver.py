# SPDX-License-Identifier: Apache-2.0
"""Configured resolvers and allowed name servers. Answers are tested in tests/integration."""

import pytest

from poppy.common import config, errors
from poppy.dns.resolver import Resolver, is_public


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_a_resolver_is_an_address_with_or_without_a_port(text, expected):
    (server,) = Resolver([text], True)._resolver.nameservers
    assert (server.address, server.port) == expected


@pytest.mark.parametrize(
    "text", ["resolver.example.net", "192.0.2.1:x", "192.0.2.1:0", "192.0.2.1:70000", "[::1]x"]
)
def test_a_malformed_resolver_is_refused(text):
    conf = config.load([], files=[])
    conf.set_override("nameservers", [text], group="resolver")
    with pytest.raises(errors.ConfigError, match=r"\[resolver\] nameservers"):
        Resolver.of(conf)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(("8.8.8.8", True), ("2001:4860:4860::8888", True), ("127.0.0.1", False)),
        *(("10.0.0.1", False), ("169.254.169.254", False), ("100.64.0.1", False)),
        *(("224.0.0.1", False), ("::1", False), ("fe80::1", False), ("::ffff:10.0.0.1", False)),
        *(("64:ff9b::a00:1", False), ("168.63.129.16", False), ("192.0.0.192", False)),
    ],
)
def test_a_tenants_name_server_must_be_public(address, public):
    assert is_public(address) is public
