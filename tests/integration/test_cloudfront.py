# SPDX-License-Identifier: Apache-2.0
"""The provider ``cloudfront`` against a server that speaks Amazon's APIs."""

import datetime
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from poppy.common import aws, config
from poppy.common.errors import (
    ConfigError,
    DriverError,
    InProgressError,
    PermanentError,
    RetryableError,
)
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.services import (
    Caching,
    Domain,
    Origin,
    ProviderDetail,
    ProviderStatus,
    Restriction,
    Rule,
    Service,
)
from poppy.provider.base import Capability, Deployment, Metric, Point, Provider, Query
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.testing.builders import make_service, make_spec
from poppy.testing.provider import ProviderContract, known_from
from tests.real.moto import Moto
from tests.real.unreliable import Unreliable

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with Moto() as moto:
        yield moto


@pytest.fixture
def moto(server: Moto) -> Moto:
    """The server, with an account in which there is nothing."""
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


# A driver holds no state, and boto3 takes long to make its clients.
@pytest.fixture(scope="module")
def one_provider(server: Moto) -> CloudFrontProvider:
    return make_provider(server)


@pytest.fixture
def provider(moto: Moto, one_provider: CloudFrontProvider) -> CloudFrontProvider:
    return one_provider


@pytest.fixture(scope="module")
def one_account(server: Moto) -> "Account":
    return Account(server)


@pytest.fixture
def account(moto: Moto, one_account: "Account") -> "Account":
    return one_account


class Shaken(NamedTuple):
    """A driver that reaches the server through something unreliable."""

    provider: CloudFrontProvider
    proxy: Unreliable


@pytest.fixture(scope="module")
def one_shaken(server: Moto) -> Iterator[Shaken]:
    with Unreliable(server.url) as proxy, pytest.MonkeyPatch.context() as patch:
        # What botocore would try again would only take time.
        patch.setattr(aws, "_ATTEMPTS", 1)
        yield Shaken(make_provider(server, endpoint_url=proxy.url), proxy)


@pytest.fixture
def shaken(moto: Moto, one_shaken: Shaken) -> Shaken:
    one_shaken.proxy.restart()
    one_shaken.proxy.headers = {}
    return one_shaken


class Account:
    """What there is in Amazon's account."""

    def __init__(self, moto: Moto) -> None:
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
        """The names of each of the service's certificates."""
        answers = [
            self.acm.describe_certificate(CertificateArn=arn) for arn in self.certificates(service)
        ]
        return [set(answer["Certificate"]["SubjectAlternativeNames"]) for answer in answers]

    def config(self, service: Service) -> dict[str, Any]:
        (found,) = self.distributions(service)
        answer = self.cloudfront.get_distribution_config(Id=found)
        whole: dict[str, Any] = answer["DistributionConfig"]
        return whole

    def count(self, service: Service) -> tuple[int, int, int]:
        """How many distributions, functions and certificates."""
        kinds = (self.distributions, self.functions, self.certificates)
        first, second, third = (len(kind(service)) for kind in kinds)
        return first, second, third


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
    """Two domains, two origins with paths, three caching rules, restrictions of every kind."""
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
    """With other domains, paths and restrictions."""
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


class TestContract(ProviderContract):
    @pytest.fixture
    def provider(self, provider: CloudFrontProvider, account: Account) -> CloudFrontProvider:
        self.account = account
        return provider

    def objects(self, provider: Provider, service: Service) -> list[str]:
        return self.account.distributions(service)


def test_the_life_of_a_service(provider: CloudFrontProvider, account: Account) -> None:
    service = rich_service()

    deployment = settle(provider, service)

    known = known_from(deployment)
    assert set(deployment.access_urls) == service.spec.domain_names
    assert set(deployment.certificates.values()) == {"deployed"}
    assert account.count(service) == (1, 1, 1)
    made = account.config(service)
    assert set(made["Aliases"]["Items"]) == service.spec.domain_names
    assert [
        (entry["PathPattern"], entry["DefaultTTL"], entry["MaxTTL"], entry["MinTTL"])
        for entry in made["CacheBehaviors"]["Items"]
    ] == [
        ("/images/*.jpg", 60, 60, 0),
        ("/images/*", 3600, 3600, 0),
        ("/cart/*", 0, 0, 0),
        ("/*.jpg", 60, 60, 0),
    ]
    geography = made["Restrictions"]["GeoRestriction"]
    assert (geography["RestrictionType"], geography["Items"]) == ("whitelist", ["DE", "FR"])
    functions = account.functions(service)

    other = changed(service)
    after = settle(provider, other, known)

    assert after.provider_service_id == deployment.provider_service_id
    assert account.count(service) == (1, 1, 1)
    assert account.functions(service) != functions
    assert account.names(service) == [other.spec.domain_names]
    made = account.config(service)
    assert set(made["Aliases"]["Items"]) == other.spec.domain_names
    assert made["Restrictions"]["GeoRestriction"]["RestrictionType"] == "none"

    plain = replace(service, spec=replace(other.spec, restrictions=()))
    settle(provider, plain, known)

    assert account.count(service) == (1, 0, 1)

    provider.purge(plain, known, Purge("/images/*", True))
    take_away(provider, plain, known)

    assert account.count(service) == (0, 0, 0)


