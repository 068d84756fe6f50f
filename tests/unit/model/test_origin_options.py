# SPDX-License-Identifier: Apache-2.0
"""The optional fields of origins in a service document."""

from typing import Any

import pytest

from poppy.model import validation
from poppy.model.secrets import Secret, secrets_of, with_secrets
from poppy.model.specs import ServiceSpec
from tests.unit.model.documents import MINIMAL, TTL, accepted, breaches, refusal, variant

SHOWN = {"set": True, "fingerprint": "01234567"}
AUTH = {
    "type": "s3",
    "region": "eu-central-1",
    "bucket": "films",
    "access_key": "AKIDEXAMPLE",
    "secret_key": SHOWN,
}
MAIN: dict[str, Any] = {
    "origin": "main.example.com",
    "port": 443,
    "ssl": True,
    "hostheadertype": "domain",
    "rules": [{"name": "default", "request_url": "/*"}],
    "name": "main",
    "path": "/site/",
    "connect_timeout": 2,
    "response_timeout": 300,
    "verify_name": "tls.example.com",
    "health_check": {"path": "/health?deep=1", "interval": 10, "timeout": 3, "status": [200, 204]},
    "shield": True,
    "secret_header": {"name": "X-Edge-Secret", "value": SHOWN},
}
BACKUP: dict[str, Any] = {
    "origin": "backup.example.com",
    "port": 80,
    "ssl": False,
    "hostheadertype": "origin",
    "rules": [],
    "backup_of": "main",
    "backup_status": [404, 503],
    "shield": "amsterdam-nl",
    "auth": AUTH,
}
ALL = {**MINIMAL, "origins": [MAIN, BACKUP]}


