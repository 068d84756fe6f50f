# SPDX-License-Identifier: Apache-2.0
"""Rules across fields; each refusal names the value at fault."""

from typing import Any

import pytest

from tests.unit.model.documents import (
    FULL,
    MINIMAL,
    accepted,
    breaches,
    refusal,
    variant,
)


def _with_origins(*origins: dict[str, Any]) -> dict[str, Any]:
    return variant(MINIMAL, "origins", list(origins))


def _origin(name: str, *paths: str, **fields: object) -> dict[str, Any]:
    rules = [{"name": f"r{number}", "request_url": path} for number, path in enumerate(paths)]
    return {"origin": name, "rules": rules, **fields}


def _with_caching(*paths: tuple[str, ...]) -> dict[str, Any]:
    return variant(
        MINIMAL,
        "caching",
        [
            {
                "name": "c",
                "ttl": 60,
                "rules": [{"name": "r", "request_url": path} for path in entry],
            }
            for entry in paths
        ],
    )


def _with_restrictions(*entries: tuple[str, dict[str, str]]) -> dict[str, Any]:
    return variant(
        MINIMAL,
        "restrictions",
        [
            {"name": "x", "rules": [{"name": "r", **rule}]}
            | ({"access": access} if access else {})
            for access, rule in entries
        ],
    )


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("WWW.mywebsite.com", "lower case"),
        ("www.my_website.com", "'my_website'"),
        ("mywebsite", "no top-level domain"),
        ("192.0.2.1", "2 to 63 letters"),
        ("*.mywebsite.com", "'*'"),
        ("www.müller.de", "write it as www.xn--mller-kva.de"),
        ("www.xn--a.de", "'xn--a'"),
        ("www.\ud800.de", "ASCII"),
    ],
)
def test_a_domain_must_be_a_valid_lower_case_name(domain: str, reason: str) -> None:
    message = refusal(variant(MINIMAL, "domains.0.domain", domain))
    assert message.startswith(f"Domain {domain!r} is not a valid domain name: ")
    assert reason in message
    message.encode()


def test_a_domain_of_a_labels_is_accepted() -> None:
    accepted(variant(MINIMAL, "domains.0.domain", "www.xn--mller-kva.de"))


@pytest.mark.parametrize(
    ("domain", "example"),
    [
        ("mywebsite.com", "www.mywebsite.com"),
        ("mywebsite.co.uk", "www.mywebsite.co.uk"),
        ("co.uk", "www.example.co.uk"),
        ("xn--mller-kva.de", "www.xn--mller-kva.de"),
    ],
)
def test_a_root_domain_is_refused_with_an_example_of_a_subdomain(
    domain: str, example: str
) -> None:
    assert refusal(variant(MINIMAL, "domains.0.domain", domain)) == (
        f"{domain} is a root domain. Most DNS providers do not allow setting a CNAME on a root"
        f" domain. Please add a subdomain (e.g. {example})"
    )


@pytest.mark.parametrize("certificate", ["san", "sni", "custom"])
def test_a_root_domain_is_refused_with_any_certificate_but_shared(certificate: str) -> None:
    entry = {"domain": "mysite.com", "protocol": "https", "certificate": certificate}
    assert "mysite.com is a root domain" in refusal(variant(MINIMAL, "domains", [entry]))


def test_a_domain_is_listed_once_for_all_protocols() -> None:
    entry = {"domain": "www.mywebsite.com", "protocol": "https", "certificate": "san"}
    message = refusal(variant(MINIMAL, "domains", [*MINIMAL["domains"], entry]))
    assert message == "Domain www.mywebsite.com is listed more than once"


@pytest.mark.parametrize("certificate", ["shared", "san", "sni", "custom"])
@pytest.mark.parametrize("fields", [{}, {"protocol": "http"}])
def test_http_forbids_a_certificate(certificate: str, fields: dict[str, str]) -> None:
    domain = "mysite" if certificate == "shared" else "www.mysite.com"
    entry = {"domain": domain, "certificate": certificate, **fields}
    message = refusal(variant(MINIMAL, "domains", [entry]))
    assert (
        message == f"Domain {domain} can't have a certificate ({certificate}) with protocol http"
    )


