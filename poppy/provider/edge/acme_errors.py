# SPDX-License-Identifier: Apache-2.0
"""Errors of ACME authorities (RFC 8555, section 6.7; RFC 7807), as errors of drivers.

All of them affect one certificate only. An authority that is down must not open the circuit
breaker of the whole edge, which goes on serving.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from acme import messages

from poppy.common import logs
from poppy.common.errors import DriverError, PermanentError, RetryableError

#: Maximum characters of an authority's text in a message.
_QUOTED = 300

#: What the owner of a domain has to do, by the type of the problem.
_ADVICE: Mapping[str, str] = {
    "caa": "its CAA records do not allow this authority; add its name to them or remove them",
    "connection": "port 80 can't be reached; point the domain to the edge",
    "dns": "its DNS records can't be looked up; correct its zone",
    "dnssec": "its DNSSEC signatures are invalid; correct its zone",
    "incorrectResponse": "another server answers for it; point the domain to the edge",
    "tls": "another server answers for it; point the domain to the edge",
    "unauthorized": "another server answers for it, or its records are not complete; point the "
    "domain to the edge",
}
_REFUSED = frozenset({"rejectedIdentifier", "unsupportedIdentifier"})


class AuthorityError(RetryableError):
    """The authority does not serve this request now. Another one may."""


class RateLimited(AuthorityError):
    """A limit of the authority, or Poppy's own below it, is reached."""


class AccountMissing(AuthorityError):
    """The authority does not know the account."""


class OrderMissing(AuthorityError):
    """The authority does not know the order, which may have expired."""


class NotReady(AuthorityError):
    """The order can't be finalized yet."""


class AlreadyReplaced(AuthorityError):
    """Another order replaces the certificate already (RFC 9773, section 5)."""


class Invalid(RetryableError):
    """The validation of domains failed, and their owner has to do something.

    Attributes:
        problems: the reason by domain, for the tenant.
    """

    def __init__(self, problems: Mapping[str, str], retry_after: float | None = None) -> None:
        reasons = "; ".join(f"{domain}: {reason}" for domain, reason in sorted(problems.items()))
        super().__init__(f"No certificate: {reasons}", retry_after)
        self.problems = dict(problems)


def of_request(
    problem: messages.Error,
    authority: str,
    retry_after: float | None,
    names: Iterable[str] = (),
) -> DriverError:
    """Return the error for a problem document that answered a request.

    Args:
        authority: its name, for messages.
        retry_after: seconds of the ``Retry-After`` field.
        names: the domains that a problem without an identifier is about.
    """
    types = {type_of(it) for it in _leaves(problem)}
    message = f"{authority}: {_text(problem)}"
    if "rateLimited" in types:
        return RateLimited(message, retry_after)
    if types & _REFUSED:
        return PermanentError(f"{authority} issues no certificate for {_reasons(problem, names)}")
    # For a request, it is the account that is not authorized.
    if types & (_ADVICE.keys() - {"unauthorized"}):
        return Invalid(by_domain(problem, names), retry_after)
    special: Mapping[str, type[AuthorityError]] = {
        "accountDoesNotExist": AccountMissing,
        "alreadyReplaced": AlreadyReplaced,
        "orderNotReady": NotReady,
    }
    return special.get(type_of(problem), AuthorityError)(message, retry_after)


def of_order(
    order: messages.Order,
    authorizations: Iterable[messages.Authorization],
    authority: str,
    names: Sequence[str],
) -> DriverError:
    """Return the error for an order that is invalid.

    Args:
        authorizations: all of the order.
        names: the domains of the order.
    """
    problems: dict[str, str] = {}
    for authorization in authorizations:
        domain = authorization.identifier.value
        for challenge in authorization.challenges:
            if challenge.error is not None:
                problems |= by_domain(challenge.error, [domain])
    if problems:
        return Invalid(problems)
    if order.error is not None:
        return of_request(order.error, authority, None, names)
    return Invalid(dict.fromkeys(names, f"{authority} does not say why"))


def by_domain(problem: messages.Error, names: Iterable[str]) -> dict[str, str]:
    """Return what the owner has to do, by domain (RFC 8555, section 6.7.1)."""
    found: dict[str, str] = {}
    for leaf in _leaves(problem):
        domains = [leaf.identifier.value] if leaf.identifier else names
        advice = _ADVICE.get(type_of(leaf))
        said = _text(leaf)
        found |= dict.fromkeys(domains, f"{advice} ({said})" if advice else said)
    return found


def type_of(problem: messages.Error) -> str:
    """Return a problem's type without the prefix of ACME."""
    return str(problem.typ).removeprefix(messages.ERROR_PREFIX)


def _leaves(problem: messages.Error) -> Iterator[messages.Error]:
    """Return the subproblems, or the problem itself if it has none."""
    yield from problem.subproblems or (problem,)


def _reasons(problem: messages.Error, names: Iterable[str]) -> str:
    reasons = by_domain(problem, names)
    return "; ".join(f"{domain} ({reason})" for domain, reason in sorted(reasons.items()))


def _text(problem: messages.Error) -> str:
    return logs.mask(str(problem.detail or type_of(problem)))[:_QUOTED]
