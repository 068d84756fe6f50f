# SPDX-License-Identifier: Apache-2.0
"""Options of the provider ``varnish``, and checks before it contacts a node."""

import socket
from pathlib import Path
from typing import Any

import pytest

from poppy.common import config
from poppy.common.errors import ConfigError, PermanentError, RetryableError, Scope
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.base import Capability
from poppy.provider.varnish import driver
from poppy.provider.varnish.driver import VarnishProvider
from poppy.provider.varnish.metadata import Metadata, SoftPurge
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
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_provider(**options)


def test_geography_is_supported_only_with_a_header() -> None:
    with_header = make_provider(geography_header="X-Country", trusted_proxies=["192.0.2.0/24"])

    assert Capability.GEOGRAPHY not in make_provider().supports
    assert with_header.supports == make_provider().supports | {Capability.GEOGRAPHY}
    assert Capability.ORIGIN_SSL not in with_header.supports


@pytest.mark.parametrize("origin", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
def test_a_non_public_origin_is_refused_by_name(origin: str) -> None:
    service = make_service(spec=make_spec(origins=(Origin(origin),)))

    with pytest.raises(PermanentError, match=f"origin {origin}: "):
        make_provider().ensure(service, None)
    with pytest.raises(PermanentError, match=f"origin {origin}: "):
        make_provider().check(service.spec)


def test_an_origin_with_one_non_public_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(None, None, None, "", (address, 0)) for address in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)

    with pytest.raises(PermanentError, match=r"127\.0\.0\.1"):
        make_provider().ensure(make_service(), None)


def test_non_public_addresses_can_be_allowed() -> None:
    provider = make_provider(allowed_origins=["10.0.0.0/8"], refused_origins=["10.9.0.0/16"])

    provider.check(make_spec(origins=(Origin("10.1.1.1"), Origin("8.8.8.8"))))
    for origin in ("10.9.1.1", "127.0.0.1"):
        with pytest.raises(PermanentError, match=origin):
            provider.check(make_spec(origins=(Origin(origin),)))


def test_an_empty_list_of_refused_origins_allows_all() -> None:
    provider = make_provider(refused_origins=[])

    provider.check(make_spec(origins=(Origin("127.0.0.1"), Origin("::1"))))


def test_a_service_that_takes_too_long_to_compile_is_refused_at_once() -> None:
    def caching(count: int) -> tuple[Caching, ...]:
        rules = (Rule("r", f"/some/path/{number:04}/*") for number in range(count))
        return tuple(Caching(f"c{n}", 60 + n % 2, (rule,)) for n, rule in enumerate(rules))

    provider = make_provider()
    provider.check(make_spec(caching=caching(250)))
    with pytest.raises(PermanentError, match="too large.* bytes of VCL"):
        provider.check(make_spec(caching=caching(1900)))
    with pytest.raises(PermanentError, match="too large"):
        spec = make_spec(origins=(Origin("8.8.8.8"),), caching=caching(1900))
        provider.ensure(make_service(spec=spec), None)


def test_soft_purges_do_not_make_a_service_too_large() -> None:
    metadata = Metadata("s", ("www.a.example.com",))
    for number in range(50):
        metadata = metadata.purged(f"/{number}/{'x' * 1000}", 100)
    spec = make_spec(["www.a.example.com"], origins=(Origin("8.8.8.8"),))

    text = make_provider()._render(metadata, "k", spec, {"8.8.8.8": ["8.8.8.8"]})

    assert Metadata.from_vcl(text).purges == (SoftPurge(metadata.generation, None),)


def test_an_unresolvable_origin_is_retryable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(RetryableError, match=r"origin\.example\.com") as caught:
        make_provider().ensure(make_service(), None)
    assert caught.value.scope is Scope.SERVICE


def test_an_unreachable_node_is_named_and_unhealthy(tmp_path: Path) -> None:
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
def test_the_narrowest_scope_of_the_nodes_errors_counts(
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
