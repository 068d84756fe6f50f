# SPDX-License-Identifier: Apache-2.0
"""Results of validation: defaults, messages, and no other kind of error."""

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.common import errors
from poppy.extensions.akamai import schemas as akamai_schemas
from poppy.model import validation
from poppy.model.limits import DocumentLimits
from poppy.model.specs import ServiceSpec
from tests.unit.model.documents import FLAVOR, FULL, MINIMAL, TTL, accepted, breaches, variant

DEFAULT_RULES = [{"name": "default", "request_url": "/*"}]


def test_all_defaults_are_filled_in() -> None:
    assert accepted(MINIMAL).to_dict() == {
        "name": "mywebsite",
        "flavor_id": "cdn",
        "domains": [{"domain": "www.mywebsite.com", "protocol": "http"}],
        "origins": [
            {
                "origin": "mywebsite.com",
                "port": 80,
                "ssl": False,
                "hostheadertype": "domain",
                "rules": DEFAULT_RULES,
            }
        ],
        "caching": [{"name": "default", "ttl": 86400, "rules": DEFAULT_RULES}],
        "restrictions": [],
        "log_delivery": {"enabled": False},
    }


def test_given_values_are_kept() -> None:
    document = accepted(FULL).to_dict()
    assert document["domains"][1] == FULL["domains"][1]
    assert document["origins"][1] == FULL["origins"][1]
    assert document["caching"][0] == {**FULL["caching"][0], "rules": DEFAULT_RULES}
    assert document["restrictions"][0]["rules"][0] == FULL["restrictions"][0]["rules"][0]
    assert document["log_delivery"] == {"enabled": True}


def test_the_document_given_is_not_changed() -> None:
    before = copy.deepcopy(FULL)
    validation.service(FULL, TTL)
    assert before == FULL


def test_the_caller_sets_the_default_ttl() -> None:
    assert validation.service(MINIMAL, 60).caching[0].ttl == 60


@pytest.mark.parametrize("field", ["caching", "restrictions", "origins.0.rules", "log_delivery"])
def test_an_empty_value_counts_as_missing(field: str) -> None:
    empty: object = {} if field == "log_delivery" else []
    assert accepted(variant(MINIMAL, field, empty)) == accepted(MINIMAL)


def test_a_caching_entry_without_rules_gets_the_default_rule() -> None:
    without: list[dict[str, Any]] = [{}, {"rules": []}]
    for rules in without:
        spec = accepted(variant(MINIMAL, "caching", [{"name": "c", "ttl": 0, **rules}]))
        assert spec.to_dict()["caching"] == [{"name": "c", "ttl": 0, "rules": DEFAULT_RULES}]


def test_a_missing_leading_slash_is_added_to_every_path() -> None:
    rule = {"name": "r", "request_url": "*.png"}
    document = variant(FULL, "origins.1.rules", [rule])
    document = variant(document, "caching.1.rules", [rule])
    document = variant(document, "restrictions.0.rules.0.request_url", "*.png")
    spec = accepted(document)
    stored: list[Any] = [spec.origins[1], spec.caching[1], spec.restrictions[0]]
    assert [entry.rules[0].request_url for entry in stored] == ["/*.png"] * 3


def test_a_restriction_rule_without_a_path_is_stored_with_every_path() -> None:
    assert accepted(FULL).restrictions[0].rules[1].request_url == "/*"


def test_a_restriction_without_access_is_a_whitelist() -> None:
    """gophercloud sends restrictions without access."""
    assert accepted(variant(FULL, "restrictions.0.access")).restrictions[0].access == "whitelist"


def test_a_flavor_is_returned_as_given() -> None:
    assert validation.flavor(FLAVOR).to_dict() == FLAVOR


def test_a_flavor_may_not_list_a_provider_twice() -> None:
    document = {**FLAVOR, "providers": FLAVOR["providers"] * 2}
    with pytest.raises(errors.InvalidRequest, match="Provider 'edge' is listed more than"):
        validation.flavor(document)