@pytest.mark.parametrize("fields", [{}, {"certificate": None}])
def test_https_requires_a_certificate(fields: dict[str, None]) -> None:
    entry = {"domain": "www.mysite.com", "protocol": "https", **fields}
    message = refusal(variant(MINIMAL, "domains", [entry]))
    assert message.startswith("Domain www.mysite.com needs a certificate with protocol https")


def test_http_accepts_a_null_certificate() -> None:
    entry = {"domain": "www.mysite.com", "certificate": None}
    spec = accepted(variant(MINIMAL, "domains", [entry]))
    assert "certificate" not in spec.to_dict()["domains"][0]


@pytest.mark.parametrize("label", ["abc", "my-site", "4u2", "a" * 63, "xn--mller-kva"])
def test_a_shared_domain_is_a_single_label(label: str) -> None:
    accepted(variant(FULL, "domains.2.domain", label))


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("www.mysite.com", "more than one label"),
        ("-abc", "'-abc'"),
        ("abc-", "'abc-'"),
        ("My-site", "'My-site'"),
        ("my_site", "'my_site'"),
        ("a" * 64, "1 to 63"),
        ("xn--a", "'xn--a'"),
        ("müller", "write it as xn--mller-kva"),
        ("\ud800\ud800\ud800", "ASCII"),
    ],
)
def test_other_names_are_not_shared_domains(label: str, reason: str) -> None:
    message = refusal(variant(FULL, "domains.2.domain", label))
    assert message.startswith(f"Domain {label!r} with a shared certificate is not a single label")
    assert reason in message


def test_an_existing_shared_domain_is_accepted_unchanged() -> None:
    document = variant(FULL, "domains.2.domain", "myshop.scdn1.example.net")
    spec = accepted(document, ("myshop.scdn1.example.net",))
    assert spec.domains[2].domain == "myshop.scdn1.example.net"
    assert "'myshop.scdn1.example.net'" in refusal(document, ("other.scdn1.example.net",))


def test_an_existing_shared_domain_is_compared_with_the_others() -> None:
    document = variant(FULL, "origins.0.origin", "myshop.scdn1.example.net")
    document = variant(document, "domains.2.domain", "myshop.scdn1.example.net")
    message = refusal(document, ("myshop.scdn1.example.net",))
    assert message == "Domain myshop.scdn1.example.net is also an origin"


@pytest.mark.parametrize("origin", ["www.mywebsite.com", "WWW.MyWebsite.com"])
def test_a_domain_may_not_equal_an_origin(origin: str) -> None:
    message = refusal(_with_origins(_origin("a.example"), _origin(origin, "/x")))
    assert message == "Domain www.mywebsite.com is also an origin"


