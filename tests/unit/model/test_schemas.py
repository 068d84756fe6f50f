# SPDX-License-Identifier: Apache-2.0
"""Every field and bound of the request bodies: valid and invalid values."""

import json
from typing import Any

import jsonschema
import pytest

from poppy.extensions.akamai import schemas as akamai_schemas
from poppy.model import admin_schemas, edge_schemas, schemas
from tests.unit.model.documents import (
    FULL,
    MINIMAL,
    accepted,
    breaches,
    variant,
)

ALL = {"SERVICE": schemas.SERVICE, "FLAVOR": schemas.FLAVOR, "PATCH": schemas.PATCH}

RULE = {"name": "r", "request_url": "/r"}
WITH_RULE = variant(FULL, "origins.0.rules", [RULE])
OPERATORS = {
    name: value
    for module in (admin_schemas, akamai_schemas, edge_schemas)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, dict) and name != "JOBS"
} | akamai_schemas.JOBS


@pytest.mark.parametrize("name", ALL)
def test_a_schema_is_valid_draft_2020_12_and_fits_in_utf8(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(ALL[name])
    assert json.loads(json.dumps(ALL[name], ensure_ascii=False).encode()) == ALL[name]


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_schema_is_valid_draft_2020_12(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(OPERATORS[name])


def _fields(schema: Any) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, field in schema.get("properties", {}).items():
        found += [(name, field), *_fields(field)]
    if "items" in schema:
        items = schema["items"]
        found += _fields(items) if "properties" in items else [("items", items)]
    return found


@pytest.mark.parametrize("name", ALL)
def test_every_field_is_described_for_the_api_documentation(name: str) -> None:
    fields = _fields(ALL[name])
    assert len(fields) >= 4
    assert [key for key, field in fields if not ("description" in field or "title" in field)] == []


def test_every_pattern_has_an_error_message() -> None:
    patterns = {
        field["pattern"]
        for schema in (*ALL.values(), *OPERATORS.values())
        for _, field in _fields(schema)
        if "pattern" in field
    }
    assert patterns == set(schemas.PATTERNS)


def test_the_smallest_and_a_full_service_are_accepted() -> None:
    accepted(MINIMAL)
    accepted(FULL)


@pytest.mark.parametrize("field", ["name", "flavor_id", "domains", "origins"])
def test_a_service_needs_its_required_fields(field: str) -> None:
    assert breaches(variant(MINIMAL, field)) == (f"[document]-'{field}' is a required property",)


@pytest.mark.parametrize("field", ["caching", "restrictions", "log_delivery"])
def test_optional_fields_may_be_missing(field: str) -> None:
    accepted(variant(FULL, field))


@pytest.mark.parametrize(
    "path",
    [
        "domains.0.domain",
        "origins.0.origin",
        "origins.1.rules.0.name",
        "origins.1.rules.0.request_url",
        "caching.1.name",
        "caching.1.ttl",
        "caching.1.rules.0.name",
        "caching.1.rules.0.request_url",
        "restrictions.0.name",
        "restrictions.0.rules",
        "restrictions.0.rules.0.name",
    ],
)
def test_an_entry_needs_its_required_fields(path: str) -> None:
    parent, _, field = path.rpartition(".")
    where = "".join(f"[{part}]" for part in parent.split("."))
    assert breaches(variant(FULL, path)) == (f"{where}-'{field}' is a required property",)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "domains.0.",
        "origins.1.",
        "origins.1.rules.0.",
        "caching.1.",
        "caching.1.rules.0.",
        "restrictions.0.",
        "restrictions.0.rules.0.",
        "log_delivery.",
    ],
)
def test_no_other_keys_are_accepted_anywhere(parent: str) -> None:
    (message,) = breaches(variant(FULL, f"{parent}colour", "red"))
    where = "".join(f"[{part}]" for part in parent.split(".") if part) or "[document]"
    assert message.startswith(f"{where}-")
    assert "'colour' was unexpected" in message


@pytest.mark.parametrize("field", ["id", "status", "links", "errors", "project_id"])
def test_response_fields_are_refused_in_a_request(field: str) -> None:
    (message,) = breaches(variant(MINIMAL, field, []))
    assert f"'{field}' was unexpected" in message


