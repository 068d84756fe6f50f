# SPDX-License-Identifier: Apache-2.0
"""The certificates of services: their orders, and what programs get of them."""

import datetime
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from oslo_log import log

from poppy.common.clock import now_utc
from poppy.common.errors import DriverError, InProgressError, PermanentError, RetryableError
from poppy.common.vault import Vault, key_id
from poppy.edge.program import MAX_CERTIFICATES, MAX_SIZE, Program
from poppy.model.certificates import Uploaded
from poppy.model.edge import Certificates as Store
from poppy.model.edge import EdgeLog
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider.edge import acme_options, acme_renewal, custom
from poppy.provider.edge.acme import Issuer, check_name
from poppy.provider.edge.acme_errors import Invalid
from poppy.provider.edge.acme_orders import CUSTOM, HTTP, Order, Owner, Publisher
from poppy.provider.edge.acme_records import StoredRecords, ask_at, due
from poppy.provider.skeleton import own_certificates

LOG = log.getLogger(__name__)

#: The most steps of one order in one call; an order needs about eight.
_STEPS = 10
#: Seconds until an order is continued after a failure that names no time.
_PAUSE, _LONG_PAUSE = 60.0, 86_400.0
_MAX_PROBLEM = 500  #: Characters.
#: Bounds of the time until an authority is asked again when to renew a certificate. RFC 9773,
#: section 4.3.2, has a day as an example of the longest.
_ASK_SOONEST, _ASK_LATEST = datetime.timedelta(hours=6), datetime.timedelta(days=1)
#: An authority can't have a certificate renewed before it is this old, or it could do so forever.
_LEAST_AGE = datetime.timedelta(days=1)


class Progress(NamedTuple):
    """How far the certificates of a service are.

    Attributes:
        statuses: by domain.
        messages: why a certificate can't be issued or renewed, by domain.
        poll_after: seconds until the next step; None if nothing is in progress.
    """

    statuses: Mapping[str, str]
    messages: Mapping[str, str]
    poll_after: float | None


