# SPDX-License-Identifier: Apache-2.0
"""Identifiers sort by creation time, and other text is not a valid identifier."""

import uuid

import pytest

from poppy.model import ids


def test_an_id_is_a_uuid_of_version_7():
    made = uuid.UUID(ids.new())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_ids_sort_by_creation():
    made = [ids.new() for _ in range(1000)]
    # Two within a quarter of a microsecond may swap; Python is rarely that fast.
    swaps = sum(a > b for a, b in zip(made, made[1:], strict=False))
    assert swaps <= 2
    assert len(set(made)) == 1000


@pytest.mark.parametrize(
    "text", ["", "1", "zzz", "../x", "{0}", "urn:uuid:{0}", "{{{0}}}", "{0} ", "{1}"]
)
def test_only_the_canonical_form_passes(text):
    made = ids.new()
    assert ids.is_uuid(made)
    assert ids.is_uuid(made.upper())
    compact = made.replace("-", "")
    candidate = text.format(made, compact)
    assert ids.is_uuid(candidate) is (candidate == made)