@pytest.mark.parametrize("document", [None, [], "x", 1, True, float("nan"), "\ud800"])
def test_a_body_that_is_not_an_object_is_refused(document: object) -> None:
    for check in (lambda it: validation.service(it, TTL), validation.flavor):
        assert breaches(document, check) == (f"[document]-{document!r} is not of type 'object'",)


def test_all_violations_are_listed_in_order_of_path() -> None:
    caching = [{"name": "c", "ttl": -1 if number in (2, 10) else 60} for number in range(12)]
    document = variant(variant(MINIMAL, "caching", caching), "origins.0.port", 81)
    assert breaches(variant(document, "name")) == (
        "[document]-'name' is a required property",
        "[caching][2][ttl]--1 is less than the minimum of 0",
        "[caching][10][ttl]--1 is less than the minimum of 0",
        "[origins][0][port]-81 is not one of [80, 443]",
    )


def test_at_most_twenty_violations_are_listed_quickly() -> None:
    assert len(breaches(variant(MINIMAL, "caching", [0] * 90))) == 20
    started = time.monotonic()
    assert len(breaches(variant(MINIMAL, "domains", [0] * 30000))) == 1
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("value", ["x" * 60000, ["x" * 60000], {"x" * 60000: 1}])
def test_a_long_value_is_quoted_in_part_with_the_reason(value: object) -> None:
    (message,) = breaches(variant(MINIMAL, "name", value))
    assert len(message) < 220
    assert message.endswith(("is longer than 256 characters", "is not of type 'string'"))


def test_a_long_unknown_key_is_quoted_in_part() -> None:
    (message,) = breaches({**MINIMAL, "k" * 60000: 1})
    assert message.endswith("was unexpected)")
    assert len(message) < 220


def test_a_key_with_invalid_text_is_reported() -> None:
    (message,) = breaches({**MINIMAL, "\ud800": 1})
    assert "'\\ud800' was unexpected" in message
    message.encode()


def test_excessive_nesting_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    (message,) = breaches(variant(MINIMAL, "name", nested))
    assert "nesting too deep" in message


def test_a_list_of_thousands_of_rules_takes_linear_time() -> None:
    rules = [{"name": "r", "request_url": f"/{number}"} for number in range(2000)]
    limits = DocumentLimits(origin_rules=2000, rules=3000, size=10**6)
    started = time.monotonic()
    validation.service(variant(MINIMAL, "origins.0.rules", rules), TTL, limits=limits)
    assert time.monotonic() - started < 3


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from(
        ["https", "shared", "custom", "www.a.com", "A.com", "xn--a.com", "1.2.3.4/8", "::1", "/*"]
    )
    | st.sampled_from([10**400, 80.0, "\ud800", "ü.example", "x" * 2000])
)
KEYS = st.sampled_from(
    [*FULL, *FULL["domains"][0], *FULL["origins"][1], "ttl", "access", "referrer", "client_ip"]
) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def _quota(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    return [path, *(place for key, child in children for place in _quota(child, (*path, key)))]


PLACES = [place for place in _quota(FULL) if place]


def _mutate(document: Any, place: tuple[Any, ...], action: str, value: Any) -> None:
    """Change the document at a place, if it still exists after earlier changes."""
    target = document
    try:
        for part in place[:-1]:
            target = target[part]
        if action == "replace":
            target[place[-1]] = value
        elif action == "remove":
            del target[place[-1]]
        elif action == "repeat":
            target.append(copy.deepcopy(target[place[-1]]))
        else:
            target[place[-1]][value if isinstance(value, str) else "extra"] = value
    except (KeyError, IndexError, TypeError, AttributeError):
        pass


def _accept_or_refuse(document: object) -> ServiceSpec | None:
    shared = ("myshop.scdn1.example.net",)
    try:
        spec = validation.service(document, TTL, shared)
    except errors.SchemaInvalid as error:
        assert 1 <= len(error.messages) <= 20
        for message in error.messages:
            assert message.startswith("[")
            assert len(message) < 400
            message.encode()
        return None
    except errors.InvalidRequest as error:
        assert str(error)
        str(error).encode()
        return None
    document = json.loads(json.dumps(spec.to_dict(), allow_nan=False, ensure_ascii=False).encode())
    assert validation.service(document, TTL, shared) == spec
    return spec


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_json_is_accepted_or_refused(document: object) -> None:
    _accept_or_refuse(document)
    for check in (validation.flavor, validation.patch):
        try:
            check(document)
        except errors.InvalidRequest as error:
            str(error).encode()


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLACES), st.sampled_from(["replace", "remove", "repeat", "add"]), JSON
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_changed_service_is_accepted_or_refused(
    changes: list[tuple[tuple[Any, ...], str, Any]],
) -> None:
    document = copy.deepcopy(FULL)
    for place, action, value in changes:
        _mutate(document, place, action, value)
    _accept_or_refuse(document)