def test_an_unchanged_service_is_only_looked_at(shaken: Shaken) -> None:
    provider, proxy = shaken
    service = rich_service()
    known = known_from(settle(provider, service))
    proxy.restart()

    provider.ensure(service, known)

    # A POST to "/" may be any call of ACM and of the tagging API.
    assert set(proxy.calls) <= {"POST /"} | {c for c in proxy.calls if c.startswith("GET ")}
    assert len(proxy.calls) <= 6


def test_what_the_operator_added_stays(provider: CloudFrontProvider, account: Account) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    answer = account.cloudfront.get_distribution_config(Id=known.provider_service_id)
    mine = {
        **answer["DistributionConfig"],
        "WebACLId": "arn:aws:wafv2:acl",
        "HttpVersion": "http2",
    }
    account.cloudfront.update_distribution(
        Id=known.provider_service_id, IfMatch=answer["ETag"], DistributionConfig=mine
    )

    settle(provider, with_caching(service, 5), known)

    made = account.config(service)
    assert made["WebACLId"] == "arn:aws:wafv2:acl"
    assert made["DefaultCacheBehavior"]["DefaultTTL"] == 5
    assert made["HttpVersion"] == "http2and3"


def test_a_change_that_somebody_else_was_faster_with_is_tried_again(
    moto: Moto, account: Account
) -> None:
    provider, faster = make_provider(moto), make_provider(moto)
    service = make_service()
    known = known_from(settle(provider, service))
    wanted = with_caching(service, 5)
    update = provider._cloudfront._client.update_distribution

    def too_late(**kwargs: Any) -> Any:
        faster.ensure(with_caching(service, 6), known)
        return update(**kwargs)

    provider._cloudfront._client.update_distribution = too_late
    with pytest.raises(RetryableError, match="PreconditionFailed"):
        provider.ensure(wanted, known)
    provider._cloudfront._client.update_distribution = update
    settle(provider, wanted, known)

    assert account.config(service)["DefaultCacheBehavior"]["DefaultTTL"] == 5


# --- any call may be the last one ------------------------------------------------------------


def dies_after(count: int) -> Callable[[int], str]:
    """The reply of a call is lost, and nothing works from then on."""
    return lambda number: "ok" if number < count else "lost" if number == count else "dead"


def interrupted(
    proxy: Unreliable, work: Callable[[], object], check: Callable[[], object], most: int = 60
) -> int:
    """Do work, broken off after each of its calls in turn; gives how many calls it took."""
    for count in range(1, most):
        proxy.restart(dies_after(count))
        try:
            work()
        except DriverError:
            pass
        else:
            return count - 1
        proxy.restart()
        check()
    raise AssertionError(f"it takes more than {most} calls")


def test_making_a_service_can_stop_after_any_call(shaken: Shaken, account: Account) -> None:
    provider, proxy = shaken
    service = rich_service()

    def check() -> None:
        nonlocal service
        deployment = settle(provider, service)
        assert account.distributions(service) == [deployment.provider_service_id]
        assert account.count(service) == (1, 1, 1)
        assert set(account.config(service)["Aliases"]["Items"]) == service.spec.domain_names
        take_away(provider, service)
        assert account.count(service) == (0, 0, 0)
        service = replace(rich_service(), service_id=make_service().service_id)

    assert interrupted(proxy, lambda: settle(provider, service), check) > 8


def test_changing_a_service_can_stop_after_any_call(shaken: Shaken, account: Account) -> None:
    provider, proxy = shaken
    service = rich_service()
    known = known_from(settle(provider, service))

    def check() -> None:
        settle(provider, changed(service), known)
        assert account.count(service) == (1, 1, 1)
        assert account.names(service) == [changed(service).spec.domain_names]
        # Back to where it began.
        settle(provider, service, known)
        assert account.count(service) == (1, 1, 1)

    calls = interrupted(proxy, lambda: settle(provider, changed(service), known), check)
    assert calls > 8


def test_removing_a_service_can_stop_after_any_call(shaken: Shaken, account: Account) -> None:
    provider, proxy = shaken
    service = rich_service()
    settle(provider, service)

    def check() -> None:
        take_away(provider, service)
        assert account.count(service) == (0, 0, 0)
        settle(provider, service)

    assert interrupted(proxy, lambda: take_away(provider, service), check) > 8


