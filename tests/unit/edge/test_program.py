# SPDX-License-Identifier: Apache-2.0
"""The program of a service as JSON."""

import json
from typing import Any

import pytest

from poppy.edge.program import MAX_SIZE, Access, Choice, Clients, Program, Upstream

PROGRAM = Program(
    service_id="a1",
    domains=("www.example.com",),
    origins=(
        Upstream("origin.example.com", 80, False, None),
        Upstream("2001:db8::1", 443, True, "origin.example.com"),
    ),
    routes=(Choice("/images/*", 1),),
    ttls=(Choice("/images/*", 60), Choice("/*", 0)),
    restrictions=(
        Access("blacklist", "client_ip", (Clients("/*", ("192.0.2.0/24", "2001:db8::/32")),)),
        Access("whitelist", "geography", (Clients("/a*", ("DE", "FR")),)),
        Access("whitelist", "referrer", (Clients("/b", ("example.com",)),)),
    ),
)


def test_a_program_is_read_as_it_was_written() -> None:
    assert Program.from_json(PROGRAM.to_json()) == PROGRAM
    assert Program.from_dict(PROGRAM.to_dict()) == PROGRAM


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["version"], 2, "version 2"),
        (["version"], True, "version"),
        (["service_id"], "../x", "service_id"),
        (["domains", 0], "www.example.com\n", "domains"),
        (["domains", 0], "WWW.example.com", "domains"),
        (["domains"], "www.example.com", "domains"),
        (["domains"], ["a"] * 1001, "domains has 1001 entries"),
        (["origins"], [], "origins is empty"),
        (["origins", 0], "origin", "origins"),
        (["origins", 0, "port"], 0, "port is 0"),
        (["origins", 0, "port"], 65536, "port is 65536"),
        (["origins", 0, "tls"], 1, "tls"),
        (["origins", 0, "host"], "a b", "origins"),
        (["origins", 0, "host_header"], "a\r\nb", "origins"),
        (["routes", 0, "value"], 2, "an origin that does not exist"),
        (["routes", 0, "pattern"], "images", "pattern 'images'"),
        (["routes", 0, "pattern"], "/a//b", "pattern '/a//b'"),
        (["routes", 0, "pattern"], "/a/../b", "pattern '/a/../b'"),
        (["ttls", 0, "value"], -1, "value is -1"),
        (["ttls", 0, "value"], 10**10, "value is"),
        (["ttls", 0, "value"], 1.5, "value is 1.5"),
        (["restrictions", 0, "access"], "allow", "access"),
        (["restrictions", 0, "kind"], "weather", "kind"),
        (["restrictions", 0, "rules", 0, "values", 0], "192.0.2.1/24", "values"),
        (["restrictions", 1, "rules", 0, "values", 0], "Germany", "values"),
        (["restrictions", 2, "rules", 0, "values", 0], "a b", "values"),
    ],
)
def test_a_poisoned_program_is_refused_by_name(path: list[Any], value: Any, message: str) -> None:
    document: Any = PROGRAM.to_dict()
    *parents, last = path
    part = document
    for key in parents:
        part = part[key]
    part[last] = value
    with pytest.raises(ValueError, match=message):
        Program.from_dict(document)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "{}", " " * (MAX_SIZE + 1)])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Program.from_json(text)


@pytest.mark.parametrize("field", list(PROGRAM.to_dict()))
def test_no_field_may_be_missing(field: str) -> None:
    document = PROGRAM.to_dict()
    del document[field]
    with pytest.raises(ValueError, match=field):
        Program.from_json(json.dumps(document))
