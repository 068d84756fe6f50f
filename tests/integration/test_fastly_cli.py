# SPDX-License-Identifier: Apache-2.0
"""Fastly's own client, on the double and on a service that the driver has made."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.provider import known_from
from tests.certificates import Signed
from tests.integration.fastly.conftest import fastly, provider  # noqa: F401
from tests.integration.fastly.test_custom_certificates import brought
from tests.real.fastly import Fastly
from tests.real.fastly_cli import FastlyCLI
from tests.real.fastly_tls import DEFAULT
from tests.unit.provider.fastly.services import HTTP, HTTPS, whole_service, with_https

pytestmark = pytest.mark.real


@pytest.fixture
def cli(fastly: Fastly, tmp_path: Path) -> Iterator[FastlyCLI]:
    with FastlyCLI(fastly.url, tmp_path) as made:
        yield made


def test_double_serves_a_service_of_the_client(fastly: Fastly, cli: FastlyCLI) -> None:
    cli.run("service create", "--name", "site", "--type", "vcl")
    (service,) = cli.read("service list")
    place = ("--service-id", service["ServiceID"], "--version", "1")
    answer = cli.run("service domain create", *place, "--name", HTTP)
    assert f"(service {service['ServiceID']} version 1)" in answer
    cli.run("service backend create", *place, "--name", "first", "--address", "192.0.2.1")
    cli.run(
        *("service vcl condition create", *place, "--name", "news", "--type", "REQUEST"),
        *("--statement", 'req.url ~ "^/news/"'),
    )
    snippet = ("--type", "recv", "--content", 'set req.http.X = "1";')
    cli.run("service vcl snippet create", *place, "--name", "mark", *snippet)
    cli.run("service version validate", *place)
    cli.run("service version activate", *place)

    with pytest.raises(RuntimeError, match="locked|not editable"):
        cli.run("service backend create", *place, "--name", "other", "--address", "192.0.2.2")
    cli.run("service version clone", *place)
    newest = (*place[:2], "--version", "2")
    cli.run("service backend update", *newest, "--name", "first", "--address", "192.0.2.2")
    cli.run("service version activate", *newest)
    versions = cli.read("service version list", *place[:2])
    assert [(one["Number"], one["Active"], one["Locked"]) for one in versions] == [
        *[(1, False, True), (2, True, True)]
    ]

    cli.run("tls-subscription create", "--domain", HTTP)
    (subscription,) = cli.read("tls-subscription list")
    assert subscription["State"] == "pending"
    cli.run("service purge", *place[:2], "--key", "a", "--soft")
    assert fastly.account.purges == [(service["ServiceID"], "a", True)]
    cli.run("tls-subscription delete", "--id", subscription["ID"])
    cli.run("service delete", *place[:2], "--force")
    assert fastly.account.living() == []


def test_client_reads_what_the_driver_has_made(
    fastly: Fastly, cli: FastlyCLI, provider: FastlyProvider
) -> None:
    service = with_https(whole_service())
    deployment = provider.ensure(service, None)
    place = ("--service-id", deployment.provider_service_id)
    described = cli.read("service describe", *place)
    assert described["Name"] == f"poppy-{service.service_id}"
    active = (*place, "--version", str(described["ActiveVersion"]["Number"]))
    domains = cli.read("service domain list", *active)
    assert {entry["Name"] for entry in domains} == {HTTP, HTTPS}
    backends = cli.read("service backend list", *active)
    assert {(entry["Address"], entry["Port"], entry["UseSSL"]) for entry in backends} == {
        (origin.origin, origin.port, origin.ssl) for origin in service.spec.origins
    }
    (subscription,) = cli.read("tls-subscription list")
    assert [entry["ID"] for entry in subscription["Domains"]] == [HTTPS]


def test_certificates_of_the_client_and_of_the_driver(
    fastly: Fastly, cli: FastlyCLI, provider: FastlyProvider
) -> None:
    service = brought(HTTPS)
    provider.ensure(service, None)
    by_hand, own = Signed("by hand", names=[HTTPS]), Signed("own", names=[HTTPS])
    cli.run("tls-custom private-key create", "--name", "key", f"--key={by_hand.key_pem}")
    cli.run("tls-custom certificate create", "--name", "mine", f"--cert-blob={by_hand.pem}")
    (certificate,) = cli.read("tls-custom certificate list")
    place = ("--cert-id", certificate["ID"], "--tls-domain", HTTPS, "--tls-config-id", DEFAULT)
    cli.run("tls-custom activation enable", *place)

    provider.keep_certificate(service, HTTPS, own.pem, own.key_pem)
    provider.ensure(service, None)

    (activation,) = cli.read("tls-custom activation list")
    found = {one["ID"]: one["Name"] for one in cli.read("tls-custom certificate list")}
    assert found[activation["Certificate"]["ID"]].endswith(own.fingerprint)
    assert activation["Domain"]["ID"] == HTTPS
    with pytest.raises(RuntimeError, match="enabled for a domain"):
        cli.run("tls-custom certificate delete", "--id", activation["Certificate"]["ID"])
    cli.run("tls-custom certificate delete", "--id", certificate["ID"])


def test_driver_repairs_what_the_client_has_changed(
    fastly: Fastly, cli: FastlyCLI, provider: FastlyProvider
) -> None:
    service = whole_service()
    known = known_from(provider.ensure(service, None))
    place = ("--service-id", known.provider_service_id)
    version = str(cli.read("service describe", *place)["ActiveVersion"]["Number"])
    (backend, *_) = cli.read("service backend list", *place, "--version", version)
    cli.run("service version clone", *place, "--version", version)
    newest = str(int(version) + 1)
    changed = (*place, "--version", newest)
    cli.run(
        "service backend update", *changed, "--name", backend["Name"], "--address", "192.0.2.9"
    )
    cli.run("service version activate", *changed)

    provider.ensure(replace(service, revision=service.revision + 1), known)
    version = str(cli.read("service describe", *place)["ActiveVersion"]["Number"])
    backends = cli.read("service backend list", *place, "--version", version)
    assert "192.0.2.9" not in [entry["Address"] for entry in backends]
    assert version > newest


def test_double_refuses_a_wrong_token(fastly: Fastly, tmp_path: Path) -> None:
    with (
        FastlyCLI(fastly.url, tmp_path, token="wr0ng") as cli,
        pytest.raises(RuntimeError, match="401"),
    ):
        cli.run("service list")