HOSTS = st.from_regex(r"(www\.)?[a-z0-9][A-Za-z0-9-]?[a-z0-9]\.(com|co\.uk)", fullmatch=True)
IPS = st.ip_addresses().map(str) | st.ip_addresses().map(lambda ip: f"{ip}/{int(ip) % 33}")
RULES = st.lists(
    st.fixed_dictionaries(
        {"name": st.text("rü ", min_size=1, max_size=3)},
        optional={"request_url": st.text("/*x", min_size=1, max_size=3)},
    ),
    max_size=2,
)


@settings(max_examples=150, deadline=None)
@given(
    domain=HOSTS | HOSTS.map(str.lower),
    origins=st.lists(
        st.fixed_dictionaries(
            {"origin": HOSTS | IPS, "rules": RULES},
            optional={"port": st.sampled_from([80, 443, 80.0]), "ssl": st.booleans()},
        ),
        min_size=1,
        max_size=2,
    ),
    restricted=st.lists(
        st.fixed_dictionaries({"name": st.just("r"), "client_ip": IPS})
        | st.fixed_dictionaries({"name": st.just("r"), "referrer": HOSTS}),
        min_size=1,
        max_size=2,
    ),
)
def test_a_nearly_valid_service_is_accepted_or_refused(
    domain: str, origins: list[dict[str, Any]], restricted: list[dict[str, Any]]
) -> None:
    _accept_or_refuse(
        {
            **MINIMAL,
            "domains": [{"domain": domain}],
            "origins": origins,
            "restrictions": [{"name": "x", "rules": restricted}],
        }
    )


class TestQueues:
    """Operators' queues; see poppy.extensions.akamai.schemas."""

    @staticmethod
    def entries(count: int) -> list[dict[str, Any]]:
        names = [f"n{number}.example.com" for number in range(count)]
        return [{"domain_name": it, "project_id": "1", "flavor_id": "cdn"} for it in names]

    def breaches(self, document: object) -> list[str]:
        with pytest.raises(errors.SchemaInvalid) as caught:
            validation.validate(akamai_schemas.RETRY_LIST, document)
        return list(caught.value.messages)

    def test_a_repetition_is_found_in_any_order_of_members(self) -> None:
        entries = self.entries(3)
        entries.append(dict(reversed(entries[0].items())))
        assert self.breaches(entries) == ["[document]-has an entry more than once"]

    def test_entries_are_not_compared_with_each_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jsonschema._utils.equal", None)
        entries = self.entries(1000)
        assert validation.validate(akamai_schemas.RETRY_LIST, entries) == entries

    def test_entries_of_a_list_that_is_too_long_are_not_validated(self) -> None:
        assert self.breaches([None] * 1001) == [
            "[document]-may have 1000 entries or fewer, has 1001"
        ]
