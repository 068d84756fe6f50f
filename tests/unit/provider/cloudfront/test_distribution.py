# SPDX-License-Identifier: Apache-2.0
"""Services compiled to CloudFront distributions."""

import copy
from dataclasses import replace
from typing import Any, Literal

import pytest

from poppy.common.errors import PermanentError
from poppy.model.document.delivery import Delivery
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
)
from poppy.provider.cloudfront.distribution import Settings, Viewer, config, plan
from poppy.provider.cloudfront.merging import Config, complete, holds, items, merge
from poppy.testing.builders import make_spec

ARN = "arn:aws:acm:us-east-1:1:certificate/c"


def make(viewer: Viewer | None = None, settings: Settings | None = None, **changes: Any) -> Config:
    compiled = plan(make_spec(["www.a.example.com"], **changes))
    return config(compiled, viewer or Viewer(), (), settings or Settings())


def restricted(access: str, *rules: Rule) -> tuple[Restriction, ...]:
    return (Restriction("r", access, rules),)


def test_origin_settings() -> None:
    made = make(
        origins=(
            Origin("a.example.com", 80, False, rules=(Rule("default", "/*"),)),
            Origin("b.example.com", 443, True, rules=(Rule("b", "/b"),)),
            Origin("c.example.com", 443, False, rules=(Rule("c", "/c"),)),
        )
    )

    custom = {o["DomainName"]: o["CustomOriginConfig"] for o in made["Origins"]["Items"]}
    assert {
        name: (c["OriginProtocolPolicy"], c["HTTPPort"], c["HTTPSPort"])
        for name, c in custom.items()
    } == {
        "a.example.com": ("http-only", 80, 443),
        "b.example.com": ("https-only", 80, 443),
        "c.example.com": ("http-only", 443, 443),
    }
    ids = {o["DomainName"]: o["Id"] for o in made["Origins"]["Items"]}
    assert made["CacheBehaviors"] == {"Quantity": 0}
    assert made["DefaultCacheBehavior"]["TargetOriginId"] == ids["a.example.com"]


@pytest.mark.parametrize(
    ("kind", "is_forwarded"), [("domain", True), ("origin", False), ("custom", False)]
)
def test_the_host_header_is_forwarded_if_requested(kind: str, is_forwarded: bool) -> None:
    made = make(origins=(Origin("a.example.com", 80, False, kind, "host.example.org"),))

    headers = made["DefaultCacheBehavior"]["ForwardedValues"]["Headers"]["Items"]
    assert ("Host" in headers) == is_forwarded
    assert {"Authorization", "Origin"} <= set(headers)


def test_private_responses_are_not_cached() -> None:
    made = make(caching=(Caching("c", 3600, (Rule("r", "/*"),)),))

    default = made["DefaultCacheBehavior"]
    assert (default["MinTTL"], default["DefaultTTL"], default["MaxTTL"]) == (0, 3600, 3600)
    unsaid = make()["DefaultCacheBehavior"]
    assert (unsaid["MinTTL"], unsaid["DefaultTTL"], unsaid["MaxTTL"]) == (0, 120, 31536000)


def test_cookies_edges_and_tls_are_configurable() -> None:
    settings = Settings("PriceClass_100", True, "TLSv1.3_2025")
    made = make(Viewer(("www.a.example.com",), ARN), settings)

    assert made["PriceClass"] == "PriceClass_100"
    assert made["DefaultCacheBehavior"]["ForwardedValues"]["Cookies"] == {"Forward": "none"}
    assert made["ViewerCertificate"] == {
        "ACMCertificateArn": ARN,
        "SSLSupportMethod": "sni-only",
        "MinimumProtocolVersion": "TLSv1.3_2025",
    }
    assert make()["DefaultCacheBehavior"]["ForwardedValues"]["Cookies"] == {"Forward": "all"}
    assert make()["ViewerCertificate"] == {"CloudFrontDefaultCertificate": True}


