# SPDX-License-Identifier: Apache-2.0
"""The provider ``cloudfront``: contract, service lifecycle, purges and statistics."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import base64
import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from poppy.common import vault
from poppy.common.errors import (
    ConfigError,
    InProgressError,
    PermanentError,
    RetryableError,
    Unauthorized,
)
from poppy.model.dns_records import Purpose, RecordType
from poppy.model.document.cors import CORS
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.document.waf import WAF
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.secrets import Secret, purpose
from poppy.model.services import Service
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.base import Capability, Metric, Point, Provider, Query
from poppy.provider.cloudfront import paths
from poppy.provider.cloudfront.driver import CloudFrontProvider
from poppy.provider.cloudfront.merging import items
from poppy.testing.builders import make_service, make_spec
from poppy.testing.provider import ProviderContract, known_from
from tests.real.cloudfront import (  # noqa: F401
    BUCKET,
    Account,
    Shaken,
    account,
    changed,
    make_provider,
    moto,
    one_account,
    one_provider,
    one_shaken,
    provider,
    rich_service,
    server,
    settle,
    shaken,
    take_away,
    with_caching,
)
from tests.real.moto import Moto
from tests.real.node import run_function

pytestmark = pytest.mark.real

_ACL = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/shop/5e0c93d1"


class TestContract(ProviderContract):
    @pytest.fixture
    def provider(
        self, provider: CloudFrontProvider, account: Account, moto: Moto
    ) -> CloudFrontProvider:
        self.account, self.moto = account, moto
        return provider

    def log_places(self, provider: Provider, service: Service) -> set[str]:
        arns = self.account.log_arns(service)
        return {f"https://s3.amazonaws.com/{arn.removeprefix('arn:aws:s3:::')}/" for arn in arns}

    def test_log_delivery_is_turned_on_changed_and_turned_off(self, provider: Provider) -> None:
        self.account.make_bucket()
        delivering = make_provider(self.moto, log_bucket=BUCKET)
        super().test_log_delivery_is_turned_on_changed_and_turned_off(delivering)

    def stranger(self, provider: Provider) -> Provider:
        self.moto.check_keys(True)
        return provider

    def forwarded(
        self, provider: Provider, service: Service, fields: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Return the fields that the distribution's viewer-request function leaves."""
        headers = {name.lower(): {"value": value} for name, value in fields.items()}
        request = {"method": "GET", "uri": "/", "querystring": {}, "headers": headers}
        event = {"viewer": {"ip": "192.0.2.1"}, "request": request}
        (answer,) = run_function(self.account.code(service), [event])
        return {name: it["value"] for name, it in answer["result"]["headers"].items()}

    def objects(self, provider: Provider, service: Service) -> list[str]:
        return self.account.distributions(service)


def test_service_lifecycle(provider: CloudFrontProvider, account: Account) -> None:
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
    ] == [("/cart/*", 0, 0, 0), ("/*.jpg", 60, 60, 0)]
    assert len(made["Origins"]["Items"]) == 2
    geography = made["Restrictions"]["GeoRestriction"]
    assert (geography["RestrictionType"], {*geography["Items"]}) == ("whitelist", {"DE", "FR"})
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


def test_unchanged_service_is_only_read(shaken: Shaken) -> None:
    provider, proxy = shaken
    service = rich_service()
    known = known_from(settle(provider, service))
    proxy.restart()

    provider.ensure(service, known)

    # A POST to "/" may be any call of ACM or the tagging API.
    assert set(proxy.calls) <= {"POST /"} | {c for c in proxy.calls if c.startswith("GET ")}
    assert len(proxy.calls) <= 6


