# SPDX-License-Identifier: Apache-2.0
"""Fields of responses that HAProxy changes without Lua."""

import pytest

from poppy.edge.plane import changes, fields
from poppy.edge.program import Program, Upstream
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.paths import PathRule

NAMES = [*fields.SET, *fields.REMOVED]


def entry(**parts: object) -> HeaderRules:
    return HeaderRules("h", response=ResponseChanges(**parts))  # type: ignore[arg-type]


def test_the_last_value_of_a_field_counts_and_is_encoded() -> None:
    entries = (
        entry(set={"x-frame-options": "DENY"}, remove=("server",)),
        entry(set={"X-Frame-Options": "a|b; +?"}),
    )

    mark, *values = fields.values(entries)

    assert mark == "fields"
    found = {name: value for name, value in zip(NAMES, values, strict=True) if value}
    assert found == {"X-Frame-Options": "a%7Cb%3B%20%2B%3F", "Server": "1"}


@pytest.mark.parametrize(
    "other",
    [
        entry(set={"X-Own": "1"}),
        entry(set={"X-Frame-Options": ""}),
        entry(set={"Server": "me"}),
        entry(add={"X-Frame-Options": "DENY"}),
        entry(remove=("X-Frame-Options",)),
        HeaderRules("h", (PathRule("all", "/*"),), response=ResponseChanges(remove=("Server",))),
        HeaderRules("h", None, RequestChanges(remove=("Accept",))),
        HeaderRules("h"),
    ],
)
def test_lua_makes_all_changes_if_it_has_to_make_one(other: HeaderRules) -> None:
    simple = entry(set={"X-Frame-Options": "DENY"})
    origin = Upstream("a.example.net", 80, False, None)
    program = Program("s-1", ("www.example.com",), (origin,), headers=(simple,))

    assert fields.values(program.headers)
    assert not changes.has_any(program)
    assert not fields.values((simple, other))
    both = Program("s-1", ("www.example.com",), (origin,), headers=(simple, other))
    assert "response set X-Frame-Options=DENY" in list(changes.lines(both))
