# SPDX-License-Identifier: Apache-2.0
"""The driver keeps Poppy's contract, over a double of the CDN."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from poppy_example.driver import ExampleProvider

from poppy.common import config
from poppy.common.errors import ConfigError, PermanentError, RetryableError, Unauthorized
from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.model.specs import Origin
from poppy.provider.base import Provider
from poppy.testing.builders import make_service
from poppy.testing.provider import ProviderContract

from .double import CDN, TOKEN

GROUP = "drivers:provider:example"


@pytest.fixture
def cdn() -> Iterator[CDN]:
    with CDN() as running:
        yield running


def make_provider(cdn: CDN, token: str | None = TOKEN) -> ExampleProvider:
    conf = config.new()
    conf([])
    conf.register_opts(ExampleProvider.OPTS, group=GROUP)
    conf.set_override("url", cdn.url, group=GROUP)
    conf.set_override("token", token, group=GROUP)
    return ExampleProvider(conf, "example")


# begin contract
class TestExample(ProviderContract):
    @pytest.fixture
    def provider(self, cdn: CDN) -> ExampleProvider:
        self.cdn = cdn
        return make_provider(cdn)

    def stranger(self, provider: Provider) -> Provider:
        return make_provider(self.cdn, token="another")

    def objects(self, provider: Provider, service: Service) -> list[str]:
        sites = self.cdn.sites.values()
        return [site["id"] for site in sites if site["label"] == service.service_id]


# end contract


# begin stopped
@pytest.mark.parametrize("fault", ["lost", "answer lost"])
def test_it_goes_on_from_wherever_it_was_stopped(fault: str) -> None:
    number = 0
    stopped = True
    while stopped:
        number += 1
        with CDN() as cdn:
            provider, service = make_provider(cdn), make_service()
            left = iter([""] * (number - 1) + [fault])
            cdn.fault = lambda left=left: next(left, "lost")
            try:
                provider.ensure(service, None)
            except RetryableError:
                pass
            else:
                stopped = False

            cdn.fault = lambda: ""
            provider.ensure(service, None)

            assert [site["label"] for site in cdn.sites.values()] == [service.service_id]
    assert number > 2


# end stopped


def test_ensure_again_writes_nothing(cdn: CDN) -> None:
    provider, service = make_provider(cdn), make_service()
    provider.ensure(service, None)

    provider.ensure(service, None)

    assert cdn.changes == 1


def test_a_deployment_is_in_progress_until_the_cdn_says_so(cdn: CDN) -> None:
    provider, service = make_provider(cdn), make_service()
    seen = [provider.ensure(service, None).in_progress for _ in range(4)]
    assert seen == [True, True, False, False]


def test_a_second_origin_is_refused_by_name(cdn: CDN) -> None:
    spec = make_service().spec
    origins = (*spec.origins, Origin("second.example.com"))
    with pytest.raises(PermanentError, match=r"leave out second\.example\.com"):
        make_provider(cdn).check(replace(spec, origins=origins))


def test_a_purge_is_of_a_path_or_of_everything(cdn: CDN) -> None:
    provider, service = make_provider(cdn), make_service()
    site = provider.ensure(service, None).provider_service_id
    provider.purge(service, None, Purge("/page", hard=True))
    provider.purge(service, None, Purge(None, hard=True))
    assert cdn.purged == [(site, "/page"), (site, "/*")]


def test_a_wrong_token_is_refused_and_not_shown(cdn: CDN) -> None:
    with pytest.raises(ConfigError, match="token is not set"):
        make_provider(cdn, token=None)
    with pytest.raises(Unauthorized, match="401") as caught:
        make_provider(cdn, token="wrong-token").ensure(make_service(), None)
    assert "wrong-token" not in str(caught.value)