def test_settings_added_by_the_operator_are_kept(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = make_service()
    known = known_from(settle(provider, service))

    def add(config: dict[str, Any]) -> None:
        config |= {"WebACLId": _ACL, "HttpVersion": "http2"}
        shield = {"Enabled": True, "OriginShieldRegion": "eu-west-1"}
        config["Origins"]["Items"][0]["OriginShield"] = shield
        config["DefaultCacheBehavior"]["SmoothStreaming"] = True

    account.change(service, add)

    settle(provider, with_caching(service, 5), known)

    made = account.config(service)
    assert made["WebACLId"] == _ACL
    assert made["Origins"]["Items"][0]["OriginShield"]["Enabled"] is True
    assert made["DefaultCacheBehavior"]["SmoothStreaming"] is True
    assert made["DefaultCacheBehavior"]["DefaultTTL"] == 5
    assert made["HttpVersion"].lower() == "http2and3"


def _disable(config: dict[str, Any]) -> None:
    config["Enabled"] = False


def _change_ttl(config: dict[str, Any]) -> None:
    config["DefaultCacheBehavior"] |= {"DefaultTTL": 5, "MaxTTL": 5}


def _change_origin(config: dict[str, Any]) -> None:
    config["Origins"]["Items"][0]["DomainName"] = "other.example.com"


def _drop_behaviour(config: dict[str, Any]) -> None:
    behaviours = config["CacheBehaviors"]["Items"][1:]
    config["CacheBehaviors"] = {"Quantity": len(behaviours), "Items": behaviours}


def _reorder_behaviours(config: dict[str, Any]) -> None:
    config["CacheBehaviors"]["Items"].reverse()


def _drop_functions(config: dict[str, Any]) -> None:
    config["DefaultCacheBehavior"]["FunctionAssociations"] = {"Quantity": 0}


def _allow_everywhere(config: dict[str, Any]) -> None:
    nowhere = {"RestrictionType": "none", "Quantity": 0}
    config["Restrictions"]["GeoRestriction"] = nowhere


def _drop_alias(config: dict[str, Any]) -> None:
    aliases = config["Aliases"]["Items"][1:]
    config["Aliases"] = {"Quantity": len(aliases), "Items": aliases}


@pytest.mark.parametrize(
    "tamper",
    [
        _disable,
        _change_ttl,
        _change_origin,
        _drop_behaviour,
        _reorder_behaviours,
        _drop_functions,
        _allow_everywhere,
        _drop_alias,
    ],
)
def test_changes_behind_our_back_are_undone(
    provider: CloudFrontProvider, account: Account, tamper: Callable[[dict[str, Any]], None]
) -> None:
    service = rich_service()
    known = known_from(settle(provider, service))
    before = account.config(service)
    account.change(service, tamper)
    assert account.config(service) != before

    assert provider.ensure(service, known).in_progress

    settle(provider, service, known)
    assert account.config(service) == before


def test_settings_added_by_the_operator_are_no_difference(
    shaken: Shaken, account: Account
) -> None:
    provider, proxy = shaken
    service = rich_service()
    known = known_from(settle(provider, service))

    def add(config: dict[str, Any]) -> None:
        config["WebACLId"] = _ACL
        config["Origins"]["Items"][0]["ConnectionAttempts"] = 1
        config["DefaultCacheBehavior"]["SmoothStreaming"] = True

    account.change(service, add)
    settle(provider, service, known)
    proxy.restart()

    provider.ensure(service, known)

    assert not [call for call in proxy.calls if call.startswith("PUT ")]
    assert account.config(service)["WebACLId"] == _ACL


def test_distribution_of_an_earlier_version_is_found(
    provider: CloudFrontProvider, account: Account
) -> None:
    """Its comment ends with a digest."""
    service = make_service()
    settle(provider, service)
    comment = f"poppy {service.service_id} 0123456789abcdef"
    account.change(service, lambda config: config.update(Comment=comment))

    settle(provider, service)
    assert account.config(service)["Comment"] == f"poppy {service.service_id}"

    account.change(service, lambda config: config.update(Comment=comment))
    take_away(provider, service)
    assert account.count(service) == (0, 0, 0)


def test_origins_and_behaviours_can_be_added(
    provider: CloudFrontProvider, account: Account
) -> None:
    """Amazon refuses an update with an incomplete origin or behaviour."""
    service = make_service()
    known = known_from(settle(provider, service))
    images = Origin("images.example.com", 443, True, rules=(Rule("i", "/images/*"),))
    caching = (Caching("css", 60, (Rule("css", "/*.css"),)),)
    spec = replace(service.spec, origins=(*service.spec.origins, images), caching=caching)

    settle(provider, replace(service, spec=spec), known)

    made = account.config(service)
    added = {origin["DomainName"]: origin for origin in made["Origins"]["Items"]}[images.origin]
    assert (added["ConnectionAttempts"], added["ConnectionTimeout"]) == (3, 10)
    assert added["CustomOriginConfig"]["OriginReadTimeout"] == 30
    assert "/*.css" in {entry["PathPattern"] for entry in made["CacheBehaviors"]["Items"]}


def new_distribution(
    provider: CloudFrontProvider, account: Account
) -> tuple[dict[str, Any], Callable[[], Any]]:
    """Return the configuration of a new distribution, and a function that writes it."""
    known = known_from(settle(provider, make_service()))
    answer = account.cloudfront.get_distribution_config(Id=known.provider_service_id)
    whole: dict[str, Any] = answer["DistributionConfig"]
    return whole, lambda: account.cloudfront.update_distribution(
        Id=known.provider_service_id, IfMatch=answer["ETag"], DistributionConfig=whole
    )


def test_incomplete_update_is_refused_by_the_double(
    provider: CloudFrontProvider, account: Account
) -> None:
    whole, update = new_distribution(provider, account)
    (origin,) = whole["Origins"]["Items"]
    for part, field in (
        (whole, "DefaultRootObject"),
        (origin, "ConnectionTimeout"),
        (origin["CustomOriginConfig"], "OriginReadTimeout"),
        (whole["DefaultCacheBehavior"], "FieldLevelEncryptionId"),
    ):
        value = part.pop(field)
        with pytest.raises(ClientError, match=f"IllegalUpdate.*{field} is required"):
            update()
        part[field] = value


def test_the_double_limits_functions_and_headers(
    provider: CloudFrontProvider, account: Account
) -> None:
    whole, update = new_distribution(provider, account)
    behaviour = whole["DefaultCacheBehavior"]
    (function,) = behaviour["FunctionAssociations"]["Items"]
    behaviour["FunctionAssociations"] = items([function, function])
    with pytest.raises(ClientError, match="InvalidFunctionAssociation"):
        update()
    behaviour["FunctionAssociations"] = items([function])
    behaviour["ForwardedValues"]["Headers"] = items([f"X-{number}" for number in range(11)])
    with pytest.raises(ClientError, match="TooManyHeadersInForwardedValues"):
        update()


def test_the_double_checks_settings_of_origins(
    provider: CloudFrontProvider, account: Account
) -> None:
    whole, update = new_distribution(provider, account)
    (origin,) = whole["Origins"]["Items"]
    shield = {"Enabled": True, "OriginShieldRegion": "eu-north-1"}
    header = items([{"HeaderName": "X-Edge-A", "HeaderValue": "x"}])
    for field, value in (
        ("OriginPath", "/a/"),
        ("ConnectionTimeout", 11),
        ("OriginShield", shield),
        ("CustomHeaders", header),
    ):
        before = origin[field]
        origin[field] = value
        with pytest.raises(ClientError, match="InvalidArgument|InvalidOriginShieldRegion"):
            update()
        origin[field] = before


def test_settings_of_origins_come_and_go(moto: Moto, account: Account) -> None:
    provider = make_provider(moto, shield_region="eu-west-1")
    options: dict[str, Any] = {"path": "/site", "connect_timeout": 2, "shield": True}
    origins = (
        Origin("a.example.com", name="a", **options),
        Origin("b.example.com", backup_of="a"),
    )
    service = make_service(spec=make_spec(["www.origins.example.com"], origins=origins))
    known = known_from(settle(provider, service))

    main = account.config(service)["Origins"]["Items"][0]
    assert (main["OriginPath"], int(main["ConnectionTimeout"])) == ("/site", 2)
    assert main["OriginShield"]["OriginShieldRegion"] == "eu-west-1"

    spec = replace(service.spec, origins=(Origin("a.example.com"),))
    settle(provider, replace(service, spec=spec), known)

    (origin,) = account.config(service)["Origins"]["Items"]
    assert (origin["OriginPath"], int(origin["ConnectionTimeout"])) == ("", 10)


def test_pages_of_errors_come_and_go(provider: CloudFrontProvider, account: Account) -> None:
    plain = make_service(spec=make_spec(["www.pages.example.com"]))

    def pages(*statuses: int) -> dict[int, str]:
        entries = (ErrorPage("e", statuses, "/e"),) if statuses else None
        service = replace(plain, spec=replace(plain.spec, error_pages=entries))
        settle(provider, service)
        found = account.config(plain)["CustomErrorResponses"]["Items"]
        return {
            int(it["ErrorCode"]): it["ResponsePagePath"]
            for it in found
            if it.get("ResponsePagePath")
        }

    assert pages(404, 500) == {404: "/e", 500: "/e"}
    assert pages(404, 500) == {404: "/e", 500: "/e"}
    assert pages(404) == {404: "/e"}
    assert pages() == {}

    def add(config: dict[str, Any]) -> None:
        config["CustomErrorResponses"]["Items"][-1] |= {
            "ResponsePagePath": "/operator",
            "ResponseCode": "504",
        }

    account.change(plain, add)
    assert list(pages().values()) == ["/operator"]


def test_a_web_acl_comes_and_goes(provider: CloudFrontProvider, account: Account) -> None:
    acl = _ACL
    plain = make_service(spec=make_spec(["www.waf.example.com"]))
    service = replace(plain, spec=replace(plain.spec, waf=WAF(acl)))
    known = known_from(settle(provider, service))
    assert account.config(service)["WebACLId"] == acl
    # Found again without its ID.
    assert settle(provider, service).provider_service_id == known.provider_service_id

    settle(provider, plain, known)
    assert account.config(service)["WebACLId"] == ""

    def attach(config: dict[str, Any]) -> None:
        config["WebACLId"] = acl.replace("shop", "operator")

    account.change(service, attach)
    settle(provider, replace(plain, spec=replace(plain.spec, cors=CORS(("*",)))), known)
    assert "operator" in account.config(service)["WebACLId"]

    def break_(config: dict[str, Any]) -> None:
        config["WebACLId"] = "operator"

    with pytest.raises(ClientError, match="InvalidWebACLId"):
        account.change(service, break_)
    with pytest.raises(PermanentError, match=r"waf\.policy.*web ACL"):
        provider.check(replace(plain.spec, waf=WAF("policy-1")))


def test_functions_for_optional_fields_come_and_go(moto: Moto, account: Account) -> None:
    key = base64.b64encode(32 * b"k").decode()
    provider = make_provider(moto)
    provider.conf.set_override("encryption_keys", [key], group=vault.GROUP)
    service = make_service(spec=make_spec(["www.fields.example.com"]))
    secret = vault.Vault([key], vault.GROUP).seal(32 * b"s", purpose(service.service_id))
    keys = (SigningKey("k", Secret("00000000", secret)),)
    fields = {"cors": CORS(("*",)), "signed_urls": SignedURLs(keys)}

    rich = replace(service, spec=replace(service.spec, **fields))
    known = known_from(settle(provider, rich))

    assert len(account.functions(service)) == 2
    assert '"keys":{"k":"' + 32 * "s" in account.code(service)
    events = account.config(service)["DefaultCacheBehavior"]["FunctionAssociations"]["Items"]
    assert {it["EventType"] for it in events} == {"viewer-request", "viewer-response"}

    settle(provider, service, known)

    assert account.functions(service) == []
    assert "CORS" not in account.code(service)


def test_unknown_error_code_is_refused_by_the_double(
    provider: CloudFrontProvider, account: Account
) -> None:
    known = known_from(settle(provider, make_service()))
    answer = account.cloudfront.get_distribution_config(Id=known.provider_service_id)
    whole = answer["DistributionConfig"]
    whole["CustomErrorResponses"]["Items"][0]["ErrorCode"] = 418

    with pytest.raises(ClientError, match="InvalidErrorCode"):
        account.cloudfront.update_distribution(
            Id=known.provider_service_id, IfMatch=answer["ETag"], DistributionConfig=whole
        )


def test_concurrent_change_is_retryable(moto: Moto, account: Account) -> None:
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


def test_domain_of_another_distribution_is_moved_once_its_owner_agrees(
    provider: CloudFrontProvider, account: Account, moto: Moto
) -> None:
    domain, free = "www.taken.example.com", "free.example.com"
    holder = make_service(domains=[domain, "stays.example.com"])
    settle(provider, holder)
    service = make_service(domains=[domain, free])
    known = None
    for _ in range(3):
        waiting = provider.ensure(service, known)
        known = known_from(waiting)
    assert waiting.in_progress
    name = waiting.access_urls[domain]
    assert re.search(
        rf"{domain} belongs to the distribution \*+\w+ of the account \*+\d+: create the TXT "
        rf"record _{domain} with the value {name},",
        waiting.message,
    )
    wanted = (Purpose.OWNERSHIP, RecordType.TXT, f"_{domain}", name)
    assert wanted in [(it.purpose, it.type, it.name, it.value) for it in waiting.records]
    assert account.config(service)["Aliases"]["Items"] == [free]
    assert domain in account.config(holder)["Aliases"]["Items"]

    moto.publish({f"_{domain}": "d0000000000000.cloudfront.net"})
    assert provider.ensure(service, known).in_progress
    moto.publish({f"_{domain}": name})
    moved = settle(provider, service, known)
    assert set(account.config(service)["Aliases"]["Items"]) == {domain, free}
    assert account.config(holder)["Aliases"]["Items"] == ["stays.example.com"]
    assert (moved.message, {it.purpose for it in moved.records}) == ("", {Purpose.CERTIFICATE})


@pytest.mark.parametrize("call", ["ListConflictingAliases", "AssociateAlias"])
def test_missing_permission_to_move_a_domain_is_named_and_concerns_one_service(
    shaken: Shaken, account: Account, call: str
) -> None:
    provider, proxy = shaken
    settle(provider, make_service(domains=["www.taken.example.com"]))
    service = make_service(domains=["www.taken.example.com"])
    known = None
    for _ in range(3):
        proxy.restart()
        known = known_from(provider.ensure(service, known))
    path = {"ListConflictingAliases": "conflicting-alias", "AssociateAlias": "associate-alias"}
    (number,) = [n for n, called in enumerate(proxy.calls, 1) if path[call] in called]
    proxy.body = (
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
        b"<Message>not authorized to perform: cloudfront:%s</Message></Error></ErrorResponse>"
        % call.encode()
    )
    proxy.restart(lambda current: 403 if current == number else "ok")
    try:
        message = provider.ensure(service, known).message
    except PermanentError as exc:
        assert not isinstance(exc, Unauthorized)
        message = str(exc)
    assert f"cloudfront:{call}" in message


def test_domain_is_used_once_another_distribution_has_given_it_up(
    provider: CloudFrontProvider, account: Account
) -> None:
    holder = make_service(domains=["www.taken.example.com"])
    held = known_from(settle(provider, holder))
    service = make_service(domains=["www.taken.example.com"])
    known = None
    for _ in range(3):
        known = known_from(provider.ensure(service, known))
    take_away(provider, holder, held)
    settle(provider, service, known)
    assert account.config(service)["Aliases"]["Items"] == ["www.taken.example.com"]


def test_refused_change_leaves_the_distribution_unchanged(
    provider: CloudFrontProvider, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = rich_service()
    known = known_from(settle(provider, service))
    before = account.config(service)
    monkeypatch.setattr(paths, "MOST_BEHAVIOURS", 1000)
    many = tuple(Rule(f"r{n}", f"/{n}/*") for n in range(80))
    spec = replace(changed(service).spec, caching=(Caching("many", 5, many),))

    with pytest.raises(PermanentError):
        settle(provider, replace(service, spec=spec), known)

    assert account.config(service) == before
    assert settle(provider, service, known).access_urls
    assert account.count(service) == (1, 1, 1)


FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:poppy-origin-response:3"


def test_each_behaviour_uses_the_operators_function_for_responses(
    moto: Moto, account: Account
) -> None:
    service = rich_service()
    known = known_from(settle(make_provider(moto), service))
    settle(make_provider(moto, origin_response_function=FUNCTION), service, known)
    config = account.config(service)
    for behaviour in (config["DefaultCacheBehavior"], *config["CacheBehaviors"]["Items"]):
        assert behaviour["LambdaFunctionAssociations"]["Items"] == [
            {
                "LambdaFunctionARN": FUNCTION,
                "EventType": "origin-response",
                "IncludeBody": False,
            }
        ]
    settle(make_provider(moto), service, known)
    assert account.config(service) == config, "an operator may have added it by hand"


@pytest.mark.parametrize(
    "arn",
    [
        FUNCTION.rpartition(":")[0],
        FUNCTION.replace(":3", ":$LATEST"),
        FUNCTION.replace("us-east-1", "eu-central-1"),
    ],
)
def test_only_a_published_version_is_a_function_for_responses(
    moto: Moto, account: Account, provider: CloudFrontProvider, arn: str
) -> None:
    with pytest.raises(ValueError, match="regex"):
        make_provider(moto, origin_response_function=arn)
    service = make_service()
    settle(provider, service)

    def associate(config: dict[str, Any]) -> None:
        entry = {"LambdaFunctionARN": arn, "EventType": "origin-response", "IncludeBody": False}
        config["DefaultCacheBehavior"]["LambdaFunctionAssociations"] = items([entry])

    with pytest.raises(ClientError, match="InvalidLambdaFunctionAssociation"):
        account.change(service, associate)


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
def test_purge_paths_are_translated_for_cloudfront(
    provider: CloudFrontProvider, account: Account, url: str | None, paths: list[str]
) -> None:
    service = make_service()
    known = known_from(settle(provider, service))

    provider.purge(service, known, Purge(url, True))

    assert [found for _, found in account.invalidations(service)] == [paths]


def test_many_paths_keep_to_the_limit_on_wildcards(
    provider: CloudFrontProvider, account: Account
) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    urls = [f"/{number}" for number in range(40)]
    purge = Purge(urls[0], True, tuple(urls[1:]), reference="operation-0")

    for _ in range(2):
        with pytest.raises(InProgressError):
            provider.purge(service, known, purge)
    provider.purge(service, known, purge)

    found = sorted((len(paths), paths) for _, paths in account.invalidations(service))
    assert [size for size, _ in found] == [20, 30, 30]
    sent = {path for _, paths in found for path in paths}
    assert sent == {*urls, *(f"{url}?*" for url in urls)}
    more = {"Quantity": 16, "Items": [f"{url}*" for url in urls[:16]]}
    with pytest.raises(ClientError, match="TooManyInvalidationsInProgress"):
        account.cloudfront.create_invalidation(
            DistributionId=known.provider_service_id,
            InvalidationBatch={"CallerReference": "more", "Paths": more},
        )


def test_tags_and_prefixes_are_invalidated(moto: Moto, account: Account) -> None:
    service = make_service()
    tagging = make_provider(moto, cache_tag_header="Cache-Tag")
    known = known_from(settle(tagging, service))

    tagging.purge(service, known, Purge(None, True, tags=("blue", "red")))
    tagging.purge(service, known, Purge(None, True, prefix="/dir/"))

    found = [sorted(paths) for _, paths in account.invalidations(service)]
    assert sorted(found) == [["#blue", "#red"], ["/dir/*"]]


def test_purges_by_tag_need_the_option(moto: Moto, provider: CloudFrontProvider) -> None:
    service = make_service()
    known = known_from(settle(provider, service))
    assert Capability.PURGE_TAG not in provider.supports
    with pytest.raises(PermanentError, match="no CacheTagConfig"):
        provider.purge(service, known, Purge(None, True, tags=("blue",)))
    tagging = make_provider(moto, cache_tag_header="Cache-Tag")
    assert Capability.PURGE_TAG in tagging.supports
    settle(tagging, service, known)
    tagging.purge(service, known, Purge(None, True, tags=("blue",)))


def test_repeated_purge_is_one_invalidation(
    shaken: Shaken, provider: CloudFrontProvider, account: Account
) -> None:
    """The first call reaches Amazon, but its reply is lost."""
    service = make_service()
    known = known_from(settle(provider, service))
    purge = Purge("/a", True, reference="operation-0")
    shaken.proxy.restart(lambda number: "lost" if number == 2 else "ok")

    with pytest.raises(RetryableError):
        shaken.provider.purge(service, known, purge)
    shaken.proxy.restart()
    shaken.provider.purge(service, known, purge)

    assert len(account.invalidations(service)) == 1
    provider.purge(service, known, purge._replace(reference="operation-1"))
    assert [paths for _, paths in account.invalidations(service)] == 2 * [["/a", "/a?*"]]
    with pytest.raises(PermanentError, match="InvalidArgument"):
        provider.purge(service, known, purge._replace(url="/b"))


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
    for metric in (Metric.RESPONSES_2XX, Metric.CACHE_HITS):
        with pytest.raises(PermanentError, match="does not count"):
            ask(metric)


def test_statistics_of_one_of_several_domains_are_refused(
    provider: CloudFrontProvider,
) -> None:
    service = rich_service()
    moment = datetime.datetime.now(datetime.UTC)
    with pytest.raises(PermanentError, match="no separate counts"):
        provider.metrics(
            service,
            ProviderDetail(ProviderStatus.DEPLOYED),
            Query("www.rich.example.com", Metric.REQUEST_COUNT, moment, moment),
        )


def test_incomplete_access_key_is_refused_at_start(moto: Moto) -> None:
    with pytest.raises(ConfigError, match="go together"):
        make_provider(moto, secret_access_key=None)
