# SPDX-License-Identifier: Apache-2.0
"""A hostile tenant's service that takes a real node's compiler very long."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import concurrent.futures
import time
from collections.abc import Iterator

import pytest

from poppy.common.errors import PermanentError
from poppy.model.services import Service
from poppy.model.specs import Origin
from poppy.provider.varnish.driver import VarnishProvider
from poppy.testing.builders import make_service, make_spec
from tests.real.edge import admin, make_provider
from tests.real.varnish import Varnish

pytestmark = pytest.mark.real

SLOW = "slow.example.com"
LIMIT = 3
# A compiler that never finishes for one service. Its C input contains the VCL.
COMPILE = (
    f"if grep -q {SLOW} %s; then while :; do :; done; fi; exec gcc -O0 -fpic -shared -w -o %o %s"
)


@pytest.fixture(scope="module")
def node() -> Iterator[Varnish]:
    with Varnish(cc_command=COMPILE) as running:
        yield running


@pytest.fixture
def provider(node: Varnish) -> VarnishProvider:
    return make_provider([node], compile_limit=LIMIT, timeout=120)


def service(domain: str) -> Service:
    return make_service(spec=make_spec([domain], origins=(Origin("127.0.0.1"),)))


def test_endless_compilation_is_ended_and_the_service_refused(
    provider: VarnishProvider, node: Varnish
) -> None:
    with pytest.raises(PermanentError, match="C-compiler|signal|CPU time"):
        provider.ensure(service(SLOW), None)

    assert provider.ensure(service("www.a.example.com"), None)
    with admin(node) as connection:
        (parameter,) = connection.json("param.show", "cc_command")
    assert parameter["value"] == f"ulimit -S -t {LIMIT}; {COMPILE}"


def test_other_services_wait_no_longer_than_the_limit(provider: VarnishProvider) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(provider.ensure, service(SLOW), None)
        time.sleep(0.5)
        others = [
            pool.submit(provider.ensure, service(f"www.{n}.example.com"), None) for n in range(3)
        ]
        assert all(other.result(timeout=120) for other in others)
        assert isinstance(slow.exception(timeout=120), PermanentError)


def test_limit_of_0_leaves_the_node_unchanged() -> None:
    with Varnish() as other:
        make_provider([other], compile_limit=0).ensure(service("www.a.example.com"), None)
        with admin(other) as connection:
            (parameter,) = connection.json("param.show", "cc_command")
    assert not parameter["value"].startswith("ulimit")