def test_a_service_that_is_half_removed_can_be_made_again(
    shaken: Shaken, account: Account
) -> None:
    provider, proxy = shaken
    service = rich_service()
    settle(provider, service)

    def check() -> None:
        deployment = settle(provider, service)
        assert account.distributions(service) == [deployment.provider_service_id]
        assert account.config(service)["Enabled"] is True
        assert account.count(service) == (1, 1, 1)

    interrupted(proxy, lambda: take_away(provider, service), check)


def test_a_storm_of_throttling_and_lost_replies_leaves_one_of_each(
    shaken: Shaken, account: Account
) -> None:
    provider, proxy = shaken
    service = rich_service()
    dice = random.Random(7)
    fates = [429, 503, "lost", "dead", *["ok"] * 12]
    proxy.restart(lambda _number: dice.choice(fates))
    failures = 0
    for _ in range(100):
        try:
            deployment = settle(provider, service)
        except RetryableError:
            failures += 1
        else:
            break
    proxy.restart()

    assert failures > 3
    assert account.distributions(service) == [deployment.provider_service_id]
    assert account.count(service) == (1, 1, 1)


def test_a_limit_says_how_long_to_wait(shaken: Shaken) -> None:
    provider, proxy = shaken
    proxy.restart(lambda _number: 429)
    proxy.headers = {"Retry-After": "17"}

    with pytest.raises(RetryableError) as caught:
        provider.ensure(make_service(), None)

    assert caught.value.retry_after == 17
    assert provider.health() is False


# --- certificates ----------------------------------------------------------------------------