@pytest.mark.parametrize(
    ("restrictions", "kind", "codes"),
    [
        (restricted("whitelist", Rule("r", geography="Germany")), "whitelist", ["DE"]),
        (restricted("blacklist", Rule("r", "/*", geography="us")), "blacklist", ["US"]),
        (
            restricted("whitelist", Rule("r", geography="DE"), Rule("s", geography="FR"))
            + restricted("blacklist", Rule("t", geography="FR")),
            "whitelist",
            ["DE"],
        ),
        ((), "none", []),
    ],
)
def test_countries_for_every_path_use_the_geographic_restriction(
    restrictions: tuple[Restriction, ...], kind: str, codes: list[str]
) -> None:
    compiled = plan(make_spec(restrictions=restrictions))
    made = config(compiled, Viewer(), (), Settings())

    assert made["Restrictions"]["GeoRestriction"] == {"RestrictionType": kind, **items(codes)}
    assert compiled.is_shared
    assert compiled.codes[0] == plan(make_spec()).codes[0], "nothing of the service is in it"


def test_countries_for_some_paths_use_the_function() -> None:
    compiled = plan(
        make_spec(
            restrictions=restricted(
                "whitelist", Rule("r", "/de/*", geography="DE"), Rule("s", geography="US")
            )
        )
    )
    made = config(compiled, Viewer(), ["arn:function"], Settings())

    assert made["Restrictions"]["GeoRestriction"]["RestrictionType"] == "none"
    default = made["DefaultCacheBehavior"]
    assert "CloudFront-Viewer-Country" in default["ForwardedValues"]["Headers"]["Items"]
    assert default["FunctionAssociations"]["Items"] == [
        {"FunctionARN": "arn:function", "EventType": "viewer-request"}
    ]


@pytest.mark.parametrize(
    ("changes", "offender"),
    [
        ({"origins": (Origin("192.0.2.1"),)}, "192.0.2.1"),
        ({"origins": (Origin("2001:db8::1"),)}, "2001:db8::1"),
        ({"origins": (Origin("a.example", 80, False, "custom", "192.0.2.7"),)}, "192.0.2.7"),
        (
            {
                "origins": (
                    Origin("a.example"),
                    Origin(
                        "b.example",
                        rules=tuple(Rule("r", f"/{n}/{'a' * 100}") for n in range(90)),
                    ),
                )
            },
            "function for requests.*10240",
        ),
        ({"caching": (Caching("c", 1, (Rule("the rule", "/a?b"),)),)}, "the rule"),
        ({"restrictions": restricted("whitelist", Rule("g", geography="Atlantis"))}, "Atlantis"),
        ({"restrictions": restricted("whitelist", Rule("c", client_ip="nobody"))}, "nobody"),
        ({"restrictions": restricted("whitelist", Rule("q", "/a?b", "x.example"))}, "'q'"),
        (
            {
                "restrictions": restricted("whitelist", Rule("g", geography="DE"))
                + restricted("blacklist", Rule("h", geography="Europe"))
            },
            "no country",
        ),
        (
            {
                "restrictions": restricted(
                    "blacklist", *(Rule("r", f"/{n}/*", f"{n}.example.com") for n in range(300))
                )
            },
            "10240",
        ),
        (
            {
                "domains": (
                    Domain("a.scdn.example.net", "https", "shared"),
                    Domain("www.a.example.com", "https", "san"),
                )
            },
            "shared and other domains",
        ),
    ],
)
def test_unsupported_values_are_refused_by_name(changes: dict[str, Any], offender: str) -> None:
    with pytest.raises(PermanentError, match=offender):
        plan(replace(make_spec(), **changes))


def test_document_of_a_certificate_order_has_no_origins() -> None:
    assert plan(make_spec(origins=())).is_shared


def test_a_configuration_holds_what_is_wanted_in_another_order() -> None:
    wanted = make(
        Viewer(("www.a.example.com", "www.b.example.com"), ARN),
        restrictions=restricted("whitelist", Rule("r", geography="DE"), Rule("s", geography="FR")),
        caching=(Caching("c", 1, (Rule("r", "/a"),)), Caching("d", 2, (Rule("r", "/bc"),))),
        origins=(Origin("a.example.com"), Origin("b.example.com", rules=(Rule("b", "/b"),))),
    )
    existing = copy.deepcopy(wanted)
    for entry in (
        existing["Aliases"],
        existing["Origins"],
        existing["DefaultCacheBehavior"]["AllowedMethods"],
        existing["DefaultCacheBehavior"]["ForwardedValues"]["Headers"],
        existing["Restrictions"]["GeoRestriction"],
    ):
        entry["Items"].reverse()
    existing["HttpVersion"] = "HTTP2AND3"
    existing["ViewerCertificate"] |= {"CloudFrontDefaultCertificate": False, "Certificate": ARN}
    existing["Origins"]["Items"][0]["OriginShield"] = {"Enabled": True}
    existing["CacheBehaviors"]["Items"][1]["SmoothStreaming"] = True

    assert holds(existing, wanted)
    existing["CacheBehaviors"]["Items"].reverse()
    assert not holds(existing, wanted)


