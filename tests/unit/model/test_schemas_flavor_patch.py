# SPDX-License-Identifier: Apache-2.0
"""Every field and bound of flavors and of JSON Patch documents."""

import pytest

from poppy.common import errors
from poppy.model import validation
from tests.unit.model.documents import FLAVOR, breaches, variant


@pytest.mark.parametrize("length", [3, 64])
def test_a_flavor_id_may_have_3_to_64_characters(length: int) -> None:
    assert validation.flavor(variant(FLAVOR, "id", "f" * length)).flavor_id == "f" * length


@pytest.mark.parametrize("limits", [None, [], 5, [{"origins": {"min": 1}}], {"x": {"y": 1}}])
def test_the_limits_of_a_flavor_are_ignored(limits: object) -> None:
    """Older clients send them."""
    assert validation.flavor({**FLAVOR, "limits": limits}) == validation.flavor(FLAVOR)
    assert validation.flavor(FLAVOR).to_dict() == FLAVOR


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("id", "ab", "[id]-'ab' is shorter than 3 characters"),
        ("id", "f" * 65, f"[id]-'{'f' * 65}' is longer than 64 characters"),
        ("id", "a/b", "[id]-'a/b' has a \"/\", a control character or a lone surrogate"),
        ("id", 5, "[id]-5 is not of type 'string'"),
        ("providers", [], "[providers]-needs 1 entry or more, has 0"),
        (
            "providers.0.provider",
            "",
            "[providers][0][provider]-'' is shorter than 1 character",
        ),
        ("providers.0.links", [], "[providers][0][links]-needs 1 entry or more, has 0"),
        (
            "providers.0.links.0.href",
            "h",
            "[providers][0][links][0][href]-'h' is shorter than 2 characters",
        ),
        (
            "providers.0.links.0.rel",
            "self",
            "[providers][0][links][0][rel]-'provider_url' was expected",
        ),
        (
            "links",
            [],
            "[document]-Additional properties are not allowed ('links' was unexpected)",
        ),
    ],
)
def test_invalid_flavors_are_refused(path: str, value: object, expected: str) -> None:
    assert breaches(variant(FLAVOR, path, value), validation.flavor) == (expected,)


@pytest.mark.parametrize(
    "path",
    [
        "id",
        "providers",
        "providers.0.provider",
        "providers.0.links",
        "providers.0.links.0.href",
        "providers.0.links.0.rel",
    ],
)
def test_a_flavor_needs_all_its_fields(path: str) -> None:
    (message,) = breaches(variant(FLAVOR, path), validation.flavor)
    assert f"'{path.rpartition('.')[2]}' is a required property" in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", 0),
        ("weight", 1000),
        ("geography", {"countries": ["DE", "AT"]}),
        ("geography", {"continents": ["EU"], "countries": ["US"]}),
    ],
)
def test_a_flavor_may_have_weights_and_geography(field: str, value: object) -> None:
    other = {"provider": "other", "links": FLAVOR["providers"][0]["links"], "weight": 1}
    document = {"id": "standard", "providers": [{**FLAVOR["providers"][0], field: value}, other]}
    if field != "weight":
        del other["weight"]
    assert validation.flavor(document).to_dict() == document


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("weight", -1, "-1 is less than the minimum of 0"),
        ("weight", 1001, "1001 is greater than the maximum of 1000"),
        ("weight", 0.5, "0.5 is not of type 'integer'"),
        ("geography", {}, "{} should be non-empty"),
        ("geography", {"cities": []}, "Additional properties are not allowed"),
        ("geography.countries", [], "needs 1 entry or more, has 0"),
        ("geography.countries", ["de"], "'de' is not a country code of two upper-case letters"),
        ("geography.countries", ["DEU"], "'DEU' is not a country code of two upper-case letters"),
        ("geography.continents", ["XX"], "'XX' is not one of ['AF', "),
    ],
)
def test_weights_and_geography_are_validated(field: str, value: object, expected: str) -> None:
    name, _, inner = field.partition(".")
    document = variant(FLAVOR, f"providers.0.{name}", {inner: value} if inner else value)
    message = breaches(document, validation.flavor)[0]
    assert message.startswith(f"[providers][0][{name}]")
    assert expected in message


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((1, None), "Provider 'p1' has no weight, but others do"), ((0, 0), "the weight 0")],
)
def test_weights_are_set_for_all_providers_and_not_all_0(
    weights: tuple[int | None, ...], expected: str
) -> None:
    links = FLAVOR["providers"][0]["links"]
    entries = [{"provider": f"p{n}", "links": links, "weight": w} for n, w in enumerate(weights)]
    entries = [{k: v for k, v in entry.items() if v is not None} for entry in entries]
    with pytest.raises(errors.InvalidRequest, match=expected):
        validation.flavor({"id": "standard", "providers": entries})


@pytest.mark.parametrize("op", ["add", "replace", "test"])
def test_an_operation_with_a_value_requires_it_and_accepts_null(op: str) -> None:
    given = [{"op": op, "path": "/name", "value": None}]
    assert validation.patch(given) == given
    assert breaches([{"op": op, "path": "/name"}], validation.patch) == (
        "[0]-'value' is a required property",
    )


@pytest.mark.parametrize("op", ["move", "copy"])
def test_move_and_copy_require_from(op: str) -> None:
    given = [{"op": op, "path": "/caching/-", "from": "/caching/0"}]
    assert validation.patch(given) == given
    assert breaches([{"op": op, "path": "/name"}], validation.patch) == (
        "[0]-'from' is a required property",
    )


@pytest.mark.parametrize("path", ["", "/", "/a~0b/~1", "/domains/-", "/ä"])
def test_any_json_pointer_is_a_valid_path(path: str) -> None:
    given = [{"op": "remove", "path": path}]
    assert validation.patch(given) == given


@pytest.mark.parametrize("path", ["name", "/~", "/~2", "\n", "/\ud800", "/a\0"])
def test_other_text_is_not_a_valid_path(path: str) -> None:
    assert breaches([{"op": "remove", "path": path}], validation.patch) == (
        f"[0][path]-{path!r} is not a JSON Pointer (RFC 6901)",
    )


@pytest.mark.parametrize("document", [{}, None, "x", [[]], [None], [{"op": "remove"}]])
def test_a_patch_is_a_list_of_operations(document: object) -> None:
    assert breaches(document, validation.patch)


def test_an_unknown_operation_is_refused() -> None:
    (message,) = breaches([{"op": "merge", "path": ""}], validation.patch)
    assert message.startswith("[0][op]-'merge' is not one of ['add', ")


def test_a_patch_has_at_most_100_operations_and_may_be_empty() -> None:
    operation = {"op": "remove", "path": "/caching/0"}
    assert len(validation.patch([operation] * 100)) == 100
    assert breaches([operation] * 101, validation.patch) == (
        "[document]-may have 100 entries or fewer, has 101",
    )
    assert validation.patch([]) == []


def test_members_that_rfc_6902_does_not_define_are_ignored() -> None:
    given = [{"op": "remove", "path": "/name", "comment": "why not"}]
    assert validation.patch(given) == [{"op": "remove", "path": "/name"}]


def test_a_pointer_is_not_longer_than_2048_characters() -> None:
    for member in ("path", "from"):
        operation = {"op": "move", "path": "/a", "from": "/b", member: "/" + "x" * 2048}
        (message,) = breaches([operation], validation.patch)
        assert message.startswith(f"[0][{member}]-")
        assert "is longer than 2048 characters" in message
