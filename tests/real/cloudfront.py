# SPDX-License-Identifier: Apache-2.0
"""What the tests of the provider ``cloudfront`` share: an account on a moto server."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from poppy.common import config
from poppy.common.errors import (
    InProgressError,
)
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
)
from poppy.provider.base import Deployment
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.testing.builders import make_service, make_spec
from poppy.vendors import aws
from tests.real.moto import Moto
from tests.real.unreliable import Unreliable

BUCKET = "cdn-logs"
#: Lets Amazon write logs to the bucket; see "Log delivery" in ``drivers/cloudfront.rst``.
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "delivery.logs.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{BUCKET}/*",
            "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
        }
    ],
}


class Account:
    """The contents of Amazon's account."""

    def __init__(self, moto: Moto) -> None:
        self.s3 = moto.client("s3")
        self.logs = moto.client("logs")
        self.cloudfront = moto.client("cloudfront")
        self.acm = moto.client("acm")
        self.tagging = moto.client("resourcegroupstaggingapi")

    def distributions(self, service: Service) -> list[str]:
        found = self.cloudfront.list_distributions()["DistributionList"].get("Items", [])
        return [entry["Id"] for entry in found if service.service_id in entry["Comment"]]

    def functions(self, service: Service) -> list[str]:
        found = self.cloudfront.list_functions()["FunctionList"].get("Items", [])
        return [entry["Name"] for entry in found if service.service_id in entry["Name"]]

    def certificates(self, service: Service) -> list[str]:
        filters = [{"Key": "poppy-service", "Values": [service.service_id]}]
        found = self.tagging.get_resources(TagFilters=filters)["ResourceTagMappingList"]
        return [entry["ResourceARN"] for entry in found]

    def names(self, service: Service) -> list[set[str]]:
        """Return the names of each of the service's certificates."""
        answers = [
            self.acm.describe_certificate(CertificateArn=arn) for arn in self.certificates(service)
        ]
        return [set(answer["Certificate"]["SubjectAlternativeNames"]) for answer in answers]

    def config(self, service: Service) -> dict[str, Any]:
        (found,) = self.distributions(service)
        answer = self.cloudfront.get_distribution_config(Id=found)
        whole: dict[str, Any] = answer["DistributionConfig"]
        return whole

    def change(self, service: Service, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the configuration as an operator may do."""
        (found,) = self.distributions(service)
        answer = self.cloudfront.get_distribution_config(Id=found)
        change(answer["DistributionConfig"])
        self.cloudfront.update_distribution(
            Id=found, IfMatch=answer["ETag"], DistributionConfig=answer["DistributionConfig"]
        )

    def code(self, service: Service) -> str:
        """Return the code of the function that the service's distribution uses."""
        behaviour = self.config(service)["DefaultCacheBehavior"]
        used = next(
            it
            for it in behaviour["FunctionAssociations"]["Items"]
            if it["EventType"] == "viewer-request"
        )
        name = used["FunctionARN"].rpartition("/")[2]
        answer = self.cloudfront.get_function(Name=name, Stage="LIVE")
        return str(answer["FunctionCode"].read().decode())

    def invalidations(self, service: Service) -> list[tuple[str, list[str]]]:
        """Return the caller reference and the paths of each invalidation."""
        (distribution,) = self.distributions(service)
        listed = self.cloudfront.list_invalidations(DistributionId=distribution)
        answers = [
            self.cloudfront.get_invalidation(DistributionId=distribution, Id=entry["Id"])
            for entry in listed["InvalidationList"].get("Items", [])
        ]
        batches = [answer["Invalidation"]["InvalidationBatch"] for answer in answers]
        return [(batch["CallerReference"], batch["Paths"]["Items"]) for batch in batches]

    def make_bucket(self, policy: object = POLICY) -> None:
        """Create the bucket for logs, as an operator would."""
        self.s3.create_bucket(Bucket=BUCKET)
        if policy:
            self.s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))

    def log_arns(self, service: Service) -> set[str]:
        """Return the destinations to which the logs of a service are delivered."""
        name = f"poppy-{service.service_id}"
        connected = {
            delivery["deliveryDestinationArn"]
            for delivery in self.logs.describe_deliveries()["deliveries"]
            if delivery["deliverySourceName"] == name
        }
        return {
            found["deliveryDestinationConfiguration"]["destinationResourceArn"]
            for found in self.logs.describe_delivery_destinations()["deliveryDestinations"]
            if found["arn"] in connected
        }

    def count(self, service: Service) -> tuple[int, int, int]:
        """Return how many distributions, functions and certificates there are."""
        kinds = (self.distributions, self.functions, self.certificates)
        first, second, third = (len(kind(service)) for kind in kinds)
        return first, second, third


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with Moto() as moto:
        yield moto


