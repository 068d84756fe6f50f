# SPDX-License-Identifier: Apache-2.0
"""Redirects and CORS as rules of Property Manager."""

from typing import Any

import pytest

from poppy.common.errors import PermanentError
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import Delivery
from poppy.model.document.redirects import Redirect
from poppy.model.specs import Restriction, Rule
from poppy.provider.akamai import rules
from tests.real.akamai_interpreter import Client, outcome
from tests.real.akamai_rules import errors
from tests.unit.provider.akamai.test_rules import SETTINGS, spec


def redirected(entry: Redirect, path: str, query: str = "") -> str | None:
    """Return the location of a redirect; None if there is none."""
    tree = rules.tree(spec(redirects=(entry,)), 17, SETTINGS)
    assert errors(tree, [17]) == []
    client = Client(path, query=query)
    found = outcome(tree, client).get("redirectplus")
    return None if found is None else client.variables.filled(found["destination"])


@pytest.mark.parametrize(
    ("location", "query", "found"),
    [
        ("/new", "", "/new"),
        ("/new", "a=1", "/new?a=1"),
        ("/new?b", "a=1", "/new?b"),
        ("/new#top", "a=1", "/new?a=1#top"),
        ("https://www.b.example:8443", "a=1", "https://www.b.example:8443?a=1"),
        ("/new/$1", "", "/new/x%20y/z"),
        ("/new?from=$1", "", "/new?from=x%20y/z"),
    ],
)
def test_where_a_redirect_leads(location: str, query: str, found: str) -> None:
    assert redirected(Redirect("r", "/old/*", location), "/old/x%20y/z", query) == found


def test_wildcards_of_a_query_are_kept_encoded() -> None:
    entry = Redirect("r", "/find?q=*&x=*", "/found/$1?x=$2")
    assert redirected(entry, "/find", "q=a%2Fb%26c&x=%3D%23") == "/found/a/b&c?x=%3D%23"
    assert redirected(entry, "/find", "q=a") is None


def test_a_redirect_needs_a_client_that_no_restriction_refuses() -> None:
    refused = Restriction("r", "blacklist", (Rule("r", client_ip="192.0.2.0/24"),))
    document = spec(
        redirects=(Redirect("r", "/old", "/new"),),
        cors=CORS(("*",)),
        delivery=Delivery(https_redirect=True),
        restrictions=(refused,),
    )
    tree = rules.tree(document, 17, SETTINGS)
    answers = {"redirect", "redirectplus", "constructResponse", "denyAccess"}
    preflight = {"Origin": "https://b.example", "Access-Control-Request-Method": "PUT"}

    def found(ip: str, **about: Any) -> set[str]:
        return answers & set(outcome(tree, Client("/old", ip=ip, **about)))

    assert found("192.0.2.1", scheme="http") == {"denyAccess"}
    assert found("192.0.2.1", scheme="https") == {"denyAccess"}
    assert found("192.0.2.1", method="OPTIONS", fields=preflight) == {"denyAccess"}
    assert found("198.51.100.1", scheme="http") == {"redirect"}
    assert found("198.51.100.1", scheme="https") == {"redirectplus"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Redirect("r", "/a", "/b", 308), r"redirects\[0\].status 308: Akamai has no such"),
        (Redirect("r", "/a", "/{{b}}"), r"redirects\[0\].location: Akamai reads '{{'"),
    ],
)
def test_redirects_that_akamai_lacks_are_refused(entry: Redirect, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        rules.check(spec(redirects=(entry,)), SETTINGS)


def test_a_variable_must_be_declared() -> None:
    """Show that the double refuses what Property Manager refuses."""
    tree = rules.tree(spec(redirects=(Redirect("r", "/old/*", "/$1"),)), 17, SETTINGS)
    lost = tree["variables"].pop()["name"]
    assert errors(tree, [17]) == [f"variable {lost} is not declared"]