@pytest.mark.parametrize(
    "path",
    [
        ("Enabled",),
        ("PriceClass",),
        ("HttpVersion",),
        ("Aliases", "Items"),
        ("Origins", "Items", 0, "CustomOriginConfig", "HTTPPort"),
        ("DefaultCacheBehavior", "MaxTTL"),
        ("DefaultCacheBehavior", "AllowedMethods", "CachedMethods", "Items"),
        ("DefaultCacheBehavior", "ForwardedValues", "Cookies", "Forward"),
        ("CacheBehaviors", "Items", 0, "TargetOriginId"),
        ("ViewerCertificate", "ACMCertificateArn"),
        ("Restrictions", "GeoRestriction", "RestrictionType"),
    ],
)
def test_every_wanted_value_is_compared(path: tuple[Any, ...]) -> None:
    wanted = make(
        Viewer(("www.a.example.com",), ARN), caching=(Caching("c", 1, (Rule("r", "/a"),)),)
    )
    for other in (None, [], "other"):
        existing = copy.deepcopy(wanted)
        part = existing
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = other
        assert not holds(existing, wanted), other


def test_an_update_keeps_unmanaged_settings() -> None:
    spec: dict[str, Any] = {
        "origins": (
            Origin("a.example.com", rules=(Rule("a", "/*"),)),
            Origin("b.example.com", rules=(Rule("b", "/b"),)),
        )
    }
    existing = make(**spec)
    existing |= {"WebACLId": "acl", "Logging": {"Enabled": True}, "CallerReference": "s"}
    existing["Origins"]["Items"][1]["OriginShield"] = {"Enabled": True}
    existing["DefaultCacheBehavior"]["LambdaFunctionAssociations"] = items(["mine"])
    existing["ViewerCertificate"] = {"CloudFrontDefaultCertificate": True, "Certificate": "old"}
    wanted = make(
        Viewer(("www.a.example.com",), ARN),
        origins=(replace(spec["origins"][1], rules=(Rule("b", "/*"),)),),
    )

    merged = merge(wanted, existing)

    assert merged["WebACLId"] == "acl"
    assert merged["Logging"] == {"Enabled": True}
    assert merged["CallerReference"] == "s"
    (origin,) = merged["Origins"]["Items"]
    assert (origin["DomainName"], origin["OriginShield"]) == ("b.example.com", {"Enabled": True})
    assert merged["DefaultCacheBehavior"]["LambdaFunctionAssociations"] == items(["mine"])
    assert merged["ViewerCertificate"] == wanted["ViewerCertificate"]
    assert merged["CacheBehaviors"] == {"Quantity": 0}
    methods = merged["DefaultCacheBehavior"]["AllowedMethods"]
    assert methods["CachedMethods"] == items(["GET", "HEAD"])


def test_merging_keeps_error_pages_of_the_operator() -> None:
    page = {"ErrorCode": 503, "ResponsePagePath": "/sorry.html", "ResponseCode": "503"}
    existing = {**make(), "CustomErrorResponses": items([{**page, "ErrorCachingMinTTL": 60}])}

    merged = merge(make(), existing)["CustomErrorResponses"]["Items"]

    assert {**page, "ErrorCachingMinTTL": 0} in merged
    assert {entry["ErrorCode"] for entry in merged} >= {400, 403, 500, 502, 503, 504}


def test_merging_the_same_configuration_changes_nothing() -> None:
    existing = make(Viewer(("www.a.example.com",), ARN))

    assert merge(make(Viewer(("www.a.example.com",), ARN)), existing) == existing


