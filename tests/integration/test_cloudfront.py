# SPDX-License-Identifier: Apache-2.0
"""The provider ``cloudfront`` against a server that speaks Amazon's APIs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from poppy.common import config
from poppy.model.services import Service
from poppy.provider.base import Provider
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.testing.provider import ProviderContract
from tests.real.moto import Moto

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with Moto() as moto:
        yield moto


@pytest.fixture
def moto(server: Moto) -> Moto:
    server.reset()
    return server


def make_provider(moto: Moto, **options: object) -> CloudFrontProvider:
    conf = config.new()
    conf([])
    group = "drivers:provider:cloudfront"
    conf.register_opts(CloudFrontProvider.OPTS, group=group)
    for name, value in {**moto.options, "poll_after": 0, **options}.items():
        conf.set_override(name, value, group=group)
    return CloudFrontProvider(conf, "cloudfront")


@pytest.fixture
def provider(moto: Moto) -> CloudFrontProvider:
    return make_provider(moto)


class Account:
    """What there is of a service in the account."""

    def __init__(self, moto: Moto) -> None:
        self._cloudfront = moto.client("cloudfront")
        self._acm = moto.client("acm")

    def distributions(self, service: Service) -> list[str]:
        found = self._cloudfront.list_distributions()["DistributionList"].get("Items", [])
        return [entry["Id"] for entry in found if service.service_id in entry["Comment"]]


class TestContract(ProviderContract):
    @pytest.fixture
    def provider(self, moto: Moto) -> CloudFrontProvider:
        self.account = Account(moto)
        return make_provider(moto)

    def objects(self, provider: Provider, service: Service) -> list[str]:
        return self.account.distributions(service)
