# SPDX-License-Identifier: Apache-2.0
"""An untrusted JSON Patch changes a copy, or is refused with a message."""

import traceback

import pytest

from poppy.common import errors
from poppy.manager import patch
from poppy.model import validation

DOCUMENT = {"name": "site", "domains": [{"domain": "www.example.com"}], "ttl": 5}


def _apply(document, operations):
    return patch.apply(document, operations, 65536)


def test_all_six_operations_of_rfc_6902_work_in_order():
    result = _apply(
        DOCUMENT,
        [
            {"op": "test", "path": "/name", "value": "site"},
            {"op": "replace", "path": "/name", "value": "other"},
            {"op": "add", "path": "/domains/-", "value": {"domain": "a.example.com"}},
            {"op": "copy", "from": "/name", "path": "/copied"},
            {"op": "move", "from": "/copied", "path": "/moved"},
            {"op": "remove", "path": "/ttl"},
        ],
    )
    assert result == {
        "name": "other",
        "domains": [{"domain": "www.example.com"}, {"domain": "a.example.com"}],
        "moved": "other",
    }


def test_the_stored_document_is_not_changed():
    _apply(DOCUMENT, [{"op": "replace", "path": "/domains/0/domain", "value": "x"}])
    assert DOCUMENT["domains"] == [{"domain": "www.example.com"}]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nothing"},
        {"op": "replace", "path": "/domains/7", "value": 1},
        {"op": "replace", "path": "/domains/x", "value": 1},
        {"op": "add", "path": "/ttl/deeper", "value": 1},
        {"op": "add", "path": "/name/0/1", "value": 1},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "add", "path": "/domains/~9", "value": 1},
        {"op": "test", "path": "/name", "value": "wrong"},
        {"op": "move", "from": "/domains", "path": "/domains/0"},
        {"op": "copy", "from": "/nothing", "path": "/x"},
        {"op": "remove", "path": ""},
        {"op": "remove", "path": "/-"},
        {"op": "remove", "path": "/domains/-"},
    ],
)
def test_a_refusal_names_the_number_of_the_operation(operation):
    good = {"op": "replace", "path": "/ttl", "value": 6}
    with pytest.raises(errors.InvalidRequest, match=r"^\[1\]-"):
        _apply(DOCUMENT, [good, operation])


def test_a_patch_that_doubles_the_document_is_refused():
    doubling = [{"op": "copy", "from": "/domains", "path": "/domains/-"}] * 100
    with pytest.raises(errors.InvalidRequest, match="copies more than 1000 bytes"):
        patch.apply(DOCUMENT, doubling, 1000)


def test_a_deeply_nesting_patch_is_refused():
    value = []
    for _ in range(20):
        value = [value]
    place = "/x"
    operations = [{"op": "add", "path": place, "value": value}]
    for _ in range(99):
        place += "/0" * 20
        operations.append({"op": "add", "path": place + "/-", "value": value})
    try:
        result = patch.apply(DOCUMENT, operations, 65536)
    except errors.InvalidRequest:
        return
    with pytest.raises(errors.InvalidRequest, match="nesting too deep|Additional"):
        validation.service(result, 60)


def test_a_patch_can_be_applied_again():
    """A change is retried after a conflict with another request."""
    operations = [
        {"op": "add", "path": "/caching", "value": []},
        {"op": "add", "path": "/caching/-", "value": {"rules": []}},
        {"op": "add", "path": "/caching/0/rules/-", "value": 1},
    ]
    first = _apply(DOCUMENT, operations)
    assert _apply(DOCUMENT, operations) == first
    assert first["caching"] == [{"rules": [1]}]


@pytest.mark.parametrize(
    ("path", "value", "equal"),
    [
        ("/ttl", 5.0, True),
        ("/ttl", True, False),
        ("/one", True, False),
        ("/one", 1, True),
        ("/no", 0, False),
        ("/no", False, True),
        ("/nested", {"b": [0], "a": None}, False),
        ("/nested", {"b": [False], "a": None}, True),
        ("/nested", {"b": [False]}, False),
        ("/nested/b", [False, False], False),
    ],
)
def test_a_test_operation_compares_json_values(path, value, equal):
    document = {"ttl": 5, "one": 1, "no": False, "nested": {"a": None, "b": [False]}}
    operation = [{"op": "test", "path": path, "value": value}]
    if equal:
        assert _apply(document, operation) == document
        return
    with pytest.raises(errors.InvalidRequest, match=f"the test of {path} failed"):
        _apply(document, operation)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nothing"},
        {"op": "test", "path": "/new/nothing", "value": 1},
        {"op": "add", "path": "/new/a/b/c", "value": 1},
        {"op": "copy", "from": "/new/nothing", "path": "/x"},
    ],
)
def test_a_refusal_does_not_quote_the_document(operation):
    added = {"op": "add", "path": "/new", "value": {"a": {"secret": "s3cret"}}}
    with pytest.raises(errors.InvalidRequest) as caught:
        _apply(DOCUMENT, [added, operation])
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_long_pointer_is_shortened_in_the_message():
    operation = {"op": "remove", "path": "/x" * 1000}
    with pytest.raises(errors.InvalidRequest) as caught:
        _apply(DOCUMENT, [operation])
    assert len(str(caught.value)) < 400
