# SPDX-License-Identifier: Apache-2.0
"""A new tenant gets an https site by creating the records in ``dns_records``, and nothing else.

The vendors' doubles accept a domain once the records that they ask for are at a real name server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from poppy.model.dns_records import DNSRecord, RecordStatus
from poppy.model.services import Status
from poppy.provider.base import Provider
from poppy.testing.builders import make_flavor
from tests.functional.harness import Harness
from tests.integration.akamai.conftest import make_provider as make_akamai
from tests.integration.akamai.conftest import template
from tests.integration.fastly.conftest import make_provider as make_fastly
from tests.real.akamai import Akamai
from tests.real.bind import EMPTY_ZONE, Bind
from tests.real.cloudfront import make_provider as make_cloudfront
from tests.real.fastly import Fastly
from tests.real.moto import Moto

pytestmark = pytest.mark.real

DOMAIN = "www.example.org"


class Vendor(NamedTuple):
    """A provider and its double.

    Attributes:
        look: makes the double look at the name server.
    """

    provider: Provider
    look: Callable[[], None]


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind(**{"example.org": EMPTY_ZONE}) as server:
        yield server


@pytest.fixture
def fastly(bind: Bind) -> Iterator[Vendor]:
    with Fastly() as double:

        def look() -> None:
            for order in double.tls.of(DOMAIN):
                (entry,) = order.authorizations()
                challenge = entry["attributes"]["challenges"][0]
                if bind.resolve(challenge["record_name"]) == challenge["values"][0]:
                    double.tls.set_state(DOMAIN, "issued")

        yield Vendor(make_fastly(double), look)


@pytest.fixture
def cloudfront(bind: Bind) -> Iterator[Vendor]:
    with Moto() as double:
        double.validate("PENDING_VALIDATION")
        acm = double.client("acm")

        def look() -> None:
            for entry in acm.list_certificates()["CertificateSummaryList"]:
                found = acm.describe_certificate(CertificateArn=entry["CertificateArn"])
                (option,) = found["Certificate"]["DomainValidationOptions"]
                record = option["ResourceRecord"]
                if bind.resolve(record["Name"]) == record["Value"].rstrip("."):
                    double.validate("ISSUED")

        yield Vendor(make_cloudfront(double), look)


@pytest.fixture
def akamai(bind: Bind, tmp_path: Path) -> Iterator[Vendor]:
    with Akamai() as double:
        double.cps.automatic = False

        def look() -> None:
            name = f"_akamai-host-challenge.{DOMAIN}"
            for text in bind.values(name, "TXT"):
                double.dom.records[name] = text
            if f"proof-of-{DOMAIN}" in bind.values(f"_acme-challenge.{DOMAIN}", "TXT"):
                double.cps.validate()

        yield Vendor(make_akamai(double, enrollment_template=template(tmp_path)), look)


@pytest.fixture
def akamai_default(bind: Bind) -> Iterator[Vendor]:
    """Akamai with default DV certificates."""
    with Akamai() as double:
        double.dom.automatic = False
        double.papi.default.automatic = False

        def look() -> None:
            name = f"_acme-challenge.{DOMAIN}"
            double.dom.cnames[name] = bind.resolve(name) or ""

        yield Vendor(make_akamai(double, default_certificates=True), look)


@pytest.mark.parametrize(
    ("name", "kind", "needed"),
    [
        ("fastly", "sni", {"certificate"}),
        ("cloudfront", "sni", {"certificate"}),
        ("akamai", "sni", {"certificate", "ownership"}),
        ("akamai_default", "sni", {"certificate"}),
    ],
)
def test_tenant_gets_an_https_site_by_doing_what_dns_records_says(
    name: str,
    kind: str,
    needed: set[str],
    bind: Bind,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    vendor: Vendor = request.getfixturevalue(name)
    resolver = {"nameservers": bind.address, "authoritative": "false", "check_records": "true"}
    groups = {"DEFAULT": {"domain_ownership_interval": 0.2}, "resolver": resolver}
    poppy: Any = Harness(tmp_path, groups)
    poppy.boot.providers[name] = vendor.provider
    poppy.storage.flavors.create(make_flavor(name, [name]))
    site = {"domain": DOMAIN, "protocol": "https", "certificate": kind}
    service_id = poppy.create(
        flavor_id=name,
        domains=[site],
        origins=[{"origin": "origin.example.net", "port": 443, "ssl": True}],
    )
    created: set[DNSRecord] = set()

    def records() -> list[DNSRecord]:
        return list(poppy.get(service_id).dns_records)

    def is_done() -> bool:
        """Do what the service says; return whether the service says that nothing is left."""
        for record in records():
            if record.status is not RecordStatus.OK and record.unchecked not in created:
                create(bind, record)
                created.add(record.unchecked)
        vendor.look()
        status = poppy.get(service_id).status
        assert status is not Status.FAILED, poppy.get(service_id).errors
        found = records()
        return (
            status is Status.DEPLOYED
            and any(record.purpose == "traffic" for record in found)
            and all(record.status is RecordStatus.OK for record in found)
        )

    with poppy.working():
        poppy.wait(is_done, 60)
    assert {str(record.purpose) for record in created} == needed | {"traffic"}
    assert {record.provider for record in created if record.purpose != "traffic"} == {name}
    assert bind.resolve(DOMAIN) == f"{DOMAIN}.cdn.example.net"
    assert poppy.get(service_id).provider_details[name].certificates == {DOMAIN: "deployed"}
    for record in created:
        bind.change("example.org", (record.name, str(record.type)))
    poppy.close()


def create(bind: Bind, record: DNSRecord) -> None:
    """Create a record, as a tenant does."""
    value = f'"{record.value}"' if record.type == "TXT" else f"{record.value}."
    bind.change("example.org", (record.name, str(record.type), value))
