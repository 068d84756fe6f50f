# SPDX-License-Identifier: Apache-2.0
"""Limits on service documents; each refusal names the list and the limit."""

import time
from typing import Any

import pytest

from poppy.common import config, errors
from poppy.model import schemas, validation
from poppy.model.limits import DocumentLimits
from poppy.model.specs import ServiceSpec
from tests.unit.model.documents import MINIMAL, TTL, accepted, breaches, variant

SMALL = DocumentLimits(origin_rules=3, caching_rules=4, restriction_rules=5, rules=8)


def _rules(count: int, prefix: str = "/p", **fields: str) -> list[dict[str, Any]]:
    return [{"name": "r", "request_url": f"{prefix}{number}", **fields} for number in range(count)]


def _document(origins: int = 1, caching: int = 1, restrictions: int = 0) -> dict[str, Any]:
    client = {"client_ip": "192.0.2.1"}
    return {
        **MINIMAL,
        "origins": [{"origin": "o.example.net", "rules": _rules(origins)}],
        "caching": [{"name": "c", "ttl": 1, "rules": _rules(caching)}],
        "restrictions": [{"name": "x", "rules": _rules(restrictions, **client)}]
        if restrictions
        else [],
    }


def _check(document: object, limits: DocumentLimits = SMALL) -> ServiceSpec:
    return validation.service(document, TTL, limits=limits)


def _breaches(document: object, limits: DocumentLimits = SMALL) -> tuple[str, ...]:
    return breaches(document, lambda it: _check(it, limits))


def test_rules_within_the_limits_are_accepted() -> None:
    for counts in ((3, 4, 1), (3, 1, 4), (1, 2, 5)):
        _check(_document(*counts))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((4, 1), "[origins]-may have 3 rules or fewer in all entries together, has 4"),
        ((1, 5), "[caching]-may have 4 rules or fewer in all entries together, has 5"),
        ((1, 1, 6), "[restrictions]-may have 5 rules or fewer in all entries together, has 6"),
        ((3, 4, 2), "[document]-may have 8 rules or fewer, has 9"),
    ],
)
def test_one_rule_more_is_refused_with_the_list_and_the_limit(
    counts: tuple[int, ...], message: str
) -> None:
    assert _breaches(_document(*counts)) == (message,)


def test_rules_of_all_entries_count_and_an_empty_entry_counts_as_one() -> None:
    entries = [
        {"name": "c", "ttl": 1, "rules": _rules(2, "/a")},
        {"name": "c", "ttl": 1, "rules": _rules(1, "/b")},
        {"name": "c", "ttl": 1},
    ]
    document = variant(_document(), "caching", entries)
    _check(document)
    entries.append({"name": "c", "ttl": 1, "rules": []})
    assert "has 5" in _breaches(variant(document, "caching", entries))[0]


def test_by_default_a_service_has_100_rules_of_a_kind_and_200_in_all() -> None:
    accepted(_document(100, 99, 1))
    for counts in ((101, 1), (1, 101), (1, 1, 101), (100, 100, 1)):
        breaches(_document(*counts))


def test_the_defaults_are_those_of_the_options() -> None:
    options = config.load([], files=[])[config.LIMITS_GROUP]
    assert DocumentLimits.of(options) == DocumentLimits()


def test_every_list_of_the_schema_has_a_maximum() -> None:
    schema = schemas.service(SMALL)["properties"]
    assert schema["caching"]["maxItems"] == 4
    assert schema["restrictions"]["maxItems"] == 5
    rules = [schema[name]["items"]["properties"]["rules"]["maxItems"] for name in SMALL.by_list]
    assert rules == [3, 4, 5]
    assert schemas.service(DocumentLimits(rules=50))["properties"]["caching"]["maxItems"] == 50


def test_the_size_is_that_of_compact_json_with_all_defaults() -> None:
    document = variant(MINIMAL, "name", "\u00e9" * 200)
    spec = accepted(document)
    (size,) = {
        size
        for size in range(400, 900)
        if _accepts(document, size) and not _accepts(document, size - 1)
    }
    assert size == len(validation.compact(spec.to_dict()).encode())


def _accepts(document: object, size: int) -> bool:
    try:
        _check(document, DocumentLimits(size=size))
    except errors.InvalidRequest as exc:
        assert f"the limit is {size}" in str(exc)
        return False
    return True


def test_far_too_many_rules_are_refused_before_validation() -> None:
    document = _document(1, 20000)
    started = time.process_time()
    assert len(_breaches(document)) == 1
    assert time.process_time() - started < 1
