# SPDX-License-Identifier: Apache-2.0
"""The configuration of HAProxy towards the origins."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oslo_config import cfg

from poppy.common import addresses
from poppy.edge import options
from poppy.edge.plane import origins

_ALLOWED = ["10.1.0.0/16", "fd00:1::/32", "192.0.2.7"]
_REFUSED = ["10.1.2.0/24", "198.51.100.0/25", "8.8.4.0/24", "2a00:1::/32"]


def _settings() -> options.Settings:
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([], project="poppy-edge")
    for name, value in {
        "nameservers": ["127.0.0.1", "::1"],
        "origin_ca_file": "/ca.pem",
        "connect_timeout": 0.5,
        "first_byte_timeout": 60.0,
        "between_bytes_timeout": 2.5,
        "allowed_origins": _ALLOWED,
        "refused_origins": _REFUSED,
    }.items():
        conf.set_override(name, value, group="edge")
    return options.read(conf)


_SETTINGS = _settings()
#: Networks of which IPv6 addresses are refused although a few of them are globally reachable.
_STRICTER = ipaddress.ip_network("2001::/23")


def _sent(settings: options.Settings) -> dict[str, str]:
    """Return what origins.lua gets, by name."""
    text = origins.section(settings, Path("/run"))
    line = next(line for line in text.splitlines() if "setenv POPPY_ORIGINS" in line)
    return dict(part.split("=", 1) for part in line.split('"')[1].split(";"))


_SENT = {
    name: addresses.networks(filter(None, value.split(",")))
    for name, value in _sent(_SETTINGS).items()
    if name in ("refused", "allowed", "special")
}


def _edges() -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the first and last address of each network, and their neighbours."""
    found = []
    for network in {*_SENT["refused"], *_SENT["allowed"], *_SENT["special"]}:
        kind = type(network.network_address)
        for number in (int(network.network_address), int(network.broadcast_address)):
            found += [
                kind(near)
                for near in (number - 1, number, number + 1)
                if 0 <= near < 2**network.max_prefixlen
            ]
    return found


def _is_fine(address: addresses.Address) -> bool:
    """Return the answer of origins.lua."""

    def within(name: str) -> bool:
        return any(address in network for network in _SENT[name])

    return not within("refused") and (within("allowed") or not within("special"))


def _is_public(address: addresses.Address) -> bool:
    try:
        addresses.check(address, _SETTINGS.allowed_origins, _SETTINGS.refused_origins)
    except addresses.Refused:
        return False
    return True


_V4 = st.integers(0, 2**32 - 1)


@given(
    st.one_of(
        st.ip_addresses(),
        st.sampled_from(_edges()),
        _V4.map(lambda number: ipaddress.IPv6Address((0xFFFF << 32) + number)),
        _V4.map(lambda number: ipaddress.IPv6Address((0x64FF9B << 96) + number)),
        _V4.map(lambda number: ipaddress.IPv6Address((0x2002 << 112) + (number << 80))),
    )
)
@example(ipaddress.ip_address("::ffff:10.1.2.3"))
@example(ipaddress.ip_address("2002:0a01:0203::"))
@example(ipaddress.ip_address("64:ff9b::10.1.0.1"))
@example(ipaddress.ip_address("64:ff9b:1::1"))
def test_networks_follow_the_rule_for_addresses(address: addresses.Address) -> None:
    if address in _STRICTER:
        assert not _is_fine(address)
    else:
        assert _is_fine(address) == _is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00::1", "2002:808:808::1", "64:ff9b::808:808"])
def test_public_addresses_are_fine(address: str) -> None:
    assert _is_fine(ipaddress.ip_address(address))


def test_settings() -> None:
    text = origins.section(_SETTINGS, Path("/run/poppy-edge"))
    assert "bind unix@/run/poppy-edge/origin.sock mode 600 name origin\n" in text
    assert "timeout connect 500ms\n" in text
    # HAProxy has one timeout for both.
    assert "timeout server 60000ms\n" in text
    assert text.count("verify required ca-file /ca.pem ") == 5
    # TLS to an address has no SNI (RFC 6066, section 3).
    assert text.count(" sni var(txn.p_host)") == 4
    assert _sent(_SETTINGS)["servers"] == "127.0.0.1:53,[::1]:53"
