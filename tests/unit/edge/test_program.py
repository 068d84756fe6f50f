# SPDX-License-Identifier: Apache-2.0
"""The program of a service as JSON."""

import copy
import json
import traceback
from dataclasses import asdict, replace
from typing import Any

import pytest

from poppy.edge.program import (
    MAX_SIZE,
    Access,
    Certificate,
    Challenge,
    Choice,
    Clients,
    Program,
    Upstream,
)

CHAIN = "-----BEGIN CERTIFICATE-----\nMIIB\nAg==\n-----END CERTIFICATE-----\n"
PEM = "-----BEGIN PRIVATE KEY-----\nMIGk\n-----END PRIVATE KEY-----\n"
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
#: A program with secrets, and all fields.
SECURE = replace(
    PROGRAM,
    certificates=(Certificate(("www.example.com",), CHAIN * 2, PEM),),
    challenges=(Challenge("www.example.com", "a-token", "a-token.thumb_print"),),
)


def test_a_program_is_read_as_it_was_written() -> None:
    assert Program.from_json(SECURE.to_json()) == SECURE
    assert Program.from_dict(SECURE.to_dict()) == SECURE


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["version"], 2, "version 2"),
        (["version"], True, "version"),
        (["checked"], True, "unknown field 'checked'"),
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
        (["certificates"], [1], "certificates: it is no JSON object"),
        (["certificates"], [{}] * 101, "certificates has 101 entries"),
        (["certificates", 0, "names"], [], "names is empty"),
        (["certificates", 0, "names"], ["www.example.com"] * 2, "two for one domain"),
        (["certificates", 0, "names", 0], "www.example.org", "no domain of the service"),
        (["certificates", 0, "names", 0], "*.example.com", "no domain of the service"),
        (["certificates", 0, "names", 0], "*.*.example.com", "is not allowed"),
        (["certificates", 0, "chain"], PEM, "chain is no PEM"),
        (["certificates", 0, "chain"], CHAIN + "\n" + CHAIN, "chain is no PEM"),
        (["certificates", 0, "chain"], CHAIN + "set map x y z\n", "chain is no PEM"),
        (["certificates", 0, "chain"], CHAIN * 11, "chain is no PEM"),
        (["certificates", 0, "key"], CHAIN, "key is no PEM"),
        (["certificates", 0, "key"], PEM * 2, "key is no PEM"),
        (["certificates", 0, "key"], PEM.replace("MIGk\n", "MIGk\n" * 2000), "key is no PEM"),
        (["challenges", 0, "domain"], "www.example.org", "no domain of the service"),
        (["challenges", 0, "token"], "../x", "token"),
        (["challenges", 0, "value"], "a b", "value"),
        (["challenges", 0, "value"], "%[env(HOME)]", "value"),
    ],
)
def test_a_poisoned_program_is_refused_by_name(path: list[Any], value: Any, message: str) -> None:
    document: Any = SECURE.to_dict()
    *parents, last = path
    part = document
    for key in parents:
        part = part[key]
    part[last] = value
    with pytest.raises(ValueError, match=message):
        Program.from_dict(document)


def test_a_key_is_in_no_message() -> None:
    assert "MIGk" not in repr(SECURE)
    for value in (PEM + "x", [PEM], {"key": PEM}):
        document: Any = SECURE.to_dict()
        document["certificates"][0]["key"] = value
        with pytest.raises(ValueError) as caught:
            Program.from_dict(document)
        assert "MIGk" not in str(caught.value)
    document["certificates"] = [PEM]
    with pytest.raises(ValueError) as caught:
        Program.from_dict(document)
    assert "MIGk" not in str(caught.value)


def test_a_program_without_certificates_is_as_it_was_before_there_were_any() -> None:
    plain = replace(SECURE, certificates=(), challenges=())
    document = {"version": 1, **asdict(plain)}
    document = {name: value for name, value in document.items() if value is not None}
    for origin in document["origins"]:
        del origin["options"]
    for name in ("certificates", "challenges", "caching", "log_project", "checked"):
        del document[name]

    assert plain.to_json() == json.dumps(document, sort_keys=True)
    assert Program.from_json(plain.to_json()) == plain


OPTIONAL: dict[str, Any] = {
    "delivery": {"https_redirect": True, "hsts": {"max_age": 5}, "min_tls": "1.3"},
    "redirects": [{"name": "r", "request_url": "/a/*", "location": "/$1", "status": 302}],
    "headers": [{"name": "h", "request": {"set": {"X-A": "1"}}, "response": {"remove": ["B"]}}],
    "cors": {"allow_origins": ["*"]},
    "error_pages": [{"name": "e", "status": [404], "path": "/e"}],
    "ttls": [{"pattern": "/*", "value": 5}],
    "caching": [{"key": {"query": {"only": ["a"]}}, "status_ttl": [{"status": 404, "ttl": 1}]}],
    "signed_urls": {
        "keys": [
            {"id": "open", "secret": "MIGk" * 8},
            {"id": "sealed", "secret": {"fingerprint": "01234567", "sealed": "MIGk"}},
        ],
        "rules": [{"name": "r", "request_url": "/films/*"}],
        "query": "t",
    },
    "log_project": "4:2",
}


