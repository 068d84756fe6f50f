# SPDX-License-Identifier: Apache-2.0

import base64
import json
import os

import pytest

from poppy.common.errors import PermanentError
from poppy.common.vault import Vault
from poppy.provider.edge.acme import Issuer
from poppy.provider.edge.acme_options import Authority, Limits
from poppy.provider.edge.acme_orders import Challenge, Order
from tests.certificates import LocalPublisher, MemoryRecords


@pytest.fixture
def issuer():
    vault = Vault([base64.b64encode(os.urandom(32)).decode()], "drivers:provider:edge")
    authority = Authority("https://ca.example/dir")
    return Issuer([authority], vault, MemoryRecords(), LocalPublisher(), Limits())


def test_an_order_survives_as_json():
    order = Order(
        id="1",
        names=("a.example", "*.a.example"),
        authority="https://ca.example/dir",
        key="sealed",
        challenges=(Challenge("http-01", "a.example", "token", "value", "https://ca.example/1"),),
        avoid={"https://ca.example/dir": "2026-01-01T00:00:00+00:00"},
    )
    assert Order.from_dict(json.loads(json.dumps(order.to_dict()))) == order


def test_a_new_order_is_stored_with_its_sealed_key(issuer):
    order = issuer.new(["a.example", "b.example", "a.example"])
    assert order.names == ("a.example", "b.example")
    assert issuer._records.order(order.id) == order
    assert issuer.private_key(order).startswith(b"-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in json.dumps(order.to_dict())


def test_a_hundred_names_are_allowed(issuer):
    assert len(issuer.new(f"{it}.example.com" for it in range(100)).names) == 100


@pytest.mark.parametrize("count", [0, 101])
def test_the_number_of_names_is_limited(issuer, count):
    with pytest.raises(PermanentError, match=f"1 to 100 names, not {count}"):
        issuer.new(f"{it}.example.com" for it in range(count))
    assert issuer._records.orders == {}


@pytest.mark.parametrize(
    "name",
    [
        *("", "example", "192.0.2.1", "[2001:db8::1]", "a..example", "*.*.example", "a.*.example"),
        *("-a.example", "a-.example", "A.example", "bücher.example", "a.example.", "a b.example"),
        *("a_b.example", f"{'a' * 64}.example", f"{'a.' * 130}example", "a.example\n"),
    ],
)
def test_invalid_names_are_refused(issuer, name):
    with pytest.raises(PermanentError, match="can't be in a certificate"):
        issuer.new(["good.example", name])
