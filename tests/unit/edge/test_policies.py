# SPDX-License-Identifier: Apache-2.0
"""What HAProxy's maps and policies say of a service."""

from dataclasses import replace
from pathlib import Path

import pytest
from oslo_config import cfg

from poppy.edge import options
from poppy.edge.errors import Refused
from poppy.edge.plane.delivery import entry
from poppy.edge.plane.policies import RULES, served
from poppy.edge.program import Access, Choice, Clients, Program, Upstream
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import HSTS, Delivery
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.paths import PathRule
from poppy.model.document.redirects import Redirect
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.secrets import Secret

ONE = Upstream("a.example.net", 80, False, None)
TWO = Upstream("2001:db8::1", 443, True, "2001:db8::2")
PROGRAM = Program("s-1", ("www.example.com",), (ONE, TWO))


@pytest.fixture
def settings() -> options.Settings:
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([], project="poppy-edge")
    return options.read(conf)


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ({}, "a.example.net:80||||cached"),
        ({"ttls": (Choice("/*", 5),)}, "a.example.net:80|||5s|cached"),
        ({"ttls": (Choice("/*", 0),)}, "a.example.net:80|||0s|direct"),
        ({"routes": (Choice("/*", 1),)}, "[2001:db8::1]:443|1|[2001:db8::2]||cached"),
    ],
)
def test_a_service_without_rules_for_paths_needs_no_policy(
    settings: options.Settings, parts: dict[str, tuple[Choice, ...]], value: str
) -> None:
    service = served(replace(PROGRAM, **parts), settings)

    assert service.value == value
    assert not service.policy


def test_a_policy_has_all_rules_in_their_order(settings: options.Settings) -> None:
    settings = replace(settings, geography_database=Path("/countries"))
    networks = Clients("/*", ("192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"))
    service = served(
        replace(
            PROGRAM,
            routes=(Choice("/b/*", 1),),
            ttls=(Choice("/a?q", 0), Choice("/*", 5)),
            restrictions=(
                Access("blacklist", "client_ip", (networks,)),
                Access("whitelist", "geography", (Clients("/x", ("DE",)), Clients("/y", ("FR",)))),
            ),
        ),
        settings,
    )

    assert service.policy.splitlines() == [
        "origin a.example.net:80||",
        "origin [2001:db8::1]:443|1|[2001:db8::2]",
        "route 1 /b/*",
        "ttl 0s|direct /a?q",
        "ttl 5s|cached /*",
        "access blacklist client_ip",
        "clients /*",
        "value 4110000000000000000000010",
        "value 600100000000000010000110110111000",
        "value 4",
        "access whitelist geography",
        "clients /x",
        "value DE",
        "clients /y",
        "value FR",
    ]
    assert service.value == "@" + service.policy_name.removeprefix("s-1-")


@pytest.mark.parametrize(
    ("delivery", "value"),
    [
        (Delivery(), ""),
        (Delivery(compression="off", websockets=True, https_redirect=False), ""),
        (Delivery(https_redirect=True, redirect_status=308), "308|||"),
        (Delivery(hsts=HSTS(5, True, True)), "|max-age%3D5%3BincludeSubDomains%3Bpreload||"),
        (Delivery(compression="gzip", websockets=False), "||1|0"),
    ],
)
def test_the_map_of_deliveries_has_what_differs_from_the_default(
    settings: options.Settings, delivery: Delivery, value: str
) -> None:
    settings = replace(settings, https=())
    program = replace(PROGRAM, delivery=delivery)
    assert entry(program, program.domains) == value
    # Without certificates on this node, clients can't follow a redirect.
    assert served(program, settings).delivery == value.replace("308|||", "")


def test_a_policy_has_keys_and_paths_of_signed_urls(settings: options.Settings) -> None:
    keys = (SigningKey("old", Secret(text="s3cret" * 6)), SigningKey("new", Secret(text="k" * 32)))
    signed_urls = SignedURLs(keys, (PathRule("films", "/films//*"),))
    service = served(replace(PROGRAM, origins=(ONE,), signed_urls=signed_urls), settings)

    assert service.policy.splitlines() == [
        "origin a.example.net:80||",
        "signed token",
        f"key old {'czNjcmV0' * 6}",
        "key new a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
        "protect /films/*",
    ]
    digest = service.policy_name.removeprefix("s-1-")
    # Its requests are not plain: only all rules check the token.
    assert service.value == f"@{digest}|signed{RULES}"
    sealed = SignedURLs((SigningKey("k", Secret("01234567", "sealed")),))
    with pytest.raises(Refused, match="signed_urls has sealed secrets"):
        served(replace(PROGRAM, signed_urls=sealed), settings)


def test_a_node_without_a_database_refuses_geography(settings: options.Settings) -> None:
    access = (Access("whitelist", "geography", (Clients("/x", ("DE",)),)),)

    with pytest.raises(Refused, match="geography database"):
        served(replace(PROGRAM, restrictions=access), settings)


def test_what_changes_responses_is_lines_of_a_policy(
    settings: options.Settings,
) -> None:
    program = replace(
        PROGRAM,
        redirects=(Redirect("r", "/a//*", "/$1"), Redirect("s", "/b", "https://a.example", 308)),
        cors=CORS(("https://a.example",), ("PUT", "PATCH"), max_age=0, allow_credentials=True),
        headers=(
            HeaderRules("h", (PathRule("p", "/%61"),), RequestChanges({"X-A": "1 %2"}, ("X-B",))),
            HeaderRules("i", None, None, ResponseChanges({"X-C": ""}, {"X-D": "="})),
        ),
        error_pages=(ErrorPage("e", (404, 410), "/e", 0), ErrorPage("f", (500,), "/f")),
    )

    assert served(program, settings).policy.splitlines()[2:] == [
        "redirect 301|/$1 /a/*",
        "redirect 308|https://a.example /b",
        "cors origin https%3A%2F%2Fa.example",
        "cors methods PUT%2C%20PATCH",
        "cors age 0",
        "cors credentials true",
        "change 0",
        "path /a",
        "request del X-B",
        "request set X-A=1%20%252",
        "change 1",
        "response set X-C=",
        "response add X-D=%3D",
        "error 404|0s /e",
        "error 410|0s /e",
        "error 500| /f",
    ]


def test_entry_begins_with_the_project_that_gets_the_logs(settings: options.Settings) -> None:
    direct = replace(PROGRAM, routes=(Choice("/a", 1),))
    for program in (PROGRAM, direct):
        plain, logged = served(program, settings), replace(program, log_project="4:2")
        assert served(logged, settings) == replace(plain, value=f"+4:2|{plain.value}")


def test_only_a_program_that_was_not_checked_is_checked(
    settings: options.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program.from_json(PROGRAM.to_json())
    changed = replace(program, domains=("a b",))
    with pytest.raises(Refused, match="a b"):
        served(changed, settings)

    monkeypatch.setattr(Program, "to_dict", None)

    assert served(program, settings) == served(program, settings)
