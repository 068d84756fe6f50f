# SPDX-License-Identifier: Apache-2.0
"""The optional fields of origins at CloudFront."""

from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.origins import SecretHeader
from poppy.model.secrets import Secret
from poppy.model.specs import Origin
from poppy.provider.cloudfront.distribution import plan
from poppy.provider.cloudfront.merging import complete, items
from poppy.testing.builders import make_spec

SECRET = SecretHeader("X-Key", Secret("00000001", "s3cret"))


def made(*origins: Origin, region: str | None = None) -> list[Any]:
    compiled = plan(make_spec(origins=origins), lambda it: it.sealed, region)
    assert "s3cret" not in repr(compiled)
    found: list[Any] = compiled.origin_config["Items"]
    return found


def test_settings_of_an_origin() -> None:
    options: dict[str, Any] = {"connect_timeout": 2, "response_timeout": 20}
    (origin,) = made(
        Origin("a.example.com", path="/a/", shield="eu-west-1", secret_header=SECRET, **options)
    )

    assert origin["OriginPath"] == "/a"
    assert origin["ConnectionTimeout"] == 2
    assert origin["CustomOriginConfig"]["OriginReadTimeout"] == 20
    assert origin["OriginShield"] == {"Enabled": True, "OriginShieldRegion": "eu-west-1"}
    assert origin["CustomHeaders"] == items([{"HeaderName": "X-Key", "HeaderValue": "s3cret"}])


def test_an_origin_has_another_id_for_other_settings() -> None:
    ids = [
        made(Origin("a.example.com", **settings), region="us-east-1")[0]["Id"]
        for settings in (
            {},
            {"path": "/a"},
            {"connect_timeout": 2},
            {"response_timeout": 2},
            {"shield": True},
            {"secret_header": SECRET},
            {"secret_header": SecretHeader("X-Key", Secret("00000002", "other"))},
        )
    ]

    assert len(set(ids)) == len(ids)
    # Only these are of the same origin, because the function does the rest.
    assert made(Origin("a.example.com", verify_name="b.example.com"))[0]["Id"] == ids[0]


def test_the_operator_chooses_the_region_of_a_shield() -> None:
    (origin,) = made(Origin("a.example.com", shield=True), region="eu-west-1")
    assert origin["OriginShield"]["OriginShieldRegion"] == "eu-west-1"
    assert "OriginShield" not in made(Origin("a.example.com", shield=False))[0]


def test_settings_that_a_document_drops_become_the_defaults() -> None:
    compiled = plan(make_spec(origins=(Origin("a.example.com"),)))
    parts = {"Origins": compiled.origin_config, "CacheBehaviors": items([])}
    whole = complete({**parts, "DefaultCacheBehavior": {}})
    assert whole["Origins"]["Items"][0]["OriginPath"] == ""


REFUSED: dict[str, tuple[Origin, ...]] = {
    "'a': connect_timeout is 11": (Origin("a", connect_timeout=11),),
    "'a': response_timeout is 61": (Origin("a", response_timeout=61),),
    "'a': path": (Origin("a", path="/" + 255 * "a"),),
    "'a': .* no origin shield in 'eu-north-1'": (Origin("a", shield="eu-north-1"),),
    "'a': shield needs the name of a region": (Origin("a", shield=True),),
    "'a': .* header pragma": (
        Origin("a", secret_header=SecretHeader("Pragma", Secret("1", "x"))),
    ),
    "'b': .* backup_status 429": (
        Origin("a", name="a"),
        Origin("b", backup_of="a", backup_status=(429,)),
    ),
    "'b': .* same hostheadertype": (
        Origin("a", name="a"),
        Origin("b", hostheadertype="origin", backup_of="a"),
    ),
}


@pytest.mark.parametrize("offender", REFUSED)
def test_settings_that_cloudfront_does_not_have_are_refused_by_name(offender: str) -> None:
    with pytest.raises(PermanentError, match=f"Origin {offender}"):
        made(*REFUSED[offender])


def test_a_page_is_fetched_without_the_name_to_verify() -> None:
    origins = (Origin("a", 443, True, verify_name="b"),)
    with pytest.raises(PermanentError, match="error_pages '/e'.*TLS name 'b'"):
        plan(make_spec(origins=origins, error_pages=(ErrorPage("e", (404,), "/e"),)))
