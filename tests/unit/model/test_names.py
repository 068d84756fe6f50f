# SPDX-License-Identifier: Apache-2.0
"""Domain names, addresses, blocks and root domains."""

import pytest

from poppy.model import names


@pytest.mark.parametrize(
    "name",
    [
        "a.com",
        "www.my-website.com",
        "3com.example",
        "a--b.example.com",
        f"{'a' * 63}.com",
        f"www.{'a' * 63}",
        "xn--mller-kva.example",
        "www.xn--fiqs8s",
        "1.2.3.com",
    ],
)
def test_valid_domain_names(name: str) -> None:
    assert names.problem(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("localhost", "no top-level domain"),
        ("WWW.example.com", "lower case"),
        ("www..com", "empty label"),
        (".example.com", "empty label"),
        ("example.com.", "an empty label"),
        ("-a.com", "'-a'"),
        ("a-.com", "'a-'"),
        ("a_b.com", "'a_b'"),
        ("*.example.com", "'*'"),
        ("www.example.com\n", "'com\\n'"),
        ("http://example.com", "'http://example'"),
        ("example.com:8080", "'com:8080'"),
        (f"{'a' * 64}.com", "63 letters"),
        ("www.example.c", "'c' is not 2 to 63 letters"),
        ("1.2.3.4", "'4' is not 2 to 63 letters"),
        ("www.co0", "'co0' is not 2 to 63 letters"),
        (f"{'a.' * 125}comm", "longer than 253"),
        ("xn--a.example", "'xn--a' is not a valid internationalized label"),
        ("xn--zzzzzzzzz.example", "'xn--zzzzzzzzz' is not a valid"),
        ("xn--abc-.example", "'xn--abc-'"),
        ("müller.example", "write it as xn--mller-kva.example"),
        ("MÜLLER.example", "write it as xn--mller-kva.example"),
        ("\u212a.example", "write it as k.example"),
        ("\ud800.example", "it must be ASCII"),
        ("ü" * 2000, "it must be ASCII"),
        ("a\0ü.example", "it must be ASCII"),
    ],
)
def test_invalid_domain_names(name: str, reason: str) -> None:
    assert reason in (names.problem(name) or "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::1", "::1"),
    ],
)
def test_valid_addresses(text: str, expected: str) -> None:
    assert names.address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3",
        "01.2.3.4",
        "1.2.3.256",
        "0x7f.0.0.1",
        "2130706433",
        "[::1]",
        "fe80::1%eth0",
        "::1/128",
        " ::1",
        "1.2.3.٤",
        "example.com",
        "",
    ],
)
def test_invalid_addresses(text: str) -> None:
    assert names.address(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("192.0.2.77/32", "192.0.2.77/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::1/128", "::1/128"),
    ],
)
def test_a_block_is_stored_without_host_bits(text: str, expected: str) -> None:
    assert names.network(text) == expected
    assert names.network(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3",
        "1.2.3/24",
        "01.2.3.4/24",
        "192.0.2.0/33",
        "2001:db8::/129",
        "192.0.2.0/255.255.255.0",
        "192.0.2.0/0.0.0.255",
        "192.0.2.0/",
        "192.0.2.0/-1",
        "192.0.2.0/٨",
        "192.0.2.0/24/24",
        "192.0.2.0/24\n",
        "fe80::%eth0/64",
        "/24",
        f"192.0.2.0/{'1' * 5000}",
        "example.com",
    ],
)
def test_invalid_blocks(text: str) -> None:
    assert names.network(text) is None


@pytest.mark.parametrize(
    "domain",
    [
        "example.com",
        "example.co.uk",
        "co.uk",
        "github.io",
        "example.lab",
        "xn--mller-kva.de",
        "example.xn--fiqs8s",
        "www.ck",
        "foo.ck",
        "city.kawasaki.jp",
    ],
)
def test_root_domains(domain: str) -> None:
    assert names.is_root(domain)


@pytest.mark.parametrize(
    "domain",
    [
        "www.example.com",
        "www.example.co.uk",
        "mysite.github.io",
        "www.example.lab",
        "www.xn--mller-kva.de",
        "a.www.ck",
        "a.b.foo.ck",
    ],
)
def test_other_domains_are_not_roots(domain: str) -> None:
    assert not names.is_root(domain)


def test_only_ascii_names_are_lower_cased() -> None:
    assert names.canonical("WWW.Example.COM") == "www.example.com"
    assert names.canonical("\u212a.example") == "\u212a.example", "the Kelvin sign is no k"
