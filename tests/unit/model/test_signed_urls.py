# SPDX-License-Identifier: Apache-2.0
"""``signed_urls`` of a service document, and its secrets."""

from typing import Any

import pytest

from poppy.model import validation
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.secrets import Secret, secrets_of, with_secrets
from poppy.model.specs import ServiceSpec
from tests.unit.model.documents import MINIMAL, TTL, accepted, breaches, refusal, variant

TEXT = "0123456789abcdef0123456789abcdef"
SHOWN = {"set": True, "fingerprint": "01234567"}
RULES = [{"name": "films", "request_url": "/films/*"}]
DOCUMENT: dict[str, Any] = {
    **MINIMAL,
    "signed_urls": {
        "keys": [{"id": "old", "secret": SHOWN}, {"id": "new", "secret": TEXT}],
        "rules": RULES,
        "query": "t",
    },
}
SEALED = Secret("01234567", "sealed")


def test_a_new_secret_is_not_shown() -> None:
    spec = validation.service(DOCUMENT, TTL)
    old, new = secrets_of(spec)
    assert (old, new.text) == (Secret("01234567"), TEXT)
    assert TEXT not in f"{spec!r} {spec.to_dict()!r}"


def test_a_stored_secret_is_shown_as_its_fingerprint_and_read_from_the_store() -> None:
    spec = with_secrets(validation.service(DOCUMENT, TTL), lambda _: SEALED)
    assert [key["secret"] for key in spec.to_dict()["signed_urls"]["keys"]] == [SHOWN, SHOWN]
    stored = ServiceSpec.from_dict(spec.to_dict(Secret.stored))
    assert stored == spec == accepted(spec.to_dict())
    assert [it.sealed for it in secrets_of(stored)] == ["sealed", "sealed"]
    assert "sealed" not in repr(spec)


def test_documents_are_equal_if_their_fingerprints_are() -> None:
    key = SigningKey("k", SEALED)
    again = SigningKey("k", Secret("01234567", "sealed again"))
    other = SigningKey("k", Secret("76543210", "sealed"))
    assert SignedURLs((key,)) == SignedURLs((again,)) != SignedURLs((other,))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("keys", [], "[signed_urls][keys]-needs 1 entry or more, has 0"),
        ("keys.1.secret", "s3cret", "[secret]-the value is shorter than 32 characters"),
        ("keys.1.secret", "s3cret" * 50, "[secret]-the value is longer than 256 characters"),
        ("keys.1.secret", "s3cret é" * 5, "[secret]-the value has characters other than"),
        ("keys.1.secret", ["s3cret"], "[secret]-a list is not of type 'string', 'object'"),
        ("keys.1.secret", {"set": True}, "[secret]-'fingerprint' is a required property"),
        ("keys.1.secret.fingerprint", "s3cret", "[fingerprint]-the value is not 8 hexadecimal"),
        ("keys.1", "s3cret", "[signed_urls][keys][1]-the value is not of type 'object'"),
        ("keys", {"id": "s3cret"}, "[signed_urls][keys]-an object is not of type 'array'"),
        ("keys.0.id", "a.b", "[id]-the value has other characters than letters"),
        ("query", "a b", "[signed_urls][query]-the value has other characters than"),
        (
            "rules",
            RULES * 101,
            "[signed_urls]-may have 100 rules or fewer in all entries together, has 101",
        ),
    ],
)
def test_the_schema_refuses_other_values_without_quoting_them(
    path: str, value: object, message: str
) -> None:
    document = variant(DOCUMENT, "signed_urls.keys.1.secret", dict(SHOWN))
    (found,) = breaches(variant(document, f"signed_urls.{path}", value))
    assert message in found
    assert "s3cret" not in found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("keys.1.id", "old", "signed_urls.keys has the id 'old' more than once"),
        ("rules.0.request_url", "films", "signed_urls.rules[0].request_url: it does not begin"),
        ("rules.0.request_url", "/films?a=*", "signed_urls.rules[0].request_url has a query"),
        ("rules", RULES * 2, "signed_urls.rules[1].request_url has the same path as"),
    ],
)
def test_other_rules_name_the_field(path: str, value: object, message: str) -> None:
    assert message in refusal(variant(DOCUMENT, f"signed_urls.{path}", value))
