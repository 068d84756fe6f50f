# SPDX-License-Identifier: Apache-2.0
"""The compiler of the provider ``edge``: services as programs."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poppy.common.errors import PermanentError
from poppy.edge.program import Access, Choice, Clients, Program, Upstream
from poppy.model import paths
from poppy.model.document.paths import PathRule
from poppy.model.document.redirects import Redirect
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.secrets import Secret, secrets_of
from poppy.model.specs import Caching, Domain, Origin, Restriction, Rule, ServiceSpec
from poppy.provider.edge.compiler import compile_program
from poppy.testing.builders import make_spec
from tests.unit.model.documents import accepted
from tests.unit.model.test_document import ALL, FIELDS

ID = "5b2e0d8e-service"
KEY = SigningKey("k1", Secret("01234567", "sealed"))

LABELS = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(".".join)
PATHS = st.text(min_size=1, max_size=30).filter(lambda url: paths.problem(url) is None)
KINDS = {
    "referrer": NAMES,
    "client_ip": st.ip_addresses().map(str) | st.just("192.0.2.9/24"),
    "geography": st.sampled_from(["DE", "Europe", "United States"]),
}


def rules(**kinds: Any) -> st.SearchStrategy[tuple[Rule, ...]]:
    one = st.builds(Rule, st.text(max_size=5), PATHS, **kinds)
    return st.lists(one, max_size=2).map(tuple)


RESTRICTIONS = st.sampled_from(list(KINDS)).flatmap(
    lambda kind: st.builds(
        Restriction,
        st.just("r"),
        st.sampled_from(["whitelist", "blacklist"]),
        rules(**{kind: KINDS[kind]}),
    )
)
SPECS = st.builds(
    ServiceSpec,
    name=st.text(max_size=5),
    flavor_id=st.just("f"),
    domains=st.lists(st.builds(Domain, NAMES), min_size=1, max_size=3).map(tuple),
    origins=st.lists(
        st.builds(
            Origin,
            NAMES | st.ip_addresses().map(str),
            st.sampled_from([80, 443]),
            st.booleans(),
            st.sampled_from(["domain", "origin", "custom"]),
            st.none() | NAMES,
            rules(),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    caching=st.lists(
        st.builds(Caching, st.just("c"), st.integers(0, 10**9), rules()), max_size=3
    ).map(tuple),
    restrictions=st.lists(RESTRICTIONS, max_size=3).map(tuple),
)


@settings(max_examples=40)
@given(SPECS)
def test_a_program_is_accepted_by_nodes(spec: ServiceSpec) -> None:
    program = compile_program(ID, spec)

    assert Program.from_json(program.to_json()) == program
    assert set(program.domains) == set(spec.domain_names)


@settings(max_examples=40)
@given(SPECS)
def test_the_order_of_entries_does_not_matter_for_distinct_patterns(spec: ServiceSpec) -> None:
    choices = compile_program(ID, spec).ttls
    literals = [len(choice.pattern.replace("*", "")) for choice in choices]

    assert literals == sorted(literals, reverse=True)
    assert len({choice.pattern for choice in choices}) == len(choices)


def test_each_part_of_a_document_is_in_the_program() -> None:
    spec = make_spec(
        ["B.example.com", "a.example.com"],
        origins=(
            Origin("One.example.net.", hostheadertype="domain"),
            Origin("192.0.2.1", 443, True, "custom", "Files.example.net", (Rule("x", "app//*"),)),
            Origin("2001:db8::1", 80, False, "origin", None, (Rule("x", "/app/*"),)),
        ),
        caching=(
            Caching("all", 10**9, (Rule("all"),)),
            Caching("css", 5, (Rule("css", "*.css"), Rule("b", "/%62"))),
        ),
        restrictions=(
            Restriction("r", "whitelist", (Rule("a", "/a/*", geography="Antarctica"),)),
            Restriction("r", "blacklist", (Rule("b", client_ip="192.0.2.7/24"),)),
            Restriction("r", "blacklist", (Rule("c", client_ip="192.0.2.0/24"),)),
            Restriction("r", "blacklist", (Rule("d", "/", referrer="Evil.example"),)),
        ),
    )

    assert compile_program(ID, spec) == Program(
        service_id=ID,
        domains=("a.example.com", "b.example.com"),
        origins=(
            Upstream("one.example.net", 80, False, None),
            Upstream("192.0.2.1", 443, True, "files.example.net"),
            Upstream("2001:db8::1", 80, False, "2001:db8::1"),
        ),
        routes=(Choice("/app/*", 1),),
        ttls=(Choice("/*.css", 5), Choice("/b", 5), Choice("/*", 315360000)),
        restrictions=(
            Access("blacklist", "client_ip", (Clients("/*", ("192.0.2.0/24",)),)),
            Access("blacklist", "referrer", (Clients("/", ("evil.example",)),)),
            Access("whitelist", "geography", (Clients("/a/*", ("AQ",)),)),
        ),
    )


def test_optional_fields_are_in_the_program_as_the_document_has_them() -> None:
    spec = accepted(ALL)
    program = compile_program(ID, spec)

    names = FIELDS.keys() - {"waf", "tags"}  # No node needs these.
    assert {name: getattr(program, name) for name in names} == {
        name: getattr(spec, name) for name in names
    }
    assert program.to_dict().keys().isdisjoint({"waf", "tags"})
    assert program.delivery is not None


def test_a_program_names_the_project_of_its_logs() -> None:
    assert compile_program(ID, make_spec(), "42").log_project == "42"
    assert "log_project" not in compile_program(ID, make_spec()).to_dict()


def test_options_of_caching_go_with_their_ttl() -> None:
    spec = accepted(ALL)
    program = compile_program(ID, spec)

    assert [it.pattern for it in program.ttls] == ["/a/*", "/"]
    assert [it.mode for it in program.caching] == ["respect_origin", "bypass"]
    assert program.caching[0].stale_if_error == 600
    plain = replace(spec, caching=(Caching("c", 5, (Rule("r", "/*"),)),))
    assert compile_program(ID, plain).caching == ()


WILD = tuple(Rule("a", "/" + "*a" * 1000 + str(number)) for number in range(6))
WILDER = tuple(Rule("a", "/" + "*a" * 510 + str(number)) for number in range(10))


def restricted(**rule: str) -> dict[str, Any]:
    return {"restrictions": (Restriction("r", "whitelist", (Rule("a", "/", **rule),)),)}


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (restricted(geography="Atlantis"), "Atlantis"),
        (restricted(client_ip="10.0.0.300"), "10.0.0.300"),
        ({"caching": (Caching("c", 1, (Rule("a", "/a/../b"),)),)}, "/a/../b"),
        ({"caching": (Caching("c", 1, (Rule("a", "/" + "x" * 4096),)),)}, "xxx"),
        ({"caching": (Caching("c", 1, WILD),)}, "6000 wildcards"),
        (
            {"redirects": tuple(Redirect("r", rule.request_url or "", "/") for rule in WILDER)},
            "5100 wildcards",
        ),
        ({"origins": (Origin("bad host"),)}, "bad host"),
        ({"origins": (Origin("a.example", 80, False, "custom", "x\r\ny"),)}, "x.*y"),
        ({"origins": ()}, "origins is empty"),
        ({"origins": (Origin("a.example"),) * 101}, "101"),
        ({"domains": ["a b"]}, "a b"),
    ],
)
def test_what_nodes_refuse_is_refused_at_post(part: dict[str, Any], named: str) -> None:
    with pytest.raises(PermanentError, match=named):
        compile_program(ID, make_spec(**part))


def test_a_program_has_sealed_secrets() -> None:
    spec = make_spec(signed_urls=SignedURLs((KEY,), (PathRule("a", "/a/*"),)))
    program = compile_program(ID, spec)
    assert [(it.sealed, it.text) for it in secrets_of(program)] == [("sealed", "")]
    assert program.signed_urls == spec.signed_urls
