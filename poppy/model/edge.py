# SPDX-License-Identifier: Apache-2.0
"""The operator's own edge as the control plane sees it: its log of changes, and its nodes."""

import abc
import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

from poppy.model.edge_traffic import Traffic
from poppy.model.operations import Purge

#: A node counts as live for this time after its last report.
LIVE = datetime.timedelta(seconds=30)

#: Nodes of an installation.
MAX_NODES = 1000

#: Failures in a report, and characters of a reason.
MAX_FAILURES, MAX_REASON = 1000, 300

DEFAULT_POOL = "default"

#: How long events count for the limits of certificate authorities.
KEPT = datetime.timedelta(days=7)


class Stamp(NamedTuple):
    """The revision of a change, and when it was made."""

    revision: int
    at: datetime.datetime


class Publication(NamedTuple):
    """The last program of a service.

    Attributes:
        program: as JSON; None if the service was withdrawn.
    """

    stamp: Stamp
    program: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the log: a program, a withdrawal (without both), or a purge.

    Attributes:
        program: as JSON.
        purge: without its reference.
        prewarm: paths to fetch.
    """

    revision: int
    service_id: str
    program: str | None = None
    purge: Purge | None = None
    prewarm: tuple[str, ...] = ()


class Page(NamedTuple):
    """Some changes in the order of their revisions.

    Attributes:
        revision: a node that has applied the changes has reached this revision.
        head: the last revision of the log.
    """

    revision: int
    head: int
    changes: Sequence[Change]


class Failure(NamedTuple):
    """Why a node does not serve the program of a service that this revision published."""

    revision: int
    reason: str


class Prewarmed(NamedTuple):
    """How far a node is with the prewarm of a service that this revision recorded.

    Attributes:
        reason: what could not be fetched; empty if everything was.
    """

    revision: int
    done: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a node says about itself.

    Attributes:
        instance: identifies the agent's process.
        revision: the revision that the node has reached.
        ready: whether the node may get requests of clients.
        version: of the software.
        started: when each process began, by its name.
        failures: by the service's ID.
        prewarms: the latest ones, by the service's ID.
    """

    instance: str
    revision: int
    ready: bool
    version: str
    started: Mapping[str, datetime.datetime] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    prewarms: Mapping[str, Prewarmed] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object, in the form of the nodes' API."""
        prewarms = {name: it._asdict() for name, it in self.prewarms.items()}
        return {
            **({"prewarms": prewarms} if prewarms else {}),
            "instance": self.instance,
            "revision": self.revision,
            "ready": self.ready,
            "version": self.version,
            "started": {name: moment.isoformat() for name, moment in self.started.items()},
            "failures": {name: failure._asdict() for name, failure in self.failures.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a report from the document of :meth:`to_dict`.

        Raises:
            ValueError: a time is not in the format of ISO 8601 with a time zone; names the field.
        """
        return cls(
            instance=document["instance"],
            revision=int(document["revision"]),
            ready=document["ready"],
            version=document["version"],
            started={name: _moment(name, text) for name, text in document["started"].items()},
            failures={
                name: Failure(int(entry["revision"]), _printable(entry["reason"]))
                for name, entry in document["failures"].items()
            },
            prewarms={
                name: Prewarmed(int(entry["revision"]), entry["done"], _printable(entry["reason"]))
                for name, entry in document.get("prewarms", {}).items()
            },
        )


def _printable(text: str) -> str:
    return "".join(it if it.isprintable() else " " for it in text)


def _moment(name: str, text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"[started][{name}]-{text!r} is no time in ISO 8601 with a time zone")
    return moment


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as it was added and as it last reported.

    Attributes:
        pool: the name of the group of nodes that it belongs to.
        drained: whether the operator takes it out of service.
        addresses: where clients reach it, for DNS; in canonical form.
        token: the SHA-256 of its token, in hexadecimal digits; None until it has joined.
        join_token: likewise of its token for one join; None afterwards.
        join_until: when that token expires.
        report: its last one.
        seen_at: when that arrived.
    """

    name: str
    pool: str = DEFAULT_POOL
    drained: bool = False
    addresses: tuple[str, ...] = ()
    token: str | None = None
    join_token: str | None = None
    join_until: datetime.datetime | None = None
    report: Report | None = None
    seen_at: datetime.datetime | None = None

    def is_live(self, now: datetime.datetime) -> bool:
        """Return whether the node has reported lately."""
        return self.seen_at is not None and now - self.seen_at < LIVE

    def state(self, now: datetime.datetime) -> str:
        """Return the node's state for operators, in a word or two."""
        if self.token is None:
            return "not joined"
        if not self.is_live(now) or self.report is None:
            return "away"
        if self.drained:
            return "drained"
        return "ready" if self.report.ready else "not ready"

    @property
    def revision(self) -> int:
        """The revision that the node has reached; 0 if that is unknown."""
        return self.report.revision if self.report else 0


@dataclass(frozen=True, slots=True)
class CertificateOrder:
    """The state of a certificate's issuance.

    Attributes:
        project_id, service_id: of the service that has its domains.
        order_id: unique within the service.
        content: as JSON, with the sealed private key and the certificate.
        due_at: when the next step, or the renewal, is due; None if nothing is to be done.
    """

    project_id: str
    service_id: str
    order_id: str
    content: Mapping[str, Any]
    due_at: datetime.datetime | None = None


class Certificates(Protocol):
    """What the store keeps of certificates. The driver has encrypted all keys in the documents.

    Each write is durable when it returns. Every method may raise
    :class:`poppy.common.errors.Unavailable`.
    """

    @abc.abstractmethod
    def account(self, directory: str) -> Mapping[str, Any] | None:
        """Return the account at the authority with this URL, as JSON; None if there is none."""

    @abc.abstractmethod
    def add_account(self, directory: str, account: Mapping[str, Any]) -> Mapping[str, Any]:
        """Store an account unless there is one; return the stored one."""

    @abc.abstractmethod
    def put_account(self, directory: str, account: Mapping[str, Any]) -> None:
        """Store an account in place of the present one."""

    @abc.abstractmethod
    def orders(self, service_id: str) -> Sequence[CertificateOrder]:
        """Return the orders of a service, sorted by their IDs."""

    @abc.abstractmethod
    def put_order(self, order: CertificateOrder) -> None:
        """Store an order in place of the service's order with its ID."""

    @abc.abstractmethod
    def delete_orders(self, service_id: str, order_ids: Collection[str]) -> None:
        """Delete orders of a service; do nothing about those that do not exist."""

    @abc.abstractmethod
    def due(self, now: datetime.datetime, limit: int) -> Sequence[tuple[str, str]]:
        """Return project and ID of services that have a due order, the longest due first.

        Args:
            limit: of the orders that are looked at.
        """

    @abc.abstractmethod
    def events(self, key: str, since: datetime.datetime) -> Sequence[datetime.datetime]:
        """Return the times of a key's events after a time, in order.

        Args:
            since: at most :data:`KEPT` ago.
        """

    @abc.abstractmethod
    def add_event(self, key: str, at: datetime.datetime) -> None:
        """Store an event, and keep it for :data:`KEPT` at least, but not forever."""


class EdgeLog(Certificates, Traffic, Protocol):
    """The part of the store that the provider driver ``edge`` needs.

    Each change gets the next revision. Revisions are consecutive over all services, and a reader
    never sees one before all earlier ones. Every method may raise
    :class:`poppy.common.errors.Unavailable`.
    """

    @abc.abstractmethod
    def publish(self, service_id: str, program: str) -> Stamp:
        """Publish the program of a service in place of its last one.

        Args:
            program: as JSON; equal programs are equal texts.

        Returns:
            The stamp of the publication; that of the current one if the program is the same.
        """

    @abc.abstractmethod
    def withdraw(self, service_id: str) -> Stamp | None:
        """Withdraw the program of a service.

        Returns:
            The stamp of the withdrawal, also if it was made before; None if the log has nothing
            about the service.
        """

    @abc.abstractmethod
    def purge(self, service_id: str, purge: Purge) -> Stamp:
        """Record a purge, unless one with the same reference is recorded.

        Returns:
            The stamp of the purge that has this reference.
        """

    @abc.abstractmethod
    def prewarm(self, service_id: str, paths: Sequence[str], reference: str) -> Stamp:
        """Record paths to fetch, unless there is a record with the same reference."""

    @abc.abstractmethod
    def current(self, service_id: str) -> Publication | None:
        """Return the last publication or withdrawal of a service; None if there is none."""

    @abc.abstractmethod
    def head(self) -> int:
        """Return the last revision; 0 if there is none."""

    @abc.abstractmethod
    def nodes(self) -> Sequence[Node]:
        """Return all nodes, sorted by name."""


class TextRecords(Protocol):
    """The part of a DNS driver that shared certificates need; see :mod:`poppy.dns.base`."""

    @property
    def TEXTS(self) -> bool: ...  # noqa: D102, N802
    @property
    def shards(self) -> Sequence[str]: ...  # noqa: D102
    def set_texts(self, name: str, values: Sequence[str]) -> None: ...  # noqa: D102


class Versioned(Protocol):
    """A document as it was read; see :class:`poppy.storage.queries.DocumentStore`."""

    @property
    def content(self) -> Any: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102


class Documents(Protocol):
    """Small named documents; see :class:`poppy.storage.queries.DocumentStore`."""

    def get(self, name: str) -> Versioned: ...  # noqa: D102
    def put(self, name: str, content: Any, version: int) -> None: ...  # noqa: D102


class HasEdge(Protocol):
    """A store with the log of the edge."""

    @property
    def edge(self) -> EdgeLog:
        """The log."""

    @property
    def documents(self) -> Documents:
        """Documents that workers share."""
