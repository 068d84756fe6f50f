# SPDX-License-Identifier: Apache-2.0
"""Lookups of TXT records at real name servers."""

import time

import pytest

from poppy.common.errors import RetryableError
from poppy.dns.resolver import Resolver
from tests.real.bind import Bind
from tests.real.nameserver import free_port

pytestmark = pytest.mark.real

ZONE = """$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
two TXT "first" "second"
two TXT "other"
long TXT {long}
alias CNAME two
away CNAME two.example.net.
""".format(long=" ".join([f'"{"x" * 250}"'] * 20))
NAME = "_poppy-challenge.www.example.org"


@pytest.fixture(scope="module")
def server():
    with Bind(**{"example.org": ZONE}) as server:
        yield server


def soon():
    return time.monotonic() + 5


@pytest.fixture(params=[True, False], ids=["authoritative", "resolver"])
def resolver(request, server):
    return Resolver([server.address], request.param, may_ask=lambda _: True, port=server.port)


def test_strings_are_joined_and_all_records_returned(resolver):
    assert resolver.texts("two.example.org", soon()) == {"firstsecond", "other"}


def test_long_answer_comes_over_tcp(resolver):
    assert resolver.texts("long.example.org", soon()) == {"x" * 5000}


def test_alias_is_followed(resolver):
    assert resolver.texts("alias.example.org", soon()) == {"firstsecond", "other"}


def test_target_of_a_cname_is_not_followed(resolver):
    assert resolver.values("alias.example.org", "CNAME", soon()) == {"two.example.org"}
    assert resolver.values("away.example.org", "CNAME", soon()) == {"two.example.net"}
    assert resolver.values("two.example.org", "CNAME", soon()) == set()


def test_addresses_are_those_of_the_last_target(resolver):
    assert resolver.addresses("ns.example.org", soon()) == {"127.0.0.1"}
    assert resolver.addresses("two.example.org", soon()) == set()


@pytest.mark.parametrize("name", ["missing.example.org", "ns.example.org", NAME])
def test_missing_record_is_empty(resolver, name):
    assert resolver.texts(name, soon()) == set()


def test_name_outside_of_all_zones_is_retryable(resolver):
    with pytest.raises(RetryableError, match="www.example.net"):
        resolver.texts("www.example.net", soon())


def test_negative_answer_of_a_cache_is_verified(server):
    with Bind(**{"example.org": ZONE}) as cache:
        # The cache has the earlier state, without the record.
        server.change("example.org", (NAME, "TXT", "made-just-now"))
        believing = Resolver([cache.address], False)
        assert believing.texts(NAME, soon()) == set()
        asking = Resolver([cache.address], True, may_ask=lambda _: True, port=server.port)
        assert asking.texts(NAME, soon()) == {"made-just-now"}
        # Where tenants' name servers may not be asked, or don't answer, the cache decides.
        private = Resolver([cache.address], True, port=server.port)
        assert private.texts(NAME, soon()) == set()
        nobody = Resolver([cache.address], True, may_ask=lambda _: True, port=free_port())
        assert nobody.texts(NAME, soon()) == set()
        server.change("example.org", (NAME, "TXT"))


def test_lookup_ends_at_the_deadline(server):
    resolver = Resolver([server.address], True, may_ask=lambda _: True, port=server.port)
    server.pause()
    try:
        begun = time.monotonic()
        with pytest.raises(RetryableError):
            resolver.texts("two.example.org", begun + 1)
        assert time.monotonic() - begun < 4
    finally:
        server.resume()
    with pytest.raises(RetryableError):
        resolver.texts("two.example.org", time.monotonic() - 1)
