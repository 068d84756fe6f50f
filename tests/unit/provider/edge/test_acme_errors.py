# SPDX-License-Identifier: Apache-2.0

import pytest
from acme import messages

from poppy.common import logs
from poppy.common.errors import PermanentError, RetryableError
from poppy.provider.edge import acme_errors

PREFIX = "urn:ietf:params:acme:error:"
NAMES = ["www.example.com"]


def problem(kind, detail="why", **fields):
    document = {"type": f"{PREFIX}{kind}", "detail": detail, **fields}
    return messages.Error.from_json(document)


def part(kind, domain):
    return {
        "type": f"{PREFIX}{kind}",
        "detail": f"why {domain}",
        "identifier": {"type": "dns", "value": domain},
    }


def test_a_rate_limit_has_the_authority_s_wait():
    error = acme_errors.of_request(problem("rateLimited"), "ca.example", 60.0)
    assert type(error) is acme_errors.RateLimited
    assert error.retry_after == 60
    assert str(error) == "ca.example: why"


@pytest.mark.parametrize("kind", ["rejectedIdentifier", "unsupportedIdentifier"])
def test_a_refused_name_is_permanent(kind):
    error = acme_errors.of_request(problem(kind), "ca.example", None, NAMES)
    assert type(error) is PermanentError
    assert str(error) == "ca.example issues no certificate for www.example.com (why)"


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("caa", "CAA"),
        ("connection", "port 80"),
        ("dns", "DNS"),
        ("dnssec", "DNSSEC"),
        ("incorrectResponse", "point the domain"),
        ("tls", "point the domain"),
    ],
)
def test_what_the_owner_has_to_do_is_said_by_domain(kind, advice):
    error = acme_errors.of_request(problem(kind), "ca.example", None, NAMES)
    assert type(error) is acme_errors.Invalid
    assert advice in error.problems["www.example.com"]
    assert str(error).startswith("No certificate: www.example.com: ")


def test_subproblems_are_for_their_own_domains():
    compound = problem(
        "compound", subproblems=[part("caa", "a.example"), part("dns", "b.example")]
    )
    error = acme_errors.of_request(compound, "ca.example", None, NAMES)
    assert set(error.problems) == {"a.example", "b.example"}
    assert "CAA" in error.problems["a.example"]
    assert "why b.example" in error.problems["b.example"]


def test_a_refused_name_among_others_is_permanent_and_named():
    compound = problem("compound", subproblems=[part("rejectedIdentifier", "a.example")])
    with pytest.raises(PermanentError, match="no certificate for a.example"):
        raise acme_errors.of_request(compound, "ca.example", None, NAMES)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("accountDoesNotExist", acme_errors.AccountMissing),
        ("alreadyReplaced", acme_errors.AlreadyReplaced),
        ("badNonce", acme_errors.AuthorityError),
        ("externalAccountRequired", acme_errors.AuthorityError),
        ("orderNotReady", acme_errors.NotReady),
        ("serverInternal", acme_errors.AuthorityError),
        ("somethingNew", acme_errors.AuthorityError),
        # For a request, the account is meant.
        ("unauthorized", acme_errors.AuthorityError),
        ("userActionRequired", acme_errors.AuthorityError),
    ],
)
def test_other_problems_are_the_authority_s(kind, expected):
    error = acme_errors.of_request(problem(kind), "ca.example", None, NAMES)
    assert type(error) is expected
    assert isinstance(error, RetryableError)
    assert error.scope == "service"


def test_a_failed_validation_of_an_unauthorized_domain_is_its_owner_s():
    found = acme_errors.by_domain(problem("unauthorized"), NAMES)
    assert "point the domain to the edge (why)" in found["www.example.com"]


def test_texts_of_an_authority_are_short_and_masked():
    logs.register_secrets(["hmac-secret"])
    error = acme_errors.of_request(
        problem("serverInternal", "hmac-secret" + "x" * 5000), "ca.example", None
    )
    assert "hmac-secret" not in str(error)
    assert len(str(error)) < 400


def authorization(domain, *kinds):
    """Return an authorization with challenges that failed; None for one that did not."""
    challenges = [
        {
            "type": "http-01",
            "url": "https://ca.example/1",
            "token": "x" * 43,
            "status": "invalid",
            **({"error": {"type": f"{PREFIX}{kind}", "detail": "why"}} if kind else {}),
        }
        for kind in kinds
    ]
    identifier = {"type": "dns", "value": domain}
    return messages.Authorization.from_json({"identifier": identifier, "challenges": challenges})


def order(**fields):
    return messages.Order.from_json({"status": "invalid", **fields})


def test_an_invalid_order_names_all_domains_that_failed():
    authorizations = [
        authorization("good.example", None),
        authorization("a.example", None, "connection"),
        authorization("b.example", "unauthorized"),
    ]
    error = acme_errors.of_order(order(), authorizations, "ca.example", NAMES)
    assert type(error) is acme_errors.Invalid
    assert set(error.problems) == {"a.example", "b.example"}
    assert "port 80" in error.problems["a.example"]


def test_an_order_that_failed_after_the_validation_says_why():
    failed = order(error={"type": f"{PREFIX}caa", "detail": "no"})
    error = acme_errors.of_order(failed, [authorization("a.example")], "ca.example", NAMES)
    assert "CAA" in error.problems["www.example.com"]
    error = acme_errors.of_order(order(), [], "ca.example", NAMES)
    assert error.problems == {"www.example.com": "ca.example does not say why"}
