# SPDX-License-Identifier: Apache-2.0
"""Which certificates of a service are published."""

import json

import pytest
from oslo_config import cfg

from poppy.provider.edge import acme_options
from poppy.provider.edge.acme_orders import Order
from poppy.provider.edge.certificates import Certificates
from poppy.provider.edge.options import OPTS
from tests.certificates import Signed
from tests.unit.edge.test_program import PROGRAM

DOMAIN = PROGRAM.domains[0]


@pytest.fixture
def certificates():
    conf = cfg.ConfigOpts()
    conf.register_opts([*OPTS, *acme_options.OPTS], group="edge")
    conf([])
    conf.set_override("encryption_keys", ["A" * 43 + "="], "edge")
    return Certificates(conf.edge, "edge", None, None)


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_renewal_of_the_same_second_replaces_its_predecessor(certificates, first):
    chain = Signed("site", names=[DOMAIN]).pem
    orders = [
        Order(name, (DOMAIN,), "https://ca.example", "sealed", name == "new", certificate=chain)
        for name in ("old", "new")
    ]
    orders.sort(key=lambda it: it.id != first)
    published = json.loads(certificates.publication(PROGRAM, orders))
    assert [it["order"] for it in published["certificates"]] == ["new"]
