# SPDX-License-Identifier: Apache-2.0
"""Tokens of signed URLs."""

import datetime

import pytest
from poppyclient.signing import sign, token

SECRET = "0123456789abcdef0123456789abcdef"
LATER = 2_000_000_000


def test_a_token_has_the_documented_form():
    # The signature is from "openssl dgst -sha256 -hmac".
    assert token("k1", SECRET, LATER, "/films/7.mp4") == (
        "k1.2000000000..L2ZpbG1zLzcubXA0.XAXHGyXmgszhhcPBsh9dcBV_SoIgf1y038Jy0f5LpG4"
    )


def test_addresses_are_in_their_shortest_form():
    one, other = (
        token("k1", SECRET, LATER, "/*", client_ip=it) for it in ("2001:DB8:0::1", "2001:db8::1")
    )
    assert one == other
    assert one.split(".")[2] == "MjAwMTpkYjg6OjE"


@pytest.mark.parametrize(
    ("url", "options", "signed", "scope"),
    [
        ("https://a.example/x", {}, "https://a.example/x?token={}", "/x"),
        ("https://a.example", {}, "https://a.example/?token={}", "/"),
        ("/x?b=1&token=old", {}, "/x?b=1&token={}", "/x"),
        ("/x/*?b=1#part", {"name": "t"}, "/x/*?b=1&t={}#part", "/x/%2A"),
        ("/x/y", {"prefix": "/x/"}, "/x/y?token={}", "/x/*"),
    ],
)
def test_a_url_gets_a_token_for_its_path_or_a_prefix(url, options, signed, scope):
    made = sign(url, "k1", SECRET, LATER, **options)
    assert made == signed.format(token("k1", SECRET, LATER, scope))


def test_a_time_needs_a_time_zone():
    moment = datetime.datetime.fromtimestamp(LATER, datetime.UTC)
    assert token("k1", SECRET, moment, "/") == token("k1", SECRET, LATER, "/")
    with pytest.raises(ValueError, match="expires: the time has no time zone"):
        token("k1", SECRET, moment.replace(tzinfo=None), "/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.b", SECRET, LATER, "/"), "key_id"),
        (("k1", "", LATER, "/"), "secret"),
        (("k1", SECRET, 0, "/"), "expires"),
        (("k1", SECRET, 10**12, "/"), "expires"),
        (("k1", SECRET, LATER, "x"), "path"),
        (("k1", SECRET, LATER, "/a?b"), "path"),
        (("k1", SECRET, LATER, "/a b"), "path"),
        (("k1", SECRET, LATER, "/é"), "path"),
        (("k1", SECRET, LATER, "/a/*/b"), "path"),
    ],
)
def test_an_invalid_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}: ") as caught:
        token(*arguments)
    assert SECRET not in str(caught.value)


def test_a_url_must_be_below_the_prefix():
    with pytest.raises(ValueError, match=r"^prefix: "):
        sign("/films/7", "k1", SECRET, LATER, prefix="/music/")
