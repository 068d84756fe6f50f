# SPDX-License-Identifier: Apache-2.0
"""End to end: the API, a worker, and a moto server for CloudFront and Route 53."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.real.moto import Moto
from tests.real.poppy import Installation

pytestmark = pytest.mark.real

SUFFIX = "cdn.example.net"


class Amazon(NamedTuple):
    poppy: Installation
    moto: Moto
    zone: str

    def names(self) -> dict[str, str]:
        """Return the operator names in DNS and their targets."""
        route53 = self.moto.client("route53")
        found = route53.list_resource_record_sets(HostedZoneId=self.zone)["ResourceRecordSets"]
        return {
            record["Name"].rstrip("."): record["ResourceRecords"][0]["Value"]
            for record in found
            if record["Type"] == "CNAME"
        }

    def distributions(self) -> list[str]:
        """Return the domain names of all distributions."""
        cloudfront = self.moto.client("cloudfront")
        found = cloudfront.list_distributions()["DistributionList"].get("Items", [])
        return [entry["DomainName"] for entry in found]


@pytest.fixture
def amazon(tmp_path: Path) -> Iterator[Amazon]:
    with Moto() as moto:
        zone = moto.client("route53").create_hosted_zone(Name=SUFFIX, CallerReference="test")
        options = {
            "drivers": {"providers": "cloudfront", "dns": "route53"},
            "drivers:provider:cloudfront": {**moto.options, "poll_after": 0.1},
            "drivers:dns:route53": {**moto.options, "suffix": SUFFIX},
        }
        moto.validate("ISSUED")
        installation = Installation(tmp_path, options)
        with installation.session, installation.daemon("poppy-standalone"):
            installation.wait_until_up()
            installation.create_flavor("cloudfront")
            yield Amazon(installation, moto, zone["HostedZone"]["Id"])


def test_service_lifecycle(amazon: Amazon) -> None:
    poppy = amazon.poppy
    base = f"{poppy.base}/v1.0/services"
    document = {
        "name": "site",
        "flavor_id": "standard",
        "domains": [{"domain": "www.example.com"}],
        "origins": [{"origin": "192.0.2.1"}],
    }
    refused = poppy.session.post(base, json=document, timeout=10)
    assert (refused.status_code, "needs a name" in refused.text) == (400, True)

    url = poppy.create_service("www.example.com")
    poppy.wait_for(url, "deployed")
    (edge,) = amazon.distributions()
    assert amazon.names() == {f"www.example.com.{SUFFIX}": edge}

    patch = [{"op": "add", "path": "/domains/-", "value": {"domain": "img.example.com"}}]
    assert poppy.session.patch(url, json=patch, timeout=10).status_code == 202
    poppy.wait_for(url, "deployed")
    assert set(amazon.names().values()) == {edge}
    assert len(amazon.names()) == 2
    rule = {"name": "q", "ttl": 1, "rules": [{"name": "q", "request_url": "/a?b"}]}
    unmatched = [{"op": "add", "path": "/caching/-", "value": rule}]
    refused = poppy.session.patch(url, json=unmatched, timeout=10)
    assert (refused.status_code, "queries" in refused.text) == (400, True)

    purged = poppy.session.delete(f"{url}/assets?all=true", timeout=10)
    assert purged.status_code == 202, purged.text
    poppy.session.delete(url, timeout=10)
    poppy.wait_for(url, "gone")
    assert amazon.names() == {}
    assert amazon.distributions() == []
