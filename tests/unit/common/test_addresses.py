# SPDX-License-Identifier: Apache-2.0
"""Addresses that an origin of the operator's own edge may have."""

import ipaddress

import pytest

from poppy.common import addresses

PUBLIC = (
    *("8.8.8.8", "1.1.1.1", "203.0.114.1", "100.63.255.255", "100.128.0.0", "168.63.129.17"),
    *("223.255.255.255", "2001:4860:4860::8888", "2600::", "2a00::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::808:808"),
    "2002:808:808::1",
    "2001:0:808:808::f7f7:f7f7",  # Teredo: server and client 8.8.8.8.
)
NOT_PUBLIC = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("192.0.2.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("100.64.0.0", "100.100.100.200", "100.127.255.255", "192.0.0.1", "192.0.0.192"),
    "168.63.129.16",
    *("::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1"),
    *("2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:10::1"),
    *("::127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8"),  # IPv4-compatible, IPv4-translated.
    *("64:ff9b:1::8.8.8.8", "64:ff9b:1:ffff::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16"),
    *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::192.0.0.192", "64:ff9b::6440:1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:6440:1::", "2002:e000:1::"),
    *("2001:0:7f00:1::f7f7:f7f7", "2001:0:808:808::80ff:fffe"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_accepted(address: str) -> None:
    addresses.check(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_non_public_addresses_are_refused(address: str) -> None:
    parsed = ipaddress.ip_address(address)
    with pytest.raises(addresses.Refused, match=str(parsed)):
        addresses.check(parsed)


@pytest.mark.parametrize(
    ("address", "allowed", "refused", "accepted"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], [], True),
        ("10.1.2.3", ["10.1.2.3"], [], True),
        ("11.1.2.3", [], ["11.0.0.0/8"], False),
        ("10.1.2.3", ["10.0.0.0/8"], ["10.1.0.0/16"], False),
        ("10.1.2.3", ["192.168.0.0/16", "fd00::/8"], [], False),
        ("fd00::1", ["fd00::/8"], [], True),
        ("::ffff:127.0.0.1", ["127.0.0.0/8"], [], True),
        ("64:ff9b::127.0.0.1", ["127.0.0.0/8"], [], True),
        ("64:ff9b::10.0.0.1", ["64:ff9b::/96"], [], True),
        ("64:ff9b::8.8.8.8", [], ["8.8.8.0/24"], False),
        ("2002:808:808::1", [], ["8.8.8.0/24"], False),
        ("2001:0:808:808::80ff:fffe", ["127.0.0.0/8"], [], True),
        ("127.0.0.1", ["0.0.0.0/0", "::/0"], [], True),
        ("::1", ["0.0.0.0/0", "::/0"], [], True),
    ],
)
def test_the_operators_networks_override_the_defaults(
    address: str, allowed: list[str], refused: list[str], accepted: bool
) -> None:
    def check() -> None:
        addresses.check(
            ipaddress.ip_address(address), addresses.networks(allowed), addresses.networks(refused)
        )

    if accepted:
        check()
    else:
        with pytest.raises(addresses.Refused, match=address.split("::")[0].split(".")[0]):
            check()


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.0/33", "127.1", "1.2.3.4.5"])
def test_an_invalid_network_is_named_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        addresses.networks([text])


def test_names_are_not_addresses() -> None:
    assert addresses.parse("origin.example.com") is addresses.parse("127.1") is None
    assert addresses.parse("fe80::1%eth0") == ipaddress.ip_address("fe80::1")