def test_optional_fields_need_a_version_that_the_previous_release_refuses() -> None:
    plain = PROGRAM.to_dict()
    assert plain["version"] == 1
    plain["ttls"] = OPTIONAL["ttls"]
    for name, value in OPTIONAL.items():
        if name == "ttls":
            continue
        program = Program.from_dict({**plain, name: value, "version": 2})
        assert program.to_dict() == {**plain, name: value, "version": 2}
        assert Program.from_json(program.to_json()) == program
        with pytest.raises(ValueError, match="version 1"):
            Program.from_dict({**plain, name: value})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["novelty"], 1, "unknown field 'novelty'"),
        (["log_project"], "", "log_project"),
        (["log_project"], "4|2", "log_project"),
        (["log_project"], "4 2", "log_project"),
        (["log_project"], 42, "log_project"),
        (["delivery", "novelty"], 1, "delivery has the unknown field 'novelty'"),
        (["delivery", "https_redirect"], 1, "delivery.https_redirect is 1"),
        (["delivery", "min_tls"], "1.1", "delivery.min_tls is '1.1'"),
        (["delivery", "hsts"], {}, "delivery.hsts has no max_age"),
        (["delivery", "hsts", "max_age"], True, "delivery.hsts.max_age is True"),
        (["delivery", "hsts", "max_age"], -1, "delivery.hsts.max_age is -1"),
        (["redirects", 0, "location"], "/a\r\nb", r"redirects\[0\].location is"),
        (["redirects", 0, "location"], "//evil.example", 'begins with "//"'),
        (["redirects", 0, "location"], "/" * 2049, "the length of redirects.*is 2049"),
        (["redirects", 0, "request_url"], "/a/../b", "No request can match"),
        (["headers", 0, "request", "set"], {"X-A": "1\n2"}, "not printable ASCII"),
        (["headers", 0, "request", "set"], {"X-A": 1}, "headers.0..request.set.X-A is 1"),
        (["headers", 0, "response", "remove", 0], "x-p-service", "belongs to the edge"),
        (["cors", "allow_origins"], [], "the length of cors.allow_origins is 0"),
        (["error_pages", 0, "status", 0], 200, "is 200"),
        (["caching", 0, "key", "query"], {"only": ["a|b"]}, "options.key.query is"),
        (["caching", 0, "key", "query"], "none;", "options.key.query is 'none;'"),
        (["caching", 0, "status_ttl", 0, "ttl"], -1, "status_ttl.0..ttl is -1"),
        (["caching", 0, "mode"], "x", "options.mode is 'x'"),
        (["caching"], [{}, {}], "caching has other entries than ttls"),
        (["signed_urls", "keys"], [], "the length of signed_urls.keys is 0"),
        (["signed_urls", "keys"], [{"id": "a", "secret": "s" * 32}] * 2, "more than once"),
        (["signed_urls", "keys", 0, "id"], "a.b", r"signed_urls.keys\[0\].id is not allowed"),
        (["signed_urls", "keys", 0, "secret"], "s\n" * 32, "secret is not allowed"),
        (["signed_urls", "keys", 0, "secret"], "short", "the length of .*secret is 5"),
        (["signed_urls", "keys", 0, "secret"], {"sealed": "s"}, "secret is no secret"),
        (["signed_urls", "query"], "a b", "signed_urls.query is not allowed"),
        (["signed_urls", "rules", 0, "request_url"], "/a?b", "has a query"),
        (
            ["signed_urls", "rules"],
            [{"name": "r", "request_url": f"/{n}" + "*a" * 500} for n in range(11)],
            "55.. wildcards",
        ),
    ],
)
def test_poisoned_optional_fields_are_refused_by_name(
    path: list[Any], value: Any, message: str
) -> None:
    document = copy.deepcopy({**PROGRAM.to_dict(), **OPTIONAL, "version": 2})
    Program.from_dict(document)
    *parents, last = path
    part: Any = document
    for key in parents:
        part = part[key]
    part[last] = value
    with pytest.raises(ValueError, match=message):
        Program.from_dict(document)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "{}", " " * (MAX_SIZE + 1)])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Program.from_json(text)


@pytest.mark.parametrize("field", sorted(SECURE.to_dict().keys() - {"certificates", "challenges"}))
def test_no_field_may_be_missing(field: str) -> None:
    document = SECURE.to_dict()
    del document[field]
    with pytest.raises(ValueError, match=field):
        Program.from_json(json.dumps(document))


def test_only_wildcards_may_be_in_a_program_without_domains() -> None:
    bare = Program("a1", (), PROGRAM.origins)
    shared = replace(bare, certificates=(Certificate(("*.example.com",), CHAIN, PEM),))
    assert Program.from_json(shared.to_json()) == shared
    named = replace(bare, certificates=(Certificate(("www.example.com",), CHAIN, PEM),))
    with pytest.raises(ValueError, match="no domain of the service"):
        Program.from_json(named.to_json())


@pytest.mark.parametrize(
    "value",
    [
        "MIGk",
        ["MIGk"],
        {"keys": ["MIGk"]},
        {"keys": {"secret": "MIGk"}},
        {"keys": [{"id": "a", "secret": "MIGk é" * 8}]},
        {"keys": [{"id": "a", "secret": ["MIGk"]}]},
        {"keys": [{"id": "a", "secret": {"fingerprint": "01234567", "sealed": ["MIGk"]}}]},
        {"keys": [{"id": "", "secret": "MIGk" * 8}]},
    ],
)
def test_a_signing_key_is_in_no_message(value: object) -> None:
    assert "MIGk" not in repr(Program.from_dict({**PROGRAM.to_dict(), **OPTIONAL, "version": 2}))
    with pytest.raises(ValueError) as caught:
        Program.from_dict({**PROGRAM.to_dict(), "signed_urls": value, "version": 2})
    assert "MIGk" not in "".join(traceback.format_exception(caught.value))