class Certificates:
    """Orders certificates for domains, one for each.

    Args:
        options: of the group.
        group: its name.
        log: the store.
        publisher: publishes challenges.
        indexed: whether :meth:`due` finds the orders.
    """

    def __init__(
        self,
        options: Any,
        group: str,
        log: EdgeLog,
        publisher: Publisher,
        *,
        indexed: bool = True,
    ) -> None:
        self._store: Store = log
        self._asks = options.acme_renewal_info
        self._records = StoredRecords(log, indexed=indexed, asks=self._asks)
        self._vault = Vault(options.encryption_keys, group)
        self._issuer = Issuer(
            acme_options.authorities(options, group) if options.acme_directories else [],
            self._vault,
            self._records,
            publisher,
            acme_options.limits(options),
        )

    @staticmethod
    def check(spec: ServiceSpec) -> None:
        """Refuse a document with domains for which there can be no certificate.

        Raises:
            PermanentError: the message names the domain.
        """
        domains = own_certificates(spec)
        if len(domains) > MAX_CERTIFICATES:
            raise PermanentError(
                f"{len(domains)} domains with certificates; a service can have {MAX_CERTIFICATES}"
            )
        for domain in sorted(domains):
            check_name(domain)

    def orders(self, owner: Owner) -> Sequence[Order]:
        """Return the orders of an owner, and delete those of domains that it dropped."""
        found = self._records.orders(owner.service_id)
        dropped = {it.id for it in found if not owner.has(it)}
        self._store.delete_orders(owner.service_id, dropped)
        return [it for it in found if it.id not in dropped]

    def seal_again(self, orders: Sequence[Order]) -> Sequence[Order]:
        """Encrypt the private keys of orders with the first key of the configuration."""
        return [self._issuer.seal_again(it) for it in orders]

    def is_current(self, order: Order) -> bool:
        """Return whether the first key of the configuration encrypts an order's private key."""
        return key_id(order.key) == self._vault.key_ids[0]

    @property
    def key_ids(self) -> Sequence[str]:
        """The IDs of the configured keys; the first one encrypts."""
        return self._vault.key_ids

    def seal_accounts(self) -> Sequence[str]:
        """Encrypt accounts' keys with the first key; return the IDs of their previous keys.

        Raises:
            ConfigError: a key is missing.
        """
        return self._issuer.seal_accounts()

    def keep(self, service: Service, domain: str, chain: str, key: str) -> None:
        """Store a certificate that a tenant brings; see :meth:`Provider.keep_certificate`."""
        chain, key = custom.checked(domain, chain, key)
        order_id = custom.order_id(domain)
        sealed = self._vault.seal(key.encode(), order_id)
        self._records.put_order(
            Order(
                order_id,
                (domain,),
                CUSTOM,
                sealed,
                certificate=chain,
                project_id=service.project_id,
                service_id=service.service_id,
            )
        )

    def kept(self, service: Service, domain: str) -> Uploaded | None:
        """Return the certificate that a tenant brought for a domain; None if there is none."""
        orders = self._records.orders(service.service_id)
        found = next((it for it in orders if it.id == custom.order_id(domain)), None)
        return None if found is None else custom.described(domain, found.certificate or "")

    def drop(self, service: Service, domain: str) -> None:
        """Delete the certificate that a tenant brought for a domain."""
        self._store.delete_orders(service.service_id, {custom.order_id(domain)})

    def forget(self, owner: Owner) -> None:
        """Delete all orders of an owner."""
        found = self._records.orders(owner.service_id)
        self._store.delete_orders(owner.service_id, {it.id for it in found})

    def forget_replaced(self, owner: Owner, orders: Sequence[Order]) -> None:
        """Delete orders of which a published one has a newer certificate."""
        newest = _newest(orders)
        replaced = {it.id for it in orders if it.certificate and it is not newest[it.names[0]]}
        self._store.delete_orders(owner.service_id, replaced)

    def publication(self, program: Program, orders: Sequence[Order]) -> str:
        """Return a program with certificates and challenges as JSON, with sealed private keys.

        Raises:
            PermanentError: it is too large.
        """
        certificates = [
            {**self._issuer.certificate_without_key(order), "key": order.key, "order": order.id}
            for order in _newest(orders).values()
        ]
        challenges = sorted(
            (it.domain, it.name, it.value)
            for order in orders
            for it in order.challenges
            if it.kind == HTTP
        )
        document = program.to_dict()
        if certificates:
            document["certificates"] = sorted(certificates, key=lambda it: it["names"])
        if challenges:
            keys = ("domain", "token", "value")
            document["challenges"] = [dict(zip(keys, it, strict=True)) for it in challenges]
        text = json.dumps(document, sort_keys=True)
        if len(text) > MAX_SIZE:
            raise PermanentError(f"The program with its certificates exceeds {MAX_SIZE} bytes")
        return text

    def reveal(self, program: str) -> str:
        """Return a publication as nodes get it, with open private keys."""
        document = json.loads(program)
        for it in document.get("certificates", ()):
            it["key"] = self._vault.open(it["key"], it.pop("order")).decode()
        return json.dumps(document, sort_keys=True)

    def due(self, limit: int) -> Sequence[tuple[str, str]]:
        """Return project and ID of services for which something is to be done.

        Authorities are asked here when to renew certificates, which changes no service.
        """
        found = self._store.due(now_utc(), limit)
        return [it for it in found if self.work_at(it[1]) <= now_utc()]

    def work_at(self, owner_id: str) -> datetime.datetime:
        """Return when the next step of an owner's orders is due, or a renewal."""
        orders = [it for it in self._records.orders(owner_id) if it.authority != CUSTOM]
        unfinished = {it.names[0]: it for it in orders if it.certificate is None}
        current = {**_newest(orders), **unfinished}
        return min((due(self._asked(it)) for it in current.values()), default=now_utc())

    def _asked(self, order: Order) -> Order:
        """Ask the authority when to renew a certificate, unless it was asked lately."""
        if not self._asks or order.certificate is None or ask_at(order) > now_utc():
            return order
        now = now_utc()
        try:
            at, again = self._issuer.renewal(order)
        except RetryableError as exc:
            LOG.warning("Not asked when to renew %s: %s", order.names[0], exc)
            at, again = due(order), now
        certificate = acme_renewal.leaf(order.certificate)
        at = max(at, certificate.not_valid_before_utc + _LEAST_AGE)
        again = min(max(again, now + _ASK_SOONEST), now + _ASK_LATEST)
        order = replace(order, renew_at=at.isoformat(), ask_at=again.isoformat())
        self._records.put_order(order)
        return order

    def advance(self, owner: Owner, orders: Sequence[Order], ready: Collection[str]) -> Progress:
        """Take the next steps of all orders, and begin those that are missing or due.

        Args:
            orders: as published, at all nodes.
            ready: the domains that may lead to the edge.
        """
        self.forget_replaced(owner, orders)
        newest = _newest(orders)
        waits: list[float] = []
        statuses = {}
        for domain in sorted(owner.domains):
            current = newest.get(domain)
            status = "deployed" if current else "create_in_progress"
            pending = next(
                (it for it in orders if it.names[0] == domain and not it.certificate), None
            )
            if pending is None and (current is None or due(current) <= now_utc()):
                pending = self._issuer.new(
                    [domain],
                    current,
                    project_id=owner.project_id,
                    service_id=owner.service_id,
                )
            if pending is not None and current is not None:
                # From now on, the order of the renewal says when it is due.
                self._records.supersede(current)
            if pending is not None and domain not in ready and pending in orders:
                self._postpone(pending, _PAUSE)
            elif pending is not None and domain in ready and due(pending) <= now_utc():
                waits += self._continue(pending)
            statuses[domain] = status
        unfinished = [
            it for it in self._records.orders(owner.service_id) if it.certificate is None
        ]
        statuses |= {
            it.names[0]: "failed" for it in unfinished if it.refused and it.names[0] not in newest
        }
        messages = {it.names[0]: _message(it) for it in unfinished if it.problem}
        for domain in owner.custom:
            statuses[domain] = "deployed" if domain in newest else "create_in_progress"
            if domain not in newest:
                messages[domain] = "upload a certificate and its key for the domain"
        return Progress(statuses, messages, min(waits, default=None))

    def _continue(self, order: Order) -> Sequence[float]:
        """Take steps of an order.

        Returns:
            The seconds until the next one; nothing if that takes long.
        """
        try:
            for _ in range(_STEPS):
                order = self._issuer.step(order)
                if order.certificate is not None:
                    return [0.0]
        except InProgressError as exc:
            return [exc.poll_after]
        except DriverError as exc:
            LOG.warning("The certificate for %s has to wait: %s", order.names[0], exc)
            refused = isinstance(exc, PermanentError)
            self._postpone(order, _LONG_PAUSE if refused else _PAUSE, exc)
            return []
        return [0.0]

    def _postpone(self, order: Order, pause: float, error: DriverError | None = None) -> None:
        """Make sure that an order is not due at once, and store why its last attempt failed."""
        now = now_utc()
        at = (now + datetime.timedelta(seconds=pause)).isoformat()
        for stored in self._records.orders(order.service_id):
            if stored.id != order.id:
                continue
            changed = stored
            if error is not None:
                refused = isinstance(error, PermanentError)
                changed = replace(changed, problem=_problem(order, error), refused=refused)
            if (stored.retry_at or "") < now.isoformat():
                changed = replace(changed, retry_at=at)
            if changed != stored:
                self._records.put_order(changed)


def _problem(order: Order, error: DriverError) -> str:
    """Return an error as text for the tenant: printable, and of bounded length."""
    text = error.problems.get(order.names[0]) if isinstance(error, Invalid) else None
    words = "".join(it if it.isprintable() else " " for it in text or str(error)).split()
    return " ".join(words)[:_MAX_PROBLEM]


def _message(order: Order) -> str:
    """Return why an order has no certificate, and when the next attempt follows."""
    if order.retry_at is None or due(order) <= now_utc():
        return f"{order.problem}"
    return f"{order.problem}; next attempt at {due(order):%Y-%m-%dT%H:%M:%SZ}"


def _not_before(order: Order) -> datetime.datetime:
    return acme_renewal.leaf(order.certificate or "").not_valid_before_utc


def _newest(orders: Sequence[Order]) -> Mapping[str, Order]:
    """Return the finished order by domain, the last one of several."""
    finished = [it for it in orders if it.certificate is not None]
    # Certificates have their times in seconds, so a renewal can have that of its predecessor.
    finished.sort(key=lambda it: (_not_before(it), it.renewal))
    return {it.names[0]: it for it in finished}