def others(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a document with a second backup."""
    return {**document, "origins": [*document["origins"], {**BACKUP, **changes}]}


def test_fields_are_returned_as_they_were_set() -> None:
    assert accepted(ALL).to_dict()["origins"] == [MAIN, BACKUP]


def test_an_origin_without_them_shows_none() -> None:
    (origin,) = accepted(MINIMAL).to_dict()["origins"]
    assert origin.keys() == {"origin", "port", "ssl", "hostheadertype", "rules"}


def test_defaults() -> None:
    main, backup = accepted(variant(ALL, "origins.1.backup_status")).origins
    assert (main.prefix, backup.prefix) == ("/site", "")
    assert backup.statuses == (500, 502, 503, 504)


def test_names_are_in_lower_case() -> None:
    document = variant(ALL, "origins.0.verify_name", "TLS.Example.com")
    assert accepted(document).origins[0].verify_name == "tls.example.com"


def test_a_signed_origin_gets_its_own_name_as_host() -> None:
    assert accepted(variant(ALL, "origins.1.hostheadertype")).origins[1].hostheadertype == "origin"


def test_secrets_are_stored_sealed_and_not_shown() -> None:
    text = variant(ALL, "origins.0.secret_header.value", "s3cret")
    text = variant(text, "origins.1.auth.secret_key", "s3cret")
    spec = validation.service(text, TTL)
    assert [it.text for it in secrets_of(spec)] == ["s3cret", "s3cret"]
    assert "s3cret" not in f"{spec!r} {spec.to_dict()!r}"
    sealed = with_secrets(spec, lambda _: Secret("01234567", "sealed"))
    stored = ServiceSpec.from_dict(sealed.to_dict(Secret.stored))
    assert [it.sealed for it in secrets_of(stored)] == ["sealed", "sealed"]
    assert stored == accepted(ALL)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("0.name", "a b", "[name]-'a b' has other characters than letters"),
        ("0.name", "", "[name]-'' is shorter than 1 character"),
        ("0.path", "/a b", "[path]-'/a b' has characters other than printable ASCII"),
        ("0.path", f"/{'a' * 512}", "[path]-"),
        ("0.connect_timeout", 0, "[connect_timeout]-0 is less than the minimum of 1"),
        ("0.connect_timeout", 61, "[connect_timeout]-61 is greater than the maximum of 60"),
        ("0.response_timeout", 301, "[response_timeout]-301 is greater than the maximum of 300"),
        ("0.response_timeout", 1.5, "[response_timeout]-1.5 is not of type 'integer'"),
        ("0.health_check", {}, "[health_check]-'path' is a required property"),
        ("0.health_check.interval", 3601, "[interval]-3601 is greater than the maximum of 3600"),
        ("0.health_check.status", [], "[status]-needs 1 entry or more, has 0"),
        ("0.health_check.status", [199], "[status][0]-199 is less than the minimum of 200"),
        ("1.backup_status", [200], "[backup_status][0]-200 is less than the minimum of 400"),
        ("1.backup_status", [*range(500, 521)], "[backup_status]-may have 20 entries or fewer"),
        ("0.shield", 1, "[shield]-1 is not valid under any of the given schemas"),
        ("0.secret_header.value", "s3cret é", "[value]-the value has characters other than"),
        ("0.secret_header.value", "s3cret" * 200, "[value]-the value is longer than 1024"),
        ("0.secret_header", "s3cret", "[secret_header]-the value is not of type 'object'"),
        ("1.auth.type", "s3cret", "[auth][type]-"),
        ("1.auth.secret_key", ["s3cret"], "[secret_key]-a list is not of type"),
        ("1.auth.bucket", "A_b", "[bucket]-the value is not lower-case letters"),
        ("1.auth.access_key", "a/b", "[access_key]-the value has other characters than"),
    ],
)
def test_the_schema_refuses_other_values(path: str, value: object, message: str) -> None:
    (found,) = breaches(variant(ALL, f"origins.{path}", value))
    assert message in found
    assert "s3cret" not in found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("0.path", "site", "origins[0] (main).path: no request can have the path 'site': it does"),
        ("0.path", "/a/%2e%2e/b", "origins[0] (main).path: no request can have the path"),
        (
            "0.path",
            "/a\\..",
            "(main).path: no request can have the path '/a\\\\..': it has a back",
        ),
        ("0.path", "/a?b=c", "origins[0] (main).path: it has a query"),
        ("0.health_check.path", "x", "(main).health_check.path: no request can have the path 'x'"),
        ("0.health_check.timeout", 11, "(main).health_check: the timeout is longer than the int"),
        (
            "0.verify_name",
            "tls",
            "origins[0] (main).verify_name: 'tls' is not a valid domain name",
        ),
        ("1.verify_name", "a.example.com", "backup.example.com has verify_name without ssl"),
        ("0.secret_header.name", "a:b", "(main).secret_header.name: it is not the name of a head"),
        ("0.secret_header.name", "HOST", "(main).secret_header.name: the field belongs to the ed"),
        ("0.secret_header.name", "x_forwarded_for", ".name: the field belongs to the edge"),
        ("1.backup_of", "gone", "origins[1].backup_of: no origin has the name 'gone'"),
        ("1.name", "main", "More than one origin has the name 'main'"),
        ("0.backup_of", "main", "main.example.com can't be a backup ('main'): the first origin"),
        ("1.rules", MAIN["rules"], "backup.example.com is a backup, so it can't have rules"),
        ("1.hostheadertype", "domain", "backup.example.com with auth needs the hostheadertype"),
    ],
)
def test_other_rules_name_the_origin(path: str, value: object, message: str) -> None:
    document = variant(ALL, f"origins.{path}", value)
    assert message in refusal(document)


def test_backup_status_needs_a_backup() -> None:
    document = variant(ALL, "origins.1.rules", [{"name": "r", "request_url": "/r/*"}])
    document = variant(document, "origins.1.backup_of")
    assert "origins[1].backup_status: it needs backup_of" in refusal(document)


def test_a_signed_origin_has_no_secret_header_that_the_signature_uses() -> None:
    header = {"name": "Authorization", "value": SHOWN}
    plain = variant(ALL, "origins.0.secret_header", header)
    accepted(plain)
    signed = variant(plain, "origins.0.auth", AUTH)
    signed = variant(signed, "origins.0.hostheadertype", "origin")
    assert "(main).secret_header.name: the field belongs" in refusal(signed)


def test_a_backup_stands_in_for_one_origin_that_is_no_backup() -> None:
    named = variant(ALL, "origins.1.name", "b")
    assert "can't be the backup of itself" in refusal(variant(named, "origins.1.backup_of", "b"))
    chain = others(named, origin="c.example.com", backup_of="b")
    assert "origin 'b' is a backup, which can't have one" in refusal(chain)
    cycle = variant(variant(chain, "origins.1.backup_of", "c"), "origins.2.name", "c")
    assert "origin 'c' is a backup" in refusal(cycle)
    two = others(ALL, origin="c.example.com")
    assert "origins[2].backup_of: origin 'main' has another backup" in refusal(two)
