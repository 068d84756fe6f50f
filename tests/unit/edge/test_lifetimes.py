# SPDX-License-Identifier: Apache-2.0
"""The part of an entry that says how long responses are kept."""

import pytest

from poppy.edge.plane import lifetimes
from poppy.model.document.caching import CacheKey, CacheOptions, StatusTTL


@pytest.mark.parametrize(
    ("seconds", "options", "text"),
    [
        (None, {}, "|cached"),
        (5, {}, "5s|cached"),
        (0, {}, "0s|direct"),
        (5, {"mode": "override"}, "5s|cached"),
        (5, {"mode": "bypass"}, "5s|direct"),
        (0, {"mode": "respect_origin"}, "0s/m|cached"),
        (0, {"status_ttl": (StatusTTL(404, 9), StatusTTL(500, 0))}, "0s/t404=9/t500=0|cached"),
        (5, {"browser_ttl": 0, "stale_while_revalidate": 0}, "5s/b0/w0|cached"),
        # Stale responses are served for longer anyway.
        (5, {"stale_if_error": 300}, "5s|cached"),
        (5, {"stale_if_error": 301}, "5s/e301|cached"),
        (5, {"stale_while_revalidate": 9, "stale_if_error": 9}, "5s/w9|cached"),
        (5, {"key": CacheKey()}, "5s|cached"),
        (5, {"key": CacheKey("all")}, "5s|cached"),
        (5, {"key": CacheKey("none")}, "5s/qn|cached"),
        (5, {"key": CacheKey({"only": ["a", "b*"]})}, "5s/qoa+b*|cached"),
        (5, {"key": CacheKey({"except": ["a"]})}, "5s/qea|cached"),
        (5, {"key": CacheKey("none", headers=("X-B", "x-a"))}, "5s/qn/hx-a+x-b|cached"),
        (5, {"key": CacheKey(cookies=("b+c|", "B"))}, "5s/cB+b%2Bc%7C|cached"),
    ],
)
def test_text(seconds, options, text):
    assert lifetimes.text(seconds, CacheOptions(**options), grace=300) == text