@pytest.fixture
def moto(server: Moto) -> Moto:
    """A server with an empty account."""
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


# A driver has no state, and boto3 takes long to make its clients.
@pytest.fixture(scope="module")
def one_provider(server: Moto) -> CloudFrontProvider:
    return make_provider(server)


@pytest.fixture
def provider(moto: Moto, one_provider: CloudFrontProvider) -> CloudFrontProvider:
    return one_provider


@pytest.fixture(scope="module")
def one_account(server: Moto) -> Account:
    return Account(server)


@pytest.fixture
def account(moto: Moto, one_account: Account) -> Account:
    return one_account


class Shaken(NamedTuple):
    """A driver that reaches the server through an unreliable connection."""

    provider: CloudFrontProvider
    proxy: Unreliable


@pytest.fixture(scope="module")
def one_shaken(server: Moto) -> Iterator[Shaken]:
    with Unreliable(server.url) as proxy, pytest.MonkeyPatch.context() as patch:
        # Retries by botocore would only take time.
        patch.setattr(aws, "_ATTEMPTS", 1)
        yield Shaken(make_provider(server, endpoint_url=proxy.url), proxy)


@pytest.fixture
def shaken(moto: Moto, one_shaken: Shaken) -> Shaken:
    one_shaken.proxy.restart()
    one_shaken.proxy.headers = {}
    return one_shaken


def settle(
    provider: CloudFrontProvider, service: Service, known: ProviderDetail | None = None
) -> Deployment:
    for _ in range(20):
        deployment = provider.ensure(service, known)
        if not deployment.in_progress:
            return deployment
    raise AssertionError("still in progress")


def take_away(
    provider: CloudFrontProvider, service: Service, known: ProviderDetail | None = None
) -> None:
    for _ in range(20):
        try:
            provider.remove(service, known)
        except InProgressError:
            continue
        return
    raise AssertionError("still in progress")


def rich_service() -> Service:
    """Return a service with two domains and origins, caching rules and all restrictions."""
    spec = make_spec(
        origins=(
            Origin("origin.example.com", rules=(Rule("default", "/*"),)),
            Origin("images.example.com", 443, True, "origin", rules=(Rule("i", "/images/*"),)),
        ),
        caching=(
            Caching("default", 3600, (Rule("default", "/*"),)),
            Caching("jpeg", 60, (Rule("jpeg", "/*.jpg"),)),
            Caching("never", 0, (Rule("never", "/cart/*"),)),
        ),
        restrictions=(
            Restriction(
                "countries",
                "whitelist",
                (Rule("g", geography="Germany"), Rule("f", geography="FR")),
            ),
            Restriction("sites", "whitelist", (Rule("r", "/images/*", "www.example.org"),)),
            Restriction("networks", "blacklist", (Rule("n", client_ip="192.0.2.0/24"),)),
        ),
    )
    domains = (
        Domain("www.rich.example.com", "https", "san"),
        Domain("img.rich.example.com", "https", "san"),
    )
    return make_service(spec=replace(spec, domains=domains))


def changed(service: Service) -> Service:
    """Return the service with other domains, paths and restrictions."""
    spec = service.spec
    blacklist = Restriction("networks", "blacklist", (Rule("n", client_ip="2001:db8::/32"),))
    changes: dict[str, Any] = {
        "domains": (spec.domains[0], Domain("new.rich.example.com", "https", "san")),
        "origins": spec.origins[:1],
        "restrictions": (blacklist,),
    }
    return replace(service, spec=replace(spec, **changes))


def with_caching(service: Service, ttl: int) -> Service:
    caching = (Caching("changed", ttl, (Rule("r", "/*"),)),)
    return replace(service, spec=replace(service.spec, caching=caching))