TEXTS = [
    ("name", 3, 256),
    ("flavor_id", 1, 256),
    ("origins.0.rules.0.name", 1, 256),
    ("origins.0.rules.0.request_url", 1, 1024),
    ("caching.0.name", 1, 256),
    ("caching.1.rules.0.name", 1, 256),
    ("caching.1.rules.0.request_url", 1, 1024),
    ("restrictions.0.name", 1, 256),
    ("restrictions.0.rules.0.name", 1, 256),
    ("restrictions.0.rules.0.request_url", 1, 1024),
]


@pytest.mark.parametrize(("path", "shortest", "longest"), TEXTS)
def test_text_lengths_are_bounded(path: str, shortest: int, longest: int) -> None:
    where = "".join(f"[{part}]" for part in path.split("."))
    accepted(variant(WITH_RULE, path, "/" * shortest))
    accepted(variant(WITH_RULE, path, "/" * longest))
    (message,) = breaches(variant(WITH_RULE, path, "/" * (shortest - 1)))
    assert message.startswith(where)
    assert f"is shorter than {shortest} character" in message
    (message,) = breaches(variant(WITH_RULE, path, "/" * (longest + 1)))
    assert message.startswith(where)
    assert message.endswith(f"is longer than {longest} characters")


def _host(length: int) -> str:
    """Return a valid name with a given number of characters."""
    labels, rest = [], length - len(".a.com")
    while rest > 0:
        labels.append("h" * min(rest, 62))
        rest -= len(labels[-1]) + 1
    name = f"{'.'.join(labels)}.a.com"
    return name if len(name) == length else f"x{name}"


@pytest.mark.parametrize("path", ["domains.0.domain", "origins.0.origin"])
@pytest.mark.parametrize("length", [252, 253])
def test_a_host_name_may_have_253_characters(path: str, length: int) -> None:
    assert len(_host(length)) == length
    accepted(variant(MINIMAL, path, _host(length)))


@pytest.mark.parametrize(
    "path", ["domains.0.domain", "origins.0.origin", "origins.1.hostheadervalue"]
)
def test_a_host_name_is_refused_below_3_and_above_253_characters(path: str) -> None:
    assert breaches(variant(FULL, path, "ab"))[0].endswith("'ab' is shorter than 3 characters")
    (message,) = breaches(variant(FULL, path, _host(254)))
    assert message.endswith("is longer than 253 characters")


def test_a_host_name_of_three_characters_passes_the_schema() -> None:
    accepted(variant(MINIMAL, "origins.0.origin", "::1"))
    accepted(variant(FULL, "domains.2.domain", "abc"))
    accepted(variant(FULL, "origins.1.hostheadervalue", "a.com"))


def test_a_referrer_has_3_to_1024_characters() -> None:
    path = "restrictions.0.rules.0.referrer"
    accepted(variant(FULL, path, "t.co"))
    assert breaches(variant(FULL, path, "ab"))[0].endswith("'ab' is shorter than 3 characters")
    assert breaches(variant(FULL, path, "a" * 1025))[0].endswith("longer than 1024 characters")


@pytest.mark.parametrize("field", ["domains", "origins"])
def test_a_service_has_1_to_10_domains_and_origins(field: str) -> None:
    entries: list[dict[str, Any]]
    if field == "domains":
        entries = [{"domain": f"w{number}.mywebsite.com"} for number in range(11)]
    else:
        entries = [
            {"origin": f"192.0.2.{n}", "rules": [{"name": "r", "request_url": f"/{n}"}]}
            for n in range(11)
        ]
    accepted(variant(MINIMAL, field, entries[:1]))
    accepted(variant(MINIMAL, field, entries[:10]))
    assert breaches(variant(MINIMAL, field, [])) == (f"[{field}]-needs 1 entry or more, has 0",)
    assert breaches(variant(MINIMAL, field, entries)) == (
        f"[{field}]-may have 10 entries or fewer, has 11",
    )


def test_a_ttl_is_0_to_31536000_seconds() -> None:
    for ttl in (0, 1, 31535999, 31536000):
        assert accepted(variant(FULL, "caching.0.ttl", ttl)).caching[0].ttl == ttl
    for ttl in (-1, 31536001, 10**400):
        (message,) = breaches(variant(FULL, "caching.0.ttl", ttl))
        assert message.startswith(f"[caching][0][ttl]-{str(ttl)[:50]}")


@pytest.mark.parametrize(
    "value",
    [True, "3600", None, 0.5, float("inf"), float("nan"), [], pytest.param(10**5000, id="huge")],
)
def test_a_ttl_is_an_integer(value: object) -> None:
    assert breaches(variant(FULL, "caching.0.ttl", value))


