# SPDX-License-Identifier: Apache-2.0
"""A label under the shared certificate gets the first shard where it is free."""

import dataclasses

import pytest

from poppy.common import config, driver, errors
from poppy.manager import change_pipeline
from poppy.model.specs import Domain
from poppy.testing.builders import make_spec


@pytest.fixture
def dns():
    conf = config.load([], files=[])
    made = driver.load("dns", "mock", conf)
    conf.set_override("shared_ssl_num_shards", 2, group="drivers:dns:mock")
    conf.set_override("shared_ssl_shard_prefix", "s", group="drivers:dns:mock")
    conf.set_override("shared_ssl_domain_suffix", "tls.example.net", group="drivers:dns:mock")
    return made


class Store:
    """Store documents unless one of their domains is taken."""

    def __init__(self, *taken):
        self.taken = set(taken)
        self.stored = None

    def __call__(self, spec):
        for domain in spec.domains:
            if domain.domain in self.taken:
                raise errors.DomainTaken(domain.domain)
        self.stored = [domain.domain for domain in spec.domains]


def spec_of(*domains):
    return dataclasses.replace(make_spec(), domains=domains)


def label(name):
    return Domain(name, "https", "shared")


def test_a_label_gets_the_first_free_shard(dns):
    store = Store("shop.s0.tls.example.net")
    change_pipeline.store_placed(spec_of(label("shop"), label("blog")), (), dns, store)
    assert store.stored == ["shop.s1.tls.example.net", "blog.s0.tls.example.net"]


def test_a_label_taken_under_all_shards_is_refused(dns):
    store = Store("shop.s0.tls.example.net", "shop.s1.tls.example.net")
    with pytest.raises(errors.InvalidRequest, match="'shop'"):
        change_pipeline.store_placed(spec_of(label("shop")), (), dns, store)
    assert store.stored is None


def test_a_taken_domain_that_is_not_shared_is_reported(dns):
    store = Store("www.example.com")
    with pytest.raises(errors.DomainTaken, match="Domain www.example.com has already been taken"):
        change_pipeline.store_placed(
            spec_of(label("shop"), Domain("www.example.com")), (), dns, store
        )


def test_a_placed_name_is_kept(dns):
    store = Store()
    placed = "shop.s1.tls.example.net"
    change_pipeline.store_placed(spec_of(label(placed)), {placed}, dns, store)
    assert store.stored == [placed]


def test_a_repeated_label_of_a_service_gets_another_shard(dns):
    store = Store()
    placed = "shop.s0.tls.example.net"
    change_pipeline.store_placed(spec_of(label(placed), label("shop")), {placed}, dns, store)
    assert store.stored == [placed, "shop.s1.tls.example.net"]


def test_without_shards_every_label_is_refused(dns):
    dns.conf.set_override("shared_ssl_num_shards", 0, group="drivers:dns:mock")
    with pytest.raises(errors.InvalidRequest, match="'shop'"):
        change_pipeline.store_placed(spec_of(label("shop")), (), dns, Store())