@pytest.mark.parametrize(
    ("origin", "stored"),
    [
        ("mywebsite.com", "mywebsite.com"),
        ("MyWebsite.COM", "mywebsite.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("169.254.1.1", "169.254.1.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
    ],
)
def test_an_origin_is_a_domain_name_or_an_address(origin: str, stored: str) -> None:
    assert accepted(_with_origins(_origin(origin))).origins[0].origin == stored


@pytest.mark.parametrize(
    "origin",
    [
        "1.2.3",
        "01.2.3.4",
        "localhost",
        "http://a.com",
        "a.com/x",
        "a.com:80",
        "[::1]",
        "fe80::1%lo",
        "192.0.2.0/24",
        "bücher.example",
        "\ud800.com",
        "a b.com",
    ],
)
def test_other_text_is_not_an_origin(origin: str) -> None:
    message = refusal(_with_origins(_origin(origin)))
    assert message.startswith(
        f"Origin {origin!r} is neither an IP address nor a valid domain name: "
    )


@pytest.mark.parametrize("second", ["a.example", "A.EXAMPLE"])
def test_origins_differ_in_scheme_or_name(second: str) -> None:
    message = refusal(_with_origins(_origin("a.example"), _origin(second, "/x")))
    assert message == "Origin http://a.example is listed more than once"
    accepted(_with_origins(_origin("a.example"), _origin(second, "/x", port=443, ssl=True)))
    accepted(_with_origins(_origin("a.example"), _origin("b.example", "/x")))


def test_ipv6_origins_are_compared_in_canonical_form() -> None:
    message = refusal(_with_origins(_origin("::1"), _origin("0:0::1", "/x")))
    assert message == "Origin http://::1 is listed more than once"


@pytest.mark.parametrize("index", [1, 2])
def test_the_second_and_later_origins_need_a_rule(index: int) -> None:
    origins = [_origin(f"{letter}.example", f"/{letter}") for letter in "abc"]
    without: list[dict[str, Any]] = [{}, {"rules": []}]
    for fields in without:
        origins[index] = {"origin": origins[index]["origin"], **fields}
        message = refusal(_with_origins(*origins))
        assert message.startswith(f"Origin {'abc'[index]}.example needs at least one rule")


@pytest.mark.parametrize("kind", ["domain", "origin"])
def test_a_host_header_value_requires_custom(kind: str) -> None:
    origin = _origin("a.example", hostheadertype=kind, hostheadervalue="b.example")
    message = refusal(_with_origins(origin))
    assert message == (
        f"Origin a.example can't have a hostheadervalue ('b.example') with hostheadertype {kind}"
    )
    origin.pop("hostheadertype")
    assert "'b.example'" in refusal(_with_origins(origin))


def test_custom_needs_a_host_header_value() -> None:
    message = refusal(_with_origins(_origin("a.example", hostheadertype="custom")))
    assert message == "Origin a.example needs a hostheadervalue with hostheadertype custom"


@pytest.mark.parametrize("value", ["localhost", "b.example:80", "a b.example", "a.b\r\nx: y"])
def test_a_host_header_value_is_a_valid_name(value: str) -> None:
    origin = _origin("a.example", hostheadertype="custom", hostheadervalue=value)
    message = refusal(_with_origins(origin))
    assert message.startswith(f"The hostheadervalue {value!r} of origin a.example is not a valid")


def test_a_host_header_value_is_stored_in_lower_case() -> None:
    origin = _origin("a.example", hostheadertype="custom", hostheadervalue="B.Example")
    assert accepted(_with_origins(origin)).origins[0].hostheadervalue == "b.example"


def test_the_paths_of_origin_rules_are_unique_over_the_service() -> None:
    for first, second in (("/x", "/x"), ("/x", "x"), ("x", "/x")):
        message = refusal(_with_origins(_origin("a.example", first), _origin("b.example", second)))
        assert message.startswith("Path /x is in more than one rule of an origin")
        message = refusal(_with_origins(_origin("a.example", first, second)))
        assert message.startswith("Path /x ")
    accepted(_with_origins(_origin("a.example", "/x"), _origin("b.example", "/X")))


def test_a_first_origin_without_rules_has_the_default_path() -> None:
    message = refusal(_with_origins(_origin("a.example"), _origin("b.example", "/*")))
    assert message.startswith("Path /* is in more than one rule of an origin")


def test_the_paths_of_caching_rules_are_unique() -> None:
    for paths in ((("/x",), ("x",)), (("/x", "/x"),), (("/*",), ()), ((), ())):
        message = refusal(_with_caching(*paths))
        assert message.startswith(f"Path {'/x' if '/x' in paths[0] else '/*'} is in more than one")
        assert "of caching" in message
    accepted(_with_caching(("/x",), ("/y", "/*")))


def test_origins_and_caching_may_have_the_same_path() -> None:
    accepted(
        variant(_with_caching(("/x",)), "origins", [_origin("a.com"), _origin("b.com", "/x")])
    )


@pytest.mark.parametrize("path", ["origins.1", "caching.1", "restrictions.0"])
def test_a_path_is_not_longer_than_1024_with_its_added_slash(path: str) -> None:
    accepted(variant(FULL, f"{path}.rules.0.request_url", "x" * 1023))
    message = refusal(variant(FULL, f"{path}.rules.0.request_url", "x" * 1024))
    assert message.startswith("The request_url /xxx")
    assert "longer than 1024 characters" in message


KINDS = [
    {"referrer": "www.mywebsite.com"},
    {"client_ip": "192.0.2.1"},
    {"geography": "BR"},
]
BLACKLISTED = [{"referrer": "bad.example"}, {"client_ip": "192.0.2.2"}, {"geography": "DE"}]


@pytest.mark.parametrize("number", range(3))
def test_a_path_may_not_both_whitelist_and_blacklist_the_same_kind(number: int) -> None:
    kind = next(iter(KINDS[number]))
    for white, black in (({}, {}), ({"request_url": "/x"}, {"request_url": "x"})):
        message = refusal(
            _with_restrictions(
                ("whitelist", KINDS[number] | white), ("blacklist", BLACKLISTED[number] | black)
            )
        )
        path = white.get("request_url", "/*")
        assert message == (
            f"Path {path} has both a whitelist and a blacklist by {kind}"
            " (rule 'r' of restriction 'x')"
        )


def test_a_rule_without_a_path_matches_every_path() -> None:
    message = refusal(
        _with_restrictions(
            ("whitelist", KINDS[0]), ("blacklist", BLACKLISTED[0] | {"request_url": "/*"})
        )
    )
    assert message.startswith("Path /* has both")


def test_a_path_may_whitelist_one_kind_and_blacklist_another() -> None:
    accepted(_with_restrictions(("whitelist", KINDS[0]), ("blacklist", BLACKLISTED[1])))


def test_different_paths_may_whitelist_and_blacklist_the_same_kind() -> None:
    accepted(
        _with_restrictions(
            ("whitelist", KINDS[2]), ("blacklist", BLACKLISTED[2] | {"request_url": "/x"})
        )
    )


def test_a_path_may_whitelist_the_same_kind_more_than_once() -> None:
    accepted(_with_restrictions(("whitelist", KINDS[2]), ("whitelist", BLACKLISTED[2])))


@pytest.mark.parametrize(
    "referrer",
    ["*.example.com", "localhost", "http://a.com", "a.com/x", "192.0.2.1", "bücher.example"],
)
def test_a_referrer_is_a_valid_domain_name(referrer: str) -> None:
    message = refusal(_with_restrictions(("whitelist", {"referrer": referrer})))
    assert message.startswith(f"Referrer {referrer!r} is not a valid domain name: ")


def test_a_referrer_that_is_too_long_for_a_name_is_quoted_in_part() -> None:
    message = refusal(_with_restrictions(("whitelist", {"referrer": "a." * 510 + "com"})))
    assert "longer than 253 characters" in message
    assert len(message) < 400


def test_a_referrer_may_be_a_root_domain_and_is_stored_in_lower_case() -> None:
    spec = accepted(_with_restrictions(("whitelist", {"referrer": "MyWebsite.com"})))
    assert spec.restrictions[0].rules[0].referrer == "mywebsite.com"


@pytest.mark.parametrize(
    "client_ip", ["192.0.2.1", "192.0.2.77/24", "2001:DB8::1", "2001:db8::1/64"]
)
def test_a_client_ip_is_an_address_or_a_block_and_kept_as_written(client_ip: str) -> None:
    spec = accepted(_with_restrictions(("whitelist", {"client_ip": client_ip})))
    assert spec.restrictions[0].rules[0].client_ip == client_ip


@pytest.mark.parametrize("client_ip", ["1.2.3", "01.2.3.4", "1.2.3.4/33", "a.com", "1.2.3.4-9"])
def test_other_text_is_not_a_client_ip(client_ip: str) -> None:
    message = refusal(_with_restrictions(("whitelist", {"client_ip": client_ip})))
    assert message.startswith(f"The client_ip {client_ip!r} is neither ")


def test_a_long_client_ip_is_quoted_in_part() -> None:
    document = _with_restrictions(("whitelist", {"client_ip": "1" * 60000}))
    (message,) = breaches(document)
    assert "is longer than 64 characters" in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({}, (80, False)),
        ({"ssl": False}, (80, False)),
        ({"port": 80}, (80, False)),
        ({"ssl": True}, (443, True)),
        ({"ssl": True, "port": 443}, (443, True)),
        ({"ssl": True, "port": 443.0}, (443, True)),
    ],
)
def test_tls_to_an_origin_uses_port_443(given: dict[str, Any], stored: tuple[int, bool]) -> None:
    (origin,) = accepted(_with_origins(_origin("o.example.net", **given))).origins
    assert (origin.port, origin.ssl) == stored


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"ssl": True, "port": 80}, "has ssl with port 80"),
        ({"port": 443}, "has port 443 without ssl"),
        ({"port": 443, "ssl": False}, "has port 443 without ssl"),
    ],
)
def test_a_port_that_contradicts_ssl_is_refused(given: dict[str, Any], reason: str) -> None:
    first = _origin("a.example.net")
    message = refusal(_with_origins(first, _origin("o.example.net", "/x", **given)))
    assert message.startswith(f"Origin o.example.net {reason}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a//b", "/a/b"),
        ("/%61b", "/ab"),
        ("/a%2Fb", "/a/b"),
        ("/%c3%a9", "/%C3%A9"),
        ("/**", "/*"),
        ("//a", "a"),
        ("/100%", "/100%25"),
        ("/a?q=%61", "/a?q=a"),
    ],
)
def test_equivalent_paths_count_as_one(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        path = second if second.startswith("/") else f"/{second}"
        message = refusal(_with_caching((first,), (second,)))
        assert message.startswith(
            f"Path {path} is in more than one rule of caching (it is equivalent to "
        )
        message = refusal(_with_origins(_origin("a.example", first), _origin("b.example", second)))
        assert message.startswith(
            f"Path {path} is in more than one rule of an origin (it is equivalent to "
        )
        restricted = _with_restrictions(
            ("whitelist", {"client_ip": "192.0.2.1", "request_url": first}),
            ("blacklist", {"client_ip": "192.0.2.2", "request_url": second}),
        )
        assert "both a whitelist and a blacklist" in refusal(restricted)


@pytest.mark.parametrize("path", ["origins.1", "caching.1", "restrictions.0"])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/a/../c", "segment"),
        ("/a/./c", "segment"),
        ("..", "segment"),
        ("/*/%2e%2E/c", "segment"),
        ("/a#b", '"#"'),
        ("/a%0Ab", "control character"),
        ("/a?%00", "control character"),
        ("/a\\b", "backslash"),
        ("/a%5cb", "backslash"),
    ],
)
def test_a_path_that_no_request_can_match_is_refused(path: str, url: str, reason: str) -> None:
    document = variant(FULL, f"{path}.rules.0.name", "the rule")
    message = refusal(variant(document, f"{path}.rules.0.request_url", url))
    assert message.startswith("No request can match the request_url ")
    assert url in message.replace("\\\\", "\\")
    assert "of rule 'the rule': " in message
    assert reason in message


def test_a_backslash_in_a_query_is_accepted() -> None:
    accepted(variant(FULL, "caching.1.rules.0.request_url", "/a?b=\\"))


def test_type_is_accepted_for_access() -> None:
    rules = [{"name": "r", "client_ip": "192.0.2.1"}]

    def access(**fields: str) -> str:
        entry = {"name": "x", "rules": rules, **fields}
        return accepted(variant(MINIMAL, "restrictions", [entry])).restrictions[0].access

    assert access() == "whitelist"
    assert access(type="blacklist") == "blacklist"
    assert access(type="whitelist", access="blacklist") == "blacklist"
    entry = {"name": "x", "rules": rules, "type": "greylist"}
    assert "greylist" in breaches(variant(MINIMAL, "restrictions", [entry]))[0]