def test_a_service_waits_for_its_certificate_and_says_what_to_do(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    moto.validate("PENDING_VALIDATION")
    service = rich_service()

    waiting = provider.ensure(service, None)
    known = known_from(waiting)

    assert waiting.in_progress
    assert waiting.poll_after >= 60
    assert set(waiting.certificates.values()) == {"create_in_progress"}
    for domain in service.spec.domain_names:
        assert f".{domain} CNAME _" in waiting.message
    assert account.config(service)["Aliases"]["Quantity"] == 0
    assert provider.ensure(service, known).provider_service_id == waiting.provider_service_id

    moto.validate("ISSUED")
    done = settle(provider, service, known)

    assert set(done.certificates.values()) == {"deployed"}
    assert done.message == ""
    assert set(account.config(service)["Aliases"]["Items"]) == service.spec.domain_names


def test_kept_domains_are_served_while_an_added_one_waits(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    service = rich_service()
    known = known_from(settle(provider, service))
    moto.validate("PENDING_VALIDATION")

    for _ in range(3):
        assert provider.ensure(changed(service), known).in_progress

    assert account.config(service)["Aliases"]["Items"] == ["www.rich.example.com"]
    assert len(account.certificates(service)) == 2
    moto.validate("ISSUED")
    settle(provider, changed(service), known)
    assert account.names(service) == [changed(service).spec.domain_names]


def test_a_certificate_that_fails_is_told_and_asked_for_anew(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    moto.validate("FAILED")
    service = rich_service()

    with pytest.raises(PermanentError, match=r"certificate for .*www\.rich.* failed"):
        for _ in range(3):
            provider.ensure(service, None)
    moto.validate("ISSUED")

    assert settle(provider, service).certificates["www.rich.example.com"] == "deployed"
    assert account.count(service) == (1, 1, 1)


def test_plain_http_needs_a_certificate_too(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = make_service(domains=["www.plain.example.com"])

    deployment = settle(provider, service)

    assert deployment.certificates == {}
    assert account.names(service) == [{"www.plain.example.com"}]


def test_shared_domains_have_the_operators_certificate(moto: Moto, account: Account) -> None:
    arn = account.acm.request_certificate(DomainName="*.scdn0.secure.example.net")
    provider = make_provider(moto, certificate_arn=arn["CertificateArn"])
    domains = (Domain("shop.scdn0.secure.example.net", "https", "shared"),)
    service = make_service(spec=make_spec(domains=[]))
    service = replace(service, spec=replace(service.spec, domains=domains))

    settle(provider, service)

    assert Capability.SHARED_CERTIFICATE in provider.supports
    assert account.certificates(service) == []
    viewer = account.config(service)["ViewerCertificate"]
    assert viewer["ACMCertificateArn"] == arn["CertificateArn"]
    take_away(provider, service)
    account.acm.describe_certificate(CertificateArn=arn["CertificateArn"])

    elsewhere = (Domain("shop.scdn1.secure.example.net", "https", "shared"),)
    with pytest.raises(PermanentError, match=r"shop\.scdn1"):
        provider.ensure(replace(service, spec=replace(service.spec, domains=elsewhere)), None)


def test_a_certificate_can_be_ordered_ahead(
    moto: Moto, provider: CloudFrontProvider, account: Account
) -> None:
    order = Certificate("42", "www.ahead.example.com", "san", "standard")
    moto.validate("PENDING_VALIDATION")

    pending = provider.ensure_certificate(order, None)
    again = provider.ensure_certificate(order, None)

    assert pending == again
    assert (pending.status, pending.in_progress) == ("create_in_progress", True)
    (record,) = pending.details["validation"]  # type: ignore[misc, str-unpack]
    assert record["name"].endswith(".www.ahead.example.com")  # type: ignore[index]
    moto.validate("ISSUED")
    assert provider.ensure_certificate(order, pending).status == "deployed"
    provider.remove_certificate(order, pending)
    provider.remove_certificate(order, None)
    assert account.acm.list_certificates()["CertificateSummaryList"] == []


# --- refusals, purges, statistics ------------------------------------------------------------


def test_a_domain_of_another_distribution_is_refused_in_words(
    provider: CloudFrontProvider,
) -> None:
    settle(provider, make_service(domains=["www.taken.example.com"]))

    with pytest.raises(PermanentError, match="CNAMEs are already"):
        settle(provider, make_service(domains=["www.taken.example.com"]))


def test_a_refused_change_leaves_what_serves(
    provider: CloudFrontProvider, account: Account
) -> None:
    settle(provider, make_service(domains=["www.taken.example.com"]))
    service = rich_service()
    known = known_from(settle(provider, service))
    before = account.config(service)
    spec = replace(changed(service).spec, domains=(Domain("www.taken.example.com"),))

    with pytest.raises(PermanentError):
        settle(provider, replace(service, spec=spec), known)

    assert account.config(service) == before
    assert settle(provider, service, known).access_urls
    assert account.count(service) == (1, 1, 1)


@pytest.mark.parametrize(
    ("url", "paths"),
    [
        (None, ["/*"]),
        ("/a", ["/a", "/a?*"]),
        ("/a?q=1", ["/a?q=1"]),
        ("/dir/*", ["/dir/*"]),
        ("/dir/*.jpg", ["/dir/*"]),
    ],
)
def test_a_purge_names_paths_as_cloudfront_knows_them(
    provider: CloudFrontProvider, account: Account, url: str | None, paths: list[str]
) -> None:
    service = make_service()
    known = known_from(settle(provider, service))

    provider.purge(service, known, Purge(url, True))

    listed = account.cloudfront.list_invalidations(DistributionId=known.provider_service_id)
    (found,) = listed["InvalidationList"]["Items"]
    answer = account.cloudfront.get_invalidation(
        DistributionId=known.provider_service_id, Id=found["Id"]
    )
    assert answer["Invalidation"]["InvalidationBatch"]["Paths"]["Items"] == paths


def test_statistics_come_from_cloudwatch(moto: Moto, provider: CloudFrontProvider) -> None:
    service = make_service(domains=["www.counted.example.com"])
    known = known_from(settle(provider, service))
    now = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)
    start = now.replace(minute=0) - datetime.timedelta(hours=3)
    dimensions = [
        {"Name": "DistributionId", "Value": known.provider_service_id},
        {"Name": "Region", "Value": "Global"},
    ]
    data = [("Requests", 200, 0), ("Requests", 40, 5), ("4xxErrorRate", 25.0, 0)]
    moto.client("cloudwatch").put_metric_data(
        Namespace="AWS/CloudFront",
        MetricData=[
            {
                "MetricName": name,
                "Value": value,
                "Timestamp": start + datetime.timedelta(minutes=minute),
                "Dimensions": dimensions,
            }
            for name, value, minute in data
        ],
    )

    def ask(metric: Metric) -> object:
        query = Query("www.counted.example.com", metric, start, now)
        return [tuple(point) for point in provider.metrics(service, known, query)["Global"]]

    later = start + datetime.timedelta(minutes=5)
    assert ask(Metric.REQUEST_COUNT) == [Point(start, 200), Point(later, 40)]
    assert ask(Metric.RESPONSES_4XX) == [Point(start, 50), Point(later, 0)]
    assert ask(Metric.BANDWIDTH_OUT) == []
    with pytest.raises(PermanentError, match="does not count"):
        ask(Metric.RESPONSES_2XX)


def test_statistics_of_one_domain_of_several_are_not_made_up(
    provider: CloudFrontProvider,
) -> None:
    service = rich_service()
    moment = datetime.datetime.now(datetime.UTC)
    with pytest.raises(PermanentError, match="one by one"):
        provider.metrics(
            service,
            ProviderDetail(ProviderStatus.DEPLOYED),
            Query("www.rich.example.com", Metric.REQUEST_COUNT, moment, moment),
        )


def test_half_of_a_key_is_refused_at_start(moto: Moto) -> None:
    with pytest.raises(ConfigError, match="go together"):
        make_provider(moto, secret_access_key=None)
