# SPDX-License-Identifier: Apache-2.0
"""Certificates by ACME (RFC 8555), as a state machine that survives the death of a worker.

An issuance is an :class:`~poppy.provider.edge.acme_orders.Order`, which is stored after each step.
The private key exists before the order, and the store knows of an order before the authority
does. So a worker that takes over continues the same order, with the same key::

    order = issuer.new(["www.example.com"])
    while order.certificate is None:
        order = issuer.step(order)

Revocation is not implemented: the private key of a deleted service is deleted, not disclosed, and
few clients check revocation. Unused authorizations expire by themselves.
"""

import datetime
import re
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from acme import challenges, crypto_util, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from oslo_log import log

from poppy.common.clock import now_utc
from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.common.vault import Vault
from poppy.edge.program import Certificate
from poppy.provider.edge import acme_errors, acme_renewal
from poppy.provider.edge.acme_accounts import Accounts, new_key
from poppy.provider.edge.acme_limits import Budget, pause
from poppy.provider.edge.acme_options import Authority, Limits
from poppy.provider.edge.acme_orders import DNS, HTTP, Challenge, Order, Publisher, Records
from poppy.provider.edge.acme_session import Session

LOG = log.getLogger(__name__)

#: The most names of a certificate, as at Let's Encrypt.
MAX_NAMES = 100
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}")
#: Of RFC 8555, section 8.3. It becomes part of a path, so it is checked.
_TOKEN = re.compile("[A-Za-z0-9_-]{22,256}")
_MAX_CHAIN = 100_000  #: Bytes.
_POLL = 3.0  #: Seconds between two polls, if the authority names no other time.
_FASTEST = 1.0  #: The least that it may name.
#: After this many consecutive failures, an authority is avoided for this many seconds.
_PATIENCE = 3
_AVOIDED = 3600.0
_KINDS = {HTTP: challenges.HTTP01, DNS: challenges.DNS01}