def test_a_complete_configuration_has_defaults_only_where_nothing_is_set() -> None:
    existing = make(
        origins=(
            Origin("a.example.com", rules=(Rule("a", "/*"),)),
            Origin("b.example.com", rules=(Rule("b", "/b"),)),
        ),
        caching=(Caching("c", 1, (Rule("r", "/c"),)),),
    )
    first, second = existing["Origins"]["Items"]
    first |= {"ConnectionAttempts": 1, "OriginShield": {"Enabled": True, "Region": "eu-west-1"}}
    first["CustomOriginConfig"]["OriginReadTimeout"] = 60
    existing["DefaultCacheBehavior"]["FieldLevelEncryptionId"] = "mine"
    existing["Logging"] = {"Enabled": True, "Bucket": "mine"}

    found = complete(existing)

    one, other = found["Origins"]["Items"]
    assert (one["ConnectionAttempts"], other["ConnectionAttempts"]) == (1, 3)
    assert one["OriginShield"]["Region"] == "eu-west-1"
    assert one["CustomOriginConfig"] == {
        **first["CustomOriginConfig"],
        "OriginReadTimeout": 60,
        "OriginKeepaliveTimeout": 5,
    }
    assert other["CustomOriginConfig"] == {
        **second["CustomOriginConfig"],
        "OriginReadTimeout": 30,
        "OriginKeepaliveTimeout": 5,
    }
    assert found["DefaultCacheBehavior"]["FieldLevelEncryptionId"] == "mine"
    for behaviour in found["CacheBehaviors"]["Items"]:
        assert behaviour["FieldLevelEncryptionId"] == ""
        assert behaviour["SmoothStreaming"] is False
        assert behaviour["LambdaFunctionAssociations"] == {"Quantity": 0}
        assert behaviour["ForwardedValues"]["QueryStringCacheKeys"] == {"Quantity": 0}
    logging = {"Enabled": True, "IncludeCookies": False, "Bucket": "mine", "Prefix": ""}
    assert found["Logging"] == logging
    assert found["WebACLId"] == ""
    assert complete(found) == found


def test_a_redirect_to_https_is_a_policy_of_all_behaviours() -> None:
    caching = (Caching("c", 60, (Rule("c", "/c/*"),)),)
    made = make(caching=caching, delivery=Delivery(https_redirect=True))

    behaviours = [made["DefaultCacheBehavior"], *made["CacheBehaviors"]["Items"]]
    assert {it["ViewerProtocolPolicy"] for it in behaviours} == {"redirect-to-https"}
    assert make()["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "allow-all"


def test_another_redirect_to_https_is_a_step_of_the_function() -> None:
    spec = make_spec(delivery=Delivery(https_redirect=True, redirect_status=308))
    made = config(plan(spec), Viewer(), ("arn",), Settings())["DefaultCacheBehavior"]

    assert made["ViewerProtocolPolicy"] == "allow-all"
    assert "CloudFront-Forwarded-Proto" in made["ForwardedValues"]["Headers"]["Items"]
    assert "var UPGRADE = 308;" in plan(spec).codes[0]


@pytest.mark.parametrize(
    ("wanted", "operators", "policy"),
    [
        (None, "TLSv1", "TLSv1"),
        ("1.2", "TLSv1", "TLSv1.2_2021"),
        ("1.2", "TLSv1.2_2019", "TLSv1.2_2019"),
        ("1.2", "TLSv1.3_2025", "TLSv1.3_2025"),
        ("1.3", "TLSv1.2_2021", "TLSv1.3_2025"),
    ],
)
def test_the_oldest_tls_is_that_of_the_service_or_a_newer_one(
    wanted: Literal["1.2", "1.3"] | None, operators: str, policy: str
) -> None:
    viewer, settings = Viewer((), ARN), Settings(minimum_protocol_version=operators)
    made = make(viewer, settings, delivery=Delivery(min_tls=wanted))

    assert made["ViewerCertificate"]["MinimumProtocolVersion"] == policy


def test_http_3_and_compression_can_be_turned_off() -> None:
    made = make(delivery=Delivery(http3=False, compression="off"))

    assert (made["HttpVersion"], made["DefaultCacheBehavior"]["Compress"]) == ("http2", False)
    made = make(delivery=Delivery(http3=True))
    assert (made["HttpVersion"], made["DefaultCacheBehavior"]["Compress"]) == ("http2and3", True)
