# SPDX-License-Identifier: Apache-2.0
"""The optional fields of origins, and the firewall, as rules of Property Manager."""

from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model.document.waf import WAF
from poppy.model.specs import Domain, Origin, Rule
from poppy.provider.akamai import rules
from tests.real.akamai_interpreter import Client
from tests.real.akamai_rules import errors
from tests.unit.provider.akamai.test_caching import errors_of
from tests.unit.provider.akamai.test_rules import SETTINGS, served, spec

NAMES = ("baseDirectory", "timeout", "readTimeout", "tieredDistribution")


def applied(path: str, *origins: Origin) -> dict[str, Any]:
    document = spec(origins=origins)
    assert errors(rules.tree(document, 17, SETTINGS), [17]) == []
    found = served(document, Client(path))
    return {name: found[name] for name in NAMES if name in found}


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"path": "/site"}, {"baseDirectory": {"value": "/site/"}}),
        ({"path": "/"}, {}),
        ({"connect_timeout": 2}, {"timeout": {"value": "2s"}}),
        ({"response_timeout": 120}, {"readTimeout": {"value": "2m"}}),
        ({"shield": True}, {"tieredDistribution": {"enabled": True}}),
        ({"shield": False}, {"tieredDistribution": {"enabled": False}}),
        (
            {"shield": "CHEU2"},
            {"tieredDistribution": {"enabled": True, "tieredDistributionMap": "CHEU2"}},
        ),
    ],
)
def test_fields_are_those_of_the_origin_of_a_path(
    fields: dict[str, Any], options: dict[str, Any]
) -> None:
    plain = Origin("two.example", rules=(Rule("app", "/app/*"),))
    origin = Origin("one.example", rules=(Rule("all", "/*"),), **fields)
    assert applied("/a", origin, plain) == options
    assert applied("/app/a", origin, plain) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "/a:b"}, r"origins\[0\].path '/a:b'"),
        ({"path": "/{{a}}"}, r"origins\[0\].path"),
        ({"shield": "Paris"}, r"origins\[0\].shield 'Paris': Akamai's locations are CH2"),
    ],
)
def test_values_that_akamai_lacks_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        rules.check(spec(origins=(Origin("one.example", **fields),)), SETTINGS)


def test_a_shield_of_a_secure_property_has_no_location() -> None:
    domains = (Domain("www.a.example", "https", "sni"),)
    origin = Origin("one.example", 443, True, shield="CH2")
    with pytest.raises(PermanentError, match="chooses the location; use true"):
        rules.check(spec(domains=domains, origins=(origin,)), SETTINGS)
    tree = rules.tree(spec(domains=domains, origins=(origin,)), 17, SETTINGS)
    assert any("not for a secure property" in wrong for wrong in errors(tree, [17]))


def test_the_firewall_is_a_security_configuration() -> None:
    found = served(spec(waf=WAF("123")), Client("/"))["webApplicationFirewall"]
    assert found == {"firewallConfiguration": {"configId": 123}}
    assert errors(rules.tree(spec(waf=WAF("123")), 17, SETTINGS), [17]) == []
    for policy in ("arn:aws", "0", "-1", "1.5", "1" * 11):
        with pytest.raises(PermanentError, match="IDs of security configurations are numbers"):
            rules.check(spec(waf=WAF(policy)), SETTINGS)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("baseDirectory", {"value": "/a"}),
        ("timeout", {"value": "2"}),
        ("tieredDistribution", {"enabled": True, "tieredDistributionMap": "XX"}),
        ("webApplicationFirewall", {"firewallConfiguration": {"configId": "1"}}),
    ],
)
def test_the_double_refuses_other_options(name: str, options: dict[str, Any]) -> None:
    assert errors_of({"name": name, "options": options})


@pytest.mark.parametrize(
    "path",
    [
        *("/a/../b", "/..", "/a/%2e%2E/b", "/a/.%2e", "/a%2f..%2fb", "/a/..;v=1/b", "/a/..%3bv/b"),
        *("/a/..%5cb", "/a%5C..", "/a\\..\\b"),
    ],
)
def test_no_spelling_of_a_parent_directory_leaves_the_path_of_an_origin(path: str) -> None:
    tree = spec(origins=(Origin("one.example", rules=(Rule("all", "/*"),), path="/site"),))
    found = served(tree, Client(path))
    assert found["denyAccess"] == {"enabled": True, "reason": "poppy-origin-path"}
    plain = spec(origins=(Origin("one.example", rules=(Rule("all", "/*"),)),))
    assert "denyAccess" not in served(plain, Client(path))


@pytest.mark.parametrize("path", ["/a/b", "/a..b/c", "/..a", "/a../b", "/.../a", "/./a", "/a/;.."])
def test_other_dots_are_not_refused(path: str) -> None:
    tree = spec(origins=(Origin("one.example", rules=(Rule("all", "/*"),), path="/site"),))
    assert "denyAccess" not in served(tree, Client(path))
