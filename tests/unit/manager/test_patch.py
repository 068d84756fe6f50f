# SPDX-License-Identifier: Apache-2.0
"""A stranger's JSON Patch changes a copy, or is refused in words."""

import pytest

from poppy.common import errors
from poppy.manager import patch

DOCUMENT = {"name": "site", "domains": [{"domain": "www.example.com"}], "ttl": 5}


def test_all_six_operations_of_rfc_6902_work_in_order():
    result = patch.apply(
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


def test_the_stored_document_is_left_alone():
    patch.apply(DOCUMENT, [{"op": "replace", "path": "/domains/0/domain", "value": "x"}])
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
def test_what_can_not_be_applied_is_refused_by_number(operation):
    good = {"op": "replace", "path": "/ttl", "value": 6}
    with pytest.raises(errors.InvalidRequest, match=r"^\[1\]-"):
        patch.apply(DOCUMENT, [good, operation])


def test_a_patch_that_doubles_the_document_is_stopped():
    doubling = [{"op": "copy", "from": "/domains", "path": "/domains/-"}] * 100
    with pytest.raises(errors.InvalidRequest, match="too large"):
        patch.apply(DOCUMENT, doubling)
