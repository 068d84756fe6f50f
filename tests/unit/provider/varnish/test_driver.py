# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``varnish``, and what it decides before it talks to a node."""

import socket
from pathlib import Path
from typing import Any

import pytest

from poppy.common import config
from poppy.common.errors import ConfigError, PermanentError, RetryableError, Scope
from poppy.model.services import Origin
from poppy.provider.base import Capability
from poppy.provider.varnish import driver
from poppy.provider.varnish.driver import VarnishProvider
from poppy.testing.builders import make_service, make_spec

GROUP = "drivers:provider:varnish"


def make_provider(**options: Any) -> VarnishProvider:
    conf = config.new()
    conf([])
    conf.register_opts(VarnishProvider.OPTS, group=GROUP)
    for name, value in {"nodes": ["192.0.2.1:6082"], "secret": "s", **options}.items():
        conf.set_override(name, value, group=GROUP)
    return VarnishProvider(conf, "varnish")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": []}, "nodes is empty"),
        ({"secret_file": "/nowhere"}, "secret_file"),
        ({"client_ip_header": "X-Real-IP"}, "trusted_proxies"),
        ({"geography_header": "X y", "trusted_proxies": ["::1"]}, "header name"),
        ({"trusted_proxies": ["nonsense"]}, "nonsense"),
        ({"refused_origins": ["nonsense"]}, "nonsense"),
    ],
)
def test_options_that_can_not_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_provider(**options)


def test_geography_is_supported_only_where_a_header_tells_it() -> None:
    with_header = make_provider(geography_header="X-Country", trusted_proxies=["192.0.2.0/24"])

    assert Capability.GEOGRAPHY not in make_provider().supports
    assert with_header.supports == make_provider().supports | {Capability.GEOGRAPHY}
    assert Capability.ORIGIN_SSL not in with_header.supports


@pytest.mark.parametrize("origin", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
def test_an_origin_that_is_not_public_is_refused_by_name(origin: str) -> None:
    service = make_service(spec=make_spec(origins=(Origin(origin),)))

    with pytest.raises(PermanentError, match=f"origin {origin} "):
        make_provider().ensure(service, None)


def test_one_bad_address_of_an_origin_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(None, None, None, "", (address, 0)) for address in ("192.0.2.7", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)

    with pytest.raises(PermanentError, match=r"127\.0\.0\.1"):
        make_provider().ensure(make_service(), None)


def test_an_origin_that_does_not_resolve_may_do_so_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(RetryableError, match=r"origin\.example\.com") as caught:
        make_provider().ensure(make_service(), None)
    assert caught.value.scope is Scope.SERVICE


def test_a_node_that_is_not_there_is_named_and_unhealthy(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    provider = make_provider(nodes=[address], secret_file=str(tmp_path / "secret"))

    with pytest.raises(RetryableError, match=address) as caught:
        provider.remove(make_service(), None)
    assert caught.value.scope is Scope.PROVIDER
    assert provider.health() is False


@pytest.mark.parametrize(
    ("failures", "scope"),
    [
        ([Scope.PROVIDER], Scope.PROVIDER),
        ([Scope.PROVIDER, Scope.PROVIDER], Scope.PROVIDER),
        ([Scope.PROVIDER, Scope.SERVICE], Scope.SERVICE),
        ([Scope.SERVICE], Scope.SERVICE),
    ],
)
def test_nodes_that_fail_for_one_service_say_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch, failures: list[Scope], scope: Scope
) -> None:
    errors = [RetryableError("x", 60 + n, scope=it) for n, it in enumerate(failures)]

    def fail(*_args: object) -> None:
        raise errors.pop(0)

    provider = make_provider(nodes=[f"127.0.0.1:{n}" for n in range(1, len(failures) + 1)])
    monkeypatch.setattr(driver, "Admin", fail)
    with pytest.raises(RetryableError) as caught:
        provider.remove(make_service(), None)
    assert caught.value.scope is scope
    assert caught.value.retry_after == 59 + len(failures)