class Issuer:
    """Issues and renews certificates. It is thread-safe.

    Args:
        authorities: in order of preference; at least one.
        dns_suffixes: names at and below these are validated by dns-01, as are wildcards; all
            others by http-01.
    """

    def __init__(
        self,
        authorities: Sequence[Authority],
        vault: Vault,
        records: Records,
        publisher: Publisher,
        limits: Limits,
        dns_suffixes: Iterable[str] = (),
    ) -> None:
        self._authorities = {authority.directory: authority for authority in authorities}
        self._vault = vault
        self._records = records
        self._publisher = publisher
        self._budget = Budget(records, limits)
        self._suffixes = tuple(f".{suffix}" for suffix in dns_suffixes)
        self._accounts = Accounts(vault, records)
        self._local = threading.local()

    def new(
        self,
        names: Iterable[str],
        previous: Order | None = None,
        *,
        project_id: str = "",
        service_id: str = "",
    ) -> Order:
        """Store an order with a new private key, and return it. This sends nothing.

        Args:
            names: 1 to 100 domains in lower case, as A-labels.
            previous: the finished order of the certificate to renew.
            project_id: the project of the service that has the names.
            service_id: the service's ID.

        Raises:
            PermanentError: a name is invalid, or there are too many.
        """
        wanted = tuple(dict.fromkeys(names))
        if not 1 <= len(wanted) <= MAX_NAMES:
            raise PermanentError(f"A certificate has 1 to {MAX_NAMES} names, not {len(wanted)}")
        for name in wanted:
            check_name(name)
        authority, replaces = self._choose({}), None
        if previous is not None and previous.authority in self._authorities:
            authority = previous.authority
            if previous.certificate is not None:
                replaces = acme_renewal.certificate_id(acme_renewal.leaf(previous.certificate))
        order_id = uuid.uuid4().hex
        order = Order(
            id=order_id,
            names=wanted,
            authority=authority,
            key=new_key(self._vault, order_id),
            replaces=replaces,
            renewal=previous is not None and set(previous.names) == set(wanted),
            project_id=project_id,
            service_id=service_id,
        )
        return self._put(order)

    def step(self, order: Order) -> Order:
        """Take the next step of an order, store the result and return it.

        Raises:
            InProgressError: the next step is possible later.
            RetryableError: the authority failed, a limit is reached, or the owner of a domain has
                to do something (:class:`~poppy.provider.edge.acme_errors.Invalid`). The order
                can be continued after ``retry_after``.
            PermanentError: no authority issues such a certificate.
        """
        if order.certificate is not None:
            return order
        self._wait(order)
        if order.authority not in self._authorities:
            return self._put(self._restarted(order, self._choose({})))
        try:
            done = self._step(order)
        except acme_errors.Invalid as exc:
            raise self._rejected(order, exc) from exc
        except acme_errors.AuthorityError as exc:
            return self._failed(order, exc)
        return self._put(replace(done, failures=0))

    def renewal(self, order: Order) -> acme_renewal.Renewal:
        """Return when to renew a certificate.

        Raises:
            RetryableError: the authority does not answer.
        """
        assert order.certificate is not None
        authority = self._authorities.get(order.authority)
        if authority is None:
            at = acme_renewal.default_time(acme_renewal.leaf(order.certificate))
            return acme_renewal.Renewal(at, at)
        return acme_renewal.suggested(self._accounts.session(authority), order.certificate)

    def private_key(self, order: Order) -> bytes:
        """Return the private key of an order, PKCS #8 in PEM."""
        return self._vault.open(order.key, order.id)

    def certificate(self, order: Order) -> Certificate:
        """Return the certificate of a finished order as the nodes of the edge get it."""
        return Certificate(
            **self.certificate_without_key(order), key=self.private_key(order).decode()
        )

    def certificate_without_key(self, order: Order) -> dict[str, Any]:
        """Return the fields of :meth:`certificate` but the private key."""
        assert order.certificate is not None
        # Without the text and the empty lines that authorities may send between certificates.
        chain = x509.load_pem_x509_certificates(order.certificate.encode())
        pem = serialization.Encoding.PEM
        return {
            "names": order.names,
            "chain": "".join(it.public_bytes(pem).decode() for it in chain),
        }

    def seal_again(self, order: Order) -> Order:
        """Encrypt an order's private key with the first key of the configuration."""
        key = self._vault.seal_again(order.key, order.id)
        return order if key == order.key else self._put(replace(order, key=key))

    def seal_accounts(self) -> list[str]:
        """Encrypt accounts' keys with the first key; return the IDs of their previous keys."""
        return [before for it in self._authorities if (before := self._accounts.seal_again(it))]

    def _step(self, order: Order) -> Order:
        if not order.sent:
            self._budget.check(order)
            self._budget.ordered(order)
            self._local.unsent = order.id
            return replace(order, sent=True)
        session = self._accounts.session(self._authorities[order.authority])
        if order.url is None:
            return self._send(session, order)
        try:
            found = session.read(order.url)
        except acme_errors.OrderMissing as exc:
            LOG.warning("Ordering a certificate for %s again: %s", order.names[0], exc)
            return self._restarted(order)
        if found.status in (messages.STATUS_PENDING, messages.STATUS_INVALID):
            return self._validate(session, order, found)
        if found.status == messages.STATUS_READY:
            return self._finalize(session, order, found)
        if found.status == messages.STATUS_VALID:
            return self._download(session, order, found)
        raise _in_progress(session, "The authority is issuing the certificate")

    def _send(self, session: Session, order: Order) -> Order:
        """Create the order, or find it if an earlier attempt may have created it."""
        unsent, self._local.unsent = getattr(self._local, "unsent", None), None
        if order.id != unsent:
            # Authorities without a list, such as Let's Encrypt, return the unfinished order
            # themselves if it is created again.
            url = self._accounts.find_order(session, order.names)
            if url is not None:
                return replace(order, url=url)
        try:
            return replace(order, url=session.order(order.names, order.replaces))
        except acme_errors.AlreadyReplaced:
            if order.replaces is None:
                raise
            return replace(order, replaces=None)

    def _validate(self, session: Session, order: Order, found: messages.Order) -> Order:
        authorizations = list(_authorizations(session, found))
        if messages.STATUS_INVALID in (found.status, *(it.status for it in authorizations)):
            name = session.authority.name
            raise acme_errors.of_order(found, authorizations, name, order.names)
        if order.answered:
            raise _in_progress(session, "The authority is validating the domains")
        pending = [it for it in authorizations if it.status == messages.STATUS_PENDING]
        wanted = [self._challenge(session, it) for it in pending]
        if not {challenge for challenge, _ in wanted} <= set(order.challenges):
            return replace(order, challenges=tuple(challenge for challenge, _ in wanted))
        self._publisher.publish(order)
        for challenge, body in wanted:
            if body.status == messages.STATUS_PENDING:
                session.post(challenge.url, body.chall.response(session.key), order.names)
        return replace(order, answered=True)

    def _challenge(
        self, session: Session, authorization: messages.Authorization
    ) -> tuple[Challenge, messages.ChallengeBody]:
        """Return the challenge to fulfil for an authorization."""
        domain = authorization.identifier.value
        below = f".{domain}".endswith(self._suffixes)
        kind = DNS if authorization.wildcard or below else HTTP
        for body in authorization.challenges:
            if isinstance(body.chall, _KINDS[kind]):
                token = body.chall.encode("token")
                if not _TOKEN.fullmatch(token):
                    break
                name = token if kind == HTTP else body.chall.validation_domain_name(domain)
                value = body.chall.validation(session.key)
                return Challenge(kind, domain, name, value, body.uri), body
        raise acme_errors.AuthorityError(
            f"{session.authority.name} offers no valid {kind} for {domain}"
        )

    def _finalize(self, session: Session, order: Order, found: messages.Order) -> Order:
        request = crypto_util.make_csr(self.private_key(order), list(order.names))
        body = messages.CertificateRequest(csr=x509.load_pem_x509_csr(request))
        try:
            session.post(found.finalize, body, order.names)
        except acme_errors.NotReady as exc:
            raise _in_progress(session, str(exc)) from exc
        return order

    def _download(self, session: Session, order: Order, found: messages.Order) -> Order:
        chain = session.fetch(found.certificate or "").text
        problem = self._problem(order, chain)
        self._budget.issued(order)
        if problem is not None:
            raise acme_errors.Invalid(dict.fromkeys(order.names, problem))
        self._publisher.withdraw(order)
        return replace(order, certificate=chain, challenges=(), rejections=0)

    def _problem(self, order: Order, chain: str) -> str | None:
        """Return why a chain can't be used; None if it can."""
        if len(chain) > _MAX_CHAIN:
            return f"the certificate is longer than {_MAX_CHAIN} bytes"
        try:
            certificate = x509.load_pem_x509_certificates(chain.encode())[0]
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (ValueError, x509.ExtensionNotFound):
            return "the certificate can't be read"
        key = serialization.load_pem_private_key(self.private_key(order), None)
        if certificate.public_key() != key.public_key():
            return "the certificate is for another key"
        if not set(order.names) <= set(names.value.get_values_for_type(x509.DNSName)):
            return "the certificate lacks a name"
        return None

    def _wait(self, order: Order) -> None:
        if order.retry_at is None:
            return
        left = (datetime.datetime.fromisoformat(order.retry_at) - now_utc()).total_seconds()
        if left > 0:
            message = f"The order of a certificate for {order.names[0]} waits"
            raise RetryableError(f"{message} until {order.retry_at}", left)

    def _rejected(self, order: Order, error: acme_errors.Invalid) -> acme_errors.Invalid:
        """Store that domains were refused, and return the error with the time to wait."""
        self._budget.failed(error.problems)
        rejections = order.rejections + 1
        wait = max(pause(rejections), error.retry_after or 0)
        again = self._restarted(order)
        self._put(replace(again, rejections=rejections, retry_at=_after(wait)))
        return acme_errors.Invalid(error.problems, wait)

    def _failed(self, order: Order, error: acme_errors.AuthorityError) -> Order:
        """Store that the authority failed, and move to another one or raise the error."""
        self._accounts.drop(order.authority, error)
        if isinstance(error, acme_errors.AccountMissing):
            order = replace(self._restarted(order), failures=order.failures)
        limited = isinstance(error, acme_errors.RateLimited)
        wait = error.retry_after or _AVOIDED
        failures = order.failures + 1
        # An open order is worth waiting for.
        if failures >= _PATIENCE or limited and order.url is None:
            avoid = {**order.avoid, order.authority: _after(wait)}
            other = self._choose(avoid)
            if avoid.get(other, "") <= now_utc().isoformat():
                LOG.warning("Ordering a certificate for %s elsewhere: %s", order.names[0], error)
                return self._put(replace(self._restarted(order, other), avoid=avoid))
        retry_at = _after(wait) if limited else None
        # The authority may know nothing of the certificate to replace.
        replaces = order.replaces if failures < _PATIENCE - 1 else None
        self._put(replace(order, failures=failures, replaces=replaces, retry_at=retry_at))
        raise error

    def _restarted(self, order: Order, authority: str | None = None) -> Order:
        """Withdraw an order's challenges, and return it as before its order at the authority."""
        self._publisher.withdraw(order)
        fresh = replace(order, sent=False, url=None, challenges=(), answered=False, failures=0)
        if authority is None or authority == order.authority:
            return fresh
        return replace(fresh, authority=authority, replaces=None, retry_at=None)

    def _choose(self, avoid: Mapping[str, str]) -> str:
        """Return the first authority that is not avoided, or the one that is avoided least."""
        if not self._authorities:
            raise PermanentError("No certificate can be ordered: acme_directories is empty")
        now = now_utc().isoformat()
        return min(self._authorities, key=lambda it: max(now, avoid.get(it, "")))

    def _put(self, order: Order) -> Order:
        self._records.put_order(order)
        return order


def check_name(name: str) -> None:
    """Refuse a name that can't be in a certificate.

    Raises:
        PermanentError: the message has the name.
    """
    if not _DOMAIN.fullmatch(name):
        raise PermanentError(f"{name!r:.80} can't be in a certificate")


def _authorizations(session: Session, found: messages.Order) -> Iterator[messages.Authorization]:
    for url in found.authorizations[:MAX_NAMES]:
        yield session.authorization(url)


def _in_progress(session: Session, message: str) -> InProgressError:
    wait = session.retry_after
    return InProgressError(message, _POLL if wait is None else max(_FASTEST, wait))


def _after(seconds: float) -> str:
    return (now_utc() + datetime.timedelta(seconds=seconds)).isoformat()