def test_whole_floats_are_stored_as_integers() -> None:
    """80.0 is an integer in Draft 2020-12, but is stored without a decimal point."""
    document = variant(variant(FULL, "origins.1.port", 443.0), "caching.0.ttl", 60.0)
    spec = accepted(document)
    assert (repr(spec.origins[1].port), repr(spec.caching[0].ttl)) == ("443", "60")


CHOICES: dict[str, list[object]] = {
    "domains.0.protocol": ["http"],
    "domains.1.certificate": ["san", "sni", "custom"],
    "origins.0.port": [80],
    "origins.0.hostheadertype": ["domain", "origin"],
    "origins.0.ssl": [False],
    "restrictions.0.access": ["whitelist", "blacklist"],
    "log_delivery.enabled": [True, False],
}


@pytest.mark.parametrize("path", CHOICES)
def test_a_choice_accepts_only_its_values(path: str) -> None:
    for value in CHOICES[path]:
        accepted(variant(FULL, path, value))
    where = "".join(f"[{part}]" for part in path.split("."))
    for value in ("ftp", "", 81, 1, 0, [80], {}, "80"):
        (message,) = breaches(variant(FULL, path, value))
        assert message.startswith(f"{where}-{value!r} is not ")


@pytest.mark.parametrize("path", [path for path in CHOICES if "certificate" not in path])
def test_null_is_not_a_valid_choice(path: str) -> None:
    (message,) = breaches(variant(FULL, path, None))
    assert "None is not " in message


def test_true_is_not_a_valid_port() -> None:
    assert breaches(variant(FULL, "origins.0.port", True)) == (
        "[origins][0][port]-True is not one of [80, 443]",
    )


def test_a_wrong_protocol_is_reported_with_path_and_choices() -> None:
    assert breaches(variant(MINIMAL, "domains.0.protocol", "ftp")) == (
        "[domains][0][protocol]-'ftp' is not one of ['http', 'https']",
    )


@pytest.mark.parametrize("text", ["a\0bc", "abc\n", "\tabc", "ab\x7fc", "ab\x85c", "\ud800abc"])
@pytest.mark.parametrize("path", [path for path, _, _ in TEXTS if "url" not in path])
def test_a_name_has_no_control_characters_or_lone_surrogates(path: str, text: str) -> None:
    (message,) = breaches(variant(WITH_RULE, path, text))
    assert message.endswith(f"{text!r} has a control character or a lone surrogate")
    message.encode()


@pytest.mark.parametrize("name", ["Müller & Söhne", "网站的名字", "🦊🦊🦊", "  x"])
def test_a_name_may_have_any_other_characters(name: str) -> None:
    assert accepted(variant(MINIMAL, "name", name)).name == name


@pytest.mark.parametrize("url", ["/ä", "/a b", "/a\n", "/\ud800", "\0", "/\x7f"])
def test_a_request_url_is_printable_ascii(url: str) -> None:
    (message,) = breaches(variant(WITH_RULE, "origins.0.rules.0.request_url", url))
    assert "percent-encode" in message
    assert repr(url) in message
    message.encode()


@pytest.mark.parametrize("kinds", [{}, {"referrer": "a.example", "geography": "BR"}])
def test_a_restriction_rule_has_exactly_one_of_three_kinds(kinds: dict[str, str]) -> None:
    assert breaches(variant(FULL, "restrictions.0.rules.1", {"name": "r", **kinds})) == (
        "[restrictions][0][rules][1]-needs exactly one of referrer, client_ip, geography",
    )


@pytest.mark.parametrize("rule", [None, "x", []])
def test_a_restriction_rule_that_is_not_an_object_is_reported_once(rule: object) -> None:
    assert breaches(variant(FULL, "restrictions.0.rules.1", rule)) == (
        f"[restrictions][0][rules][1]-{rule!r} is not of type 'object'",
    )


def test_a_restriction_needs_a_rule() -> None:
    assert breaches(variant(FULL, "restrictions.0.rules", [])) == (
        "[restrictions][0][rules]-needs 1 entry or more, has 0",
    )


@pytest.mark.parametrize("geography", ["", "a\0"])
def test_a_geography_has_no_control_characters(geography: str) -> None:
    path = "restrictions.0.rules.2.geography"
    assert breaches(variant(FULL, path, geography))[0].startswith("[restrictions][0][rules][2]")
