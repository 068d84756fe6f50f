# SPDX-License-Identifier: Apache-2.0
"""Log delivery by the provider ``cloudfront`` to a bucket on a real S3 server."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import gzip
import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from poppy.common.errors import ConfigError, PermanentError, Unauthorized
from poppy.model.services import Service
from poppy.provider.base import Capability
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.testing.builders import make_service
from poppy.testing.provider import known_from
from poppy.vendors import aws
from tests.integration.test_cloudfront_failures import interrupted
from tests.real.cloudfront import (  # noqa: F401
    BUCKET,
    POLICY,
    Account,
    account,
    make_provider,
    moto,
    one_account,
    server,
    settle,
    take_away,
)
from tests.real.moto import Moto
from tests.real.unreliable import Unreliable

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def one_provider(server: Moto) -> CloudFrontProvider:
    return make_provider(server, log_bucket=BUCKET)


@pytest.fixture
def provider(moto: Moto, one_provider: CloudFrontProvider) -> CloudFrontProvider:
    return one_provider


@pytest.fixture
def service() -> Service:
    made = make_service()
    return replace(made, spec=replace(made.spec, log_delivery=True))


def prefix_of(service: Service) -> str:
    return f"{service.project_id}/{service.service_id}/cloudfront"


def leftovers(account: Account) -> list[str]:
    sources = account.logs.describe_delivery_sources()["deliverySources"]
    destinations = account.logs.describe_delivery_destinations()["deliveryDestinations"]
    deliveries = account.logs.describe_deliveries()["deliveries"]
    return [found["arn"] for found in [*sources, *destinations, *deliveries]]


def test_a_bucket_is_needed(moto: Moto) -> None:
    assert Capability.LOG_DELIVERY not in make_provider(moto).supports
    with pytest.raises(ConfigError, match="log_bucket 'No_Bucket'"):
        make_provider(moto, log_bucket="No_Bucket")


def test_files_are_below_the_link(
    provider: CloudFrontProvider, account: Account, service: Service
) -> None:
    account.make_bucket()
    deployment = settle(provider, service)
    assert account.log_arns(service) == {f"arn:aws:s3:::{BUCKET}/{prefix_of(service)}"}
    (delivery,) = account.logs.describe_deliveries()["deliveries"]
    # Amazon would put its own folders in front of it for a destination without a prefix.
    suffix = delivery["s3DeliveryConfiguration"]["suffixPath"]
    day = suffix.format(yyyy="2026", MM="11", dd="30")
    body = gzip.compress(b'{"c-ip": "192.0.2.7"}\n')
    key = f"{prefix_of(service)}/{day}/{deployment.provider_service_id}.2026-11-30-12.0.gz"
    account.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    bucket, _, prefix = urlsplit(deployment.log_url).path.removeprefix("/").partition("/")
    (found,) = account.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert found["Key"] == key


def test_a_missing_bucket_is_named(
    provider: CloudFrontProvider, account: Account, service: Service
) -> None:
    with pytest.raises(PermanentError, match="bucket does not exist"):
        provider.ensure(service, None)


@pytest.mark.parametrize("change", ["none", "other folder", "other service"])
def test_amazon_must_be_allowed_to_write(
    provider: CloudFrontProvider, account: Account, service: Service, change: str
) -> None:
    policy: dict[str, Any] = json.loads(json.dumps(POLICY))
    if change == "other folder":
        policy["Statement"][0]["Resource"] = f"arn:aws:s3:::{BUCKET}/AWSLogs/*"
    if change == "other service":
        policy["Statement"][0]["Principal"] = {"Service": "logging.s3.amazonaws.com"}
    account.make_bucket(None if change == "none" else policy)
    with pytest.raises(Unauthorized, match="permissions of the bucket"):
        provider.ensure(service, None)
    account.s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(POLICY))
    settle(provider, service)
    assert account.log_arns(service)


def test_another_bucket_replaces_the_delivery(
    provider: CloudFrontProvider, account: Account, moto: Moto, service: Service
) -> None:
    account.make_bucket()
    known = known_from(settle(provider, service))
    account.s3.create_bucket(Bucket="other-logs")
    policy = json.dumps(POLICY).replace(BUCKET, "other-logs")
    account.s3.put_bucket_policy(Bucket="other-logs", Policy=policy)
    settle(make_provider(moto, log_bucket="other-logs"), service, known)
    assert account.log_arns(service) == {f"arn:aws:s3:::other-logs/{prefix_of(service)}"}


def test_a_deleted_delivery_is_made_again(
    provider: CloudFrontProvider, account: Account, service: Service
) -> None:
    account.make_bucket()
    known = known_from(settle(provider, service))
    for delivery in account.logs.describe_deliveries()["deliveries"]:
        account.logs.delete_delivery(id=delivery["id"])
    settle(provider, service, known)
    assert account.log_arns(service)


def test_turning_it_on_and_removal_can_be_interrupted_after_any_call(
    moto: Moto,
    provider: CloudFrontProvider,
    account: Account,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Retries by botocore would only take time.
    monkeypatch.setattr(aws, "_ATTEMPTS", 1)
    account.make_bucket()
    silent = replace(service, spec=replace(service.spec, log_delivery=False))
    known = known_from(settle(provider, silent))

    def check() -> None:
        settle(provider, service, known)
        assert account.log_arns(service)
        settle(provider, silent, known)
        assert leftovers(account) == []

    def check_removal() -> None:
        take_away(provider, service, known)
        assert leftovers(account) == []
        assert account.count(service) == (0, 0, 0)
        settle(provider, service)

    with Unreliable(moto.url) as proxy:
        shaken = make_provider(moto, endpoint_url=proxy.url, log_bucket=BUCKET)
        assert interrupted(proxy, lambda: settle(shaken, service, known), check) > 5
        settle(provider, service, known)
        interrupted(proxy, lambda: take_away(shaken, service), check_removal)
