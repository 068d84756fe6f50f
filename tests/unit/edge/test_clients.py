# SPDX-License-Identifier: Apache-2.0
"""Expressions of the rules for clients."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poppy.edge.plane import clients
from poppy.model import paths


@given(st.text(alphabet="/.;?%#\\\\aB2e2f\x00\x7f é", max_size=12))
@example("/a/..")
@example("/a?../#")
def test_a_plain_target_is_neither_ambiguous_nor_has_dot_segments(target: str) -> None:
    for expression in (paths.AMBIGUOUS, paths.DOT_SEGMENTS, clients.DOTS_WITH_PARAMETERS):
        if re.search(expression, target):
            assert not re.search(clients.PLAIN, target)


@pytest.mark.parametrize("target", ["/", "/a", "/a/", "/a/b-c_d~e.tar.gz", "/a?b=../%zz&c"])
def test_most_targets_are_plain(target: str) -> None:
    assert re.search(clients.PLAIN, target)
