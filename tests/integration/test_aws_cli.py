# SPDX-License-Identifier: Apache-2.0
"""Amazon's command line client, on the doubles and on what the drivers have made."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import pytest

from poppy.provider.cloudfront.driver import CloudFrontProvider
from tests.real import hosted_zones
from tests.real.aws_cli import AWSCLI
from tests.real.cloudfront import (  # noqa: F401
    Account,
    account,
    moto,
    one_account,
    one_provider,
    provider,
    rich_service,
    server,
    settle,
)
from tests.real.hosted_zones import SUFFIX, Zones
from tests.real.moto import Moto

pytestmark = pytest.mark.real

EDGE = "d111111abcdef8.cloudfront.net"


@pytest.fixture
def cli(moto: Moto) -> AWSCLI:
    return AWSCLI(moto)


def test_double_serves_a_distribution_of_the_client(cli: AWSCLI) -> None:
    made = cli.run("cloudfront create-distribution", origin_domain_name="origin.example.com")
    key = made["Distribution"]["Id"]
    with pytest.raises(RuntimeError, match="DistributionNotDisabled"):
        cli.run("cloudfront delete-distribution", id=key, if_match=made["ETag"])
    read = cli.run("cloudfront get-distribution-config", id=key)
    wanted = {**read["DistributionConfig"], "Enabled": False}
    with pytest.raises(RuntimeError, match="PreconditionFailed|InvalidIfMatchVersion"):
        cli.run(
            "cloudfront update-distribution", id=key, if_match="E0", distribution_config=wanted
        )
    partial = {name: value for name, value in wanted.items() if name != "CacheBehaviors"}
    with pytest.raises(RuntimeError, match="IllegalUpdate"):
        cli.run(
            *("cloudfront update-distribution",),
            id=key,
            if_match=read["ETag"],
            distribution_config=partial,
        )
    changed = cli.run(
        *("cloudfront update-distribution",),
        id=key,
        if_match=read["ETag"],
        distribution_config=wanted,
    )
    cli.run("cloudfront wait distribution-deployed", id=key)
    cli.run("cloudfront delete-distribution", id=key, if_match=changed["ETag"])
    listed = cli.run("cloudfront list-distributions")
    assert not (listed or {}).get("DistributionList", {}).get("Items")


def test_client_reads_what_the_driver_has_made(
    cli: AWSCLI, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()
    settle(provider, service)
    (key,) = account.distributions(service)
    whole = cli.run("cloudfront get-distribution", id=key)["Distribution"]
    config = whole["DistributionConfig"]
    assert whole["Status"] == "Deployed"
    assert set(config["Aliases"]["Items"]) == {entry.domain for entry in service.spec.domains}
    certificate = config["ViewerCertificate"]["ACMCertificateArn"]
    described = cli.run("acm describe-certificate", certificate_arn=certificate)["Certificate"]
    assert set(described["SubjectAlternativeNames"]) == set(config["Aliases"]["Items"])
    # What the driver sent is complete: the client can send it back.
    read = cli.run("cloudfront get-distribution-config", id=key)
    cli.run(
        *("cloudfront update-distribution",),
        id=key,
        if_match=read["ETag"],
        distribution_config=read["DistributionConfig"],
    )


def test_client_and_driver_see_the_same_records(cli: AWSCLI, moto: Moto) -> None:
    zone = Zones(moto).create(SUFFIX)
    driver = hosted_zones.make_driver(moto)
    driver.ensure({f"www.example.com.{SUFFIX}": EDGE, f"img.example.com.{SUFFIX}": EDGE})
    change = {
        "Changes": [
            {
                "Action": "UPSERT",
                "ResourceRecordSet": {
                    "Name": f"www.example.com.{SUFFIX}",
                    "Type": "CNAME",
                    "TTL": 60,
                    "ResourceRecords": [{"Value": "elsewhere.example.org"}],
                },
            }
        ]
    }
    changed = cli.run(
        "route53 change-resource-record-sets", hosted_zone_id=zone, change_batch=change
    )
    cli.run("route53 wait resource-record-sets-changed", id=changed["ChangeInfo"]["Id"])
    driver.remove([f"img.example.com.{SUFFIX}"])
    driver.ensure({f"www.example.com.{SUFFIX}": EDGE})
    found = cli.run("route53 list-resource-record-sets", hosted_zone_id=zone)
    names = {
        entry["Name"]: entry["ResourceRecords"][0]["Value"]
        for entry in found["ResourceRecordSets"]
        if entry["Type"] == "CNAME"
    }
    assert names == {f"www.example.com.{SUFFIX}.": EDGE}
